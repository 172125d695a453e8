// What comes before the first transaction: banner, EHLO, STARTTLS and EHLO
// again, AUTH.
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "protocol/base64.h"
#include "protocol/smtp_client_session.h"

namespace holdfast {
namespace {

constexpr int kClosing = 421;
constexpr int kChallenge = 334;
// "AUTH ", a space and CRLF around mechanism and response.
constexpr size_t kAuthFrame = 8;
// What a watcher sees of a secret.
constexpr char kMask[] = "********";

}  // namespace

void SmtpClientSession::OnGreeting(Command command, const SmtpReply& reply) {
  if (state_ == State::kQuit) return;  // its owner has changed his mind
  const bool ok = reply.klass() == 2;
  if (command == Command::kConnect) {
    if (!ok) return End(absl::StrCat("BANNER rejected: ", reply.text));
    TellBanner(reply);
    return Send(Command::kEhlo);
  }
  if (ok) {
    if (command == Command::kEhlo) extensions_ = ParseEhloReply(reply);
    return OnGreeted();
  }
  if (command == Command::kHelo)
    return End(absl::StrCat("HELO rejected: ", reply.text));
  if (options_.lmtp) return End(absl::StrCat("LHLO rejected: ", reply.text));
  // HELO offers neither TLS nor AUTH.
  const bool need =
      options_.auth || (options_.tls == Tls::kRequired && !secure_);
  if (need || reply.code == kClosing)
    return End(absl::StrCat("EHLO rejected: ", reply.text));
  Send(Command::kHelo);
}

void SmtpClientSession::OnGreeted() {
  if (!secure_ && options_.tls != Tls::kNever) {
    if (extensions_.starttls) {
      state_ = State::kStartTls;
      return Send(Command::kStartTls);
    }
    if (options_.tls == Tls::kRequired)
      return End("TLS required but not supported by remote host");
  }
  OnSecured();
}

void SmtpClientSession::OnStartTls(const SmtpReply& reply) {
  if (reply.klass() == 2) return;  // Receive() looks at what is behind it
  if (options_.tls == Tls::kRequired)
    return End(absl::StrCat("STARTTLS rejected: ", reply.text));
  if (reply.code == kClosing) return;  // OnReply() ends it
  state_ = State::kGreeting;
  OnSecured();
}

void SmtpClientSession::TlsEstablished(bool verified) {
  if (state_ != State::kStartTls || !expected_.empty()) return;
  secure_ = true;
  verified_ = verified;
  silent_in_tls_ = true;
  extensions_ = PeerExtensions();
  state_ = State::kGreeting;
  Send(Command::kEhlo);
}

// The connection is as safe as it will be.
void SmtpClientSession::OnSecured() {
  if (!options_.auth) return GoReady();
  if (!secure_) return End("Refuse to AUTH over insecure channel");
  if (!extensions_.auth) return End("AUTH not advertised");
  state_ = State::kAuthWait;
  events_->OnAuthWanted();
}

void SmtpClientSession::Authenticate(ClientCredentials credentials) {
  if (state_ != State::kAuthWait) return;
  if (watcher_ != nullptr) auth_user_ = credentials.user;
  auto client = MakeSaslClient(extensions_.auth_mechanisms,
                               std::move(credentials), options_.crypto);
  if (!client.ok()) return End(std::string(client.status().message()));
  sasl_ = *std::move(client);
  state_ = State::kAuth;
  const absl::string_view name = sasl_->mechanism();
  std::optional<Secret> first = sasl_->First();
  if (!first) return SendAuth(absl::StrCat("AUTH ", name), Secret());
  auth_response_ = Secret(absl::Base64Escape(first->text()));
  auth_first_ = kAuthFrame + name.size() + auth_response_.text().size() >
                kMaxCommandLineBytes;
  if (auth_first_) return SendAuth(absl::StrCat("AUTH ", name), Secret());
  SendAuth(absl::StrCat("AUTH ", name, " "), auth_response_);
}

void SmtpClientSession::SendAuth(absl::string_view command,
                                 const Secret& response) {
  absl::StrAppend(&out_, command, response.text(), "\r\n");
  // A line without a command is an answer to a challenge, even an empty one.
  const bool secret = command.empty() || !response.text().empty();
  Send(Command::kAuth, 0, absl::StrCat(command, secret ? kMask : ""));
}

// A server may repeat what it does not like.
std::string SmtpClientSession::WithoutSecret(absl::string_view text,
                                             absl::string_view mask) const {
  if (auth_response_.text().empty()) return std::string(text);
  return absl::StrReplaceAll(text, {{auth_response_.text(), mask}});
}

void SmtpClientSession::OnAuth(const SmtpReply& reply) {
  using Result = SmtpClientEvent::Result;
  if (!auth_error_.empty()) {
    TellAuth(Result::kTempFail);
    return End(auth_error_);
  }
  if (reply.klass() == 2) {
    const std::string complaint = sasl_->Complaint();
    TellAuth(complaint.empty() ? Result::kOk : Result::kTempFail);
    if (!complaint.empty())
      return End(absl::StrCat("AUTH failed: ", complaint));
    sasl_.reset();
    auth_response_ = Secret();
    return GoReady();
  }
  if (reply.code != kChallenge) {
    TellAuth(Result::kPermFail);
    return End(
        absl::StrCat("AUTH rejected: ", WithoutSecret(reply.text, "...")));
  }
  if (std::exchange(auth_first_, false)) return SendAuth("", auth_response_);
  // What is not base64 is no challenge; LOGIN needs none.
  const std::string challenge = DecodeBase64(reply.lines.front()).value_or("");
  absl::StatusOr<Secret> answer = sasl_->Answer(challenge);
  if (!answer.ok()) {
    auth_error_ = absl::StrCat("AUTH failed: ", answer.status().message());
    return SendAuth("*", Secret());
  }
  auth_response_ = Secret(absl::Base64Escape(answer->text()));
  SendAuth("", auth_response_);
}

}  // namespace holdfast
