// Whatever the client sends, and however it is cut, the session says the same
// and accepts the same; what it says are lines that end with CRLF.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/smtp_server_session.h"

namespace holdfast {
namespace {

class Run {
 public:
  Run(absl::string_view wire, size_t step) : session_(&options_, "192.0.2.1") {
    session_.Greet();
    while (!wire.empty()) {
      std::string piece(wire.substr(0, step));
      wire.remove_prefix(piece.size());
      session_.Receive(piece);
      Drain();
      session_.KeepRest();
      piece.assign(piece.size(), '!');
      Drain();
    }
  }
  // Everything that can be seen from outside.
  std::string result() const { return absl::StrCat(sent_, "|", accepted_); }
  const std::string& sent() const { return sent_; }

 private:
  static SmtpServerOptions Options() {
    SmtpServerOptions options;
    options.name = "mx.test";
    options.max_message_size = 100;
    options.max_recipients = 3;
    options.max_messages = 4;
    return options;
  }
  void Drain() {
    for (;;) {
      std::optional<SmtpServerEvent> event = session_.Next();
      if (event) {
        std::visit([this](auto& e) { On(e); }, *event);
      } else if (!recipients_.empty()) {
        // The last first.
        session_.Resume(recipients_.back(), replies::RecipientOk());
        recipients_.pop_back();
      } else if (!session_.OutputIsFull()) {
        break;
      }
      sent_ += session_.TakeOutput();
    }
    sent_ += session_.TakeOutput();
  }
  void On(SenderAsked& asked) {
    session_.Resume(asked.question, asked.path.address.user == "no"
                                        ? replies::NoRoom()
                                        : replies::Ok());
  }
  void On(RecipientAsked& asked) { recipients_.push_back(asked.question); }
  void On(MessageStarts& asked) {
    message_.clear();
    session_.Resume(asked.question, replies::StartMail());
  }
  void On(MessageBytes&) { session_.ReadMessage(64, &message_); }
  void On(MessageEnds& asked) {
    if (message_.find('\0') != std::string::npos ||
        message_.find('\r') != std::string::npos)
      __builtin_trap();
    if (!message_.empty() && message_.back() != '\n') __builtin_trap();
    absl::StrAppend(&accepted_, "[", message_, "]");
    session_.Resume(asked.question, replies::Accepted("30e4722c"));
  }
  template <class Told>
  void On(Told&) {}

  const SmtpServerOptions options_ = Options();
  SmtpServerSession session_;
  std::vector<uint64_t> recipients_;
  std::string message_;
  std::string sent_;
  std::string accepted_;
};

}  // namespace
}  // namespace holdfast

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using holdfast::Run;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  // As it is, and inside a transaction.
  for (const absl::string_view opening :
       {"", "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
        "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"}) {
    const std::string wire = absl::StrCat(opening, text);
    const Run whole(wire, wire.size() + 1);
    for (const size_t step : {1, 7}) {
      if (Run(wire, step).result() != whole.result()) __builtin_trap();
    }
    char previous = 0;
    for (const char c : whole.sent()) {
      if (c == '\n' ? previous != '\r' : (previous == '\r' || c == '\0'))
        __builtin_trap();
      previous = c;
    }
  }
  return 0;
}
