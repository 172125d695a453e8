#include "ctl/delivery/lmtp_dialogue.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "ctl/delivery/helper_exit.h"
#include "protocol/smtp_client_session.h"

namespace holdfast {
namespace {

constexpr char kEnded[] = "unexpected EOF from LMTP server";
constexpr size_t kMaxBacklog = 64 << 10;

class Dialogue : private SmtpClientSession::Events {
 public:
  Dialogue(int server, const LmtpLetter& letter)
      : server_(server), letter_(letter), session_(Options(letter), this) {}

  LmtpResult Run() {
    result_.kind = LmtpResult::Kind::kDelivered;
    Flush();
    while (!over_) Read();
    if (decided_ < letter_.recipients.size())
      Fail(LmtpResult::Kind::kTemporary, kEnded);
    return result_;
  }

 private:
  static SmtpClientSession::Options Options(const LmtpLetter& letter) {
    SmtpClientSession::Options options;
    options.helo = letter.greeting;
    options.lmtp = true;
    return options;
  }

  void OnReady() override {
    if (begun_) return session_.Quit();
    begun_ = true;
    SmtpTransaction transaction;
    transaction.sender = letter_.sender;
    for (const std::string& recipient : letter_.recipients)
      transaction.recipients.emplace_back().path = recipient;
    if (!session_.Begin(std::move(transaction))) session_.Quit();
  }

  void OnResult(size_t, const SmtpResult& result) override {
    ++decided_;
    if (result.kind == SmtpResult::Kind::kOk) return;
    const bool reply =
        !result.text.empty() && absl::ascii_isdigit(result.text[0]);
    Fail(result.kind == SmtpResult::Kind::kPermFail
             ? LmtpResult::Kind::kPermanent
             : LmtpResult::Kind::kTemporary,
         absl::StrCat(reply ? "LMTP server error: " : "", result.text));
  }

  void OnBodyWanted() override { body_wanted_ = true; }
  void OnEnd(const std::string&) override { over_ = true; }

  // What is temporary weighs more: then all of it is tried again.
  void Fail(LmtpResult::Kind kind, const std::string& text) {
    if (result_.kind == LmtpResult::Kind::kTemporary) return;
    if (kind == LmtpResult::Kind::kPermanent &&
        result_.kind == LmtpResult::Kind::kPermanent)
      return;
    result_ = {kind, text};
  }

  void Read() {
    char bytes[4096];
    const ssize_t n = read(server_, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) return;
    if (n < 0) return session_.ConnectionLost(strerror(errno)), End();
    if (n == 0) return session_.ConnectionLost(kEnded), End();
    session_.Receive(absl::string_view(bytes, static_cast<size_t>(n)));
    if (body_wanted_ && !over_) {
      body_wanted_ = false;
      SendBody();
    }
    Flush();
  }

  void End() { over_ = true; }

  void SendBody() {
    const absl::Status read =
        ReadAll(letter_.input, [this](absl::string_view bytes) {
          session_.AppendBody(bytes);
          if (session_.backlog() > kMaxBacklog) Flush();
          return over_ ? absl::CancelledError() : absl::OkStatus();
        });
    if (over_) return;
    if (read.ok()) return session_.FinishBody();
    session_.ConnectionLost(read.message());
    End();
  }

  void Flush() {
    absl::string_view out = session_.output();
    while (!out.empty()) {
      const ssize_t n = send(server_, out.data(), out.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        session_.ConnectionLost(strerror(errno));
        return End();
      }
      out.remove_prefix(static_cast<size_t>(n));
    }
    session_.OutputTaken();
  }

  const int server_;
  const LmtpLetter& letter_;
  SmtpClientSession session_;
  LmtpResult result_;
  size_t decided_ = 0;
  bool begun_ = false;
  bool body_wanted_ = false;
  bool over_ = false;
};

}  // namespace

LmtpResult SendByLmtp(int server, const LmtpLetter& letter) {
  return Dialogue(server, letter).Run();
}

}  // namespace holdfast
