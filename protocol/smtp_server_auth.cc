// STARTTLS (RFC 3207) and AUTH (RFC 4954) of SmtpServerSession; reference part
// 1, sections 4.4 and 4.5.
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/base64.h"
#include "protocol/sasl_plain.h"
#include "protocol/secret.h"
#include "protocol/smtp_server_session.h"

namespace holdfast {
namespace {

constexpr absl::string_view kUserPrompt = "Username:";
constexpr absl::string_view kPasswordPrompt = "Password:";

}  // namespace

// ---- STARTTLS

void SmtpServerSession::OnStartTls(const Command& command) {
  using Tls = SmtpServerOptions::Tls;
  if (options_->tls != Tls::kOffered && options_->tls != Tls::kRequired)
    return Answer(replies::NotSupported(), command.line);
  if (tls_) return Answer(replies::AlreadySecured(), command.line);
  if (command.has_argument)
    return Answer(replies::NoParametersAllowed(), command.line);
  if (options_->tls_ready && !options_->tls_ready())
    return Answer(replies::TlsNotAvailable(), command.line);
  if (AskFilter(FilterPhase::kStartTls, command)) return;
  Answer(replies::ReadyForTls(), command.line);
  // What was sent behind it in clear text must not be taken for something that
  // came through TLS (RFC 3207 section 5).
  input_ = {};
  state_ = State::kTlsAsked;
  events_.emplace_back(StartTlsAsked{});
}

// RFC 3207 section 4.2: all that the client has said is forgotten, who it is
// included (the reference keeps that).
void SmtpServerSession::OnTlsStarted() {
  if (state_ != State::kTlsAsked) return;
  tls_ = true;
  state_ = State::kUnidentified;
  extended_ = false;
  helo_.clear();
  authenticated_ = options_->trusted;
  username_.clear();
  transaction_ = {};
}

// ---- AUTH

// Separated by spaces; empty: AUTH is not offered.
std::string SmtpServerSession::AuthMechanisms() const {
  const bool offered = options_->auth != SmtpServerOptions::Auth::kNone &&
                       !authenticated_ && (tls_ || options_->auth_in_clear);
  if (!offered) return "";
  return options_->scram ? "PLAIN LOGIN SCRAM-SHA-256" : "PLAIN LOGIN";
}

void SmtpServerSession::OnAuth(const Command& command) {
  if (authenticated_)
    return Answer(replies::AlreadyAuthenticated(), command.line);
  if (AuthMechanisms().empty())
    return Answer(replies::NotSupported(), command.line);
  if (command.argument.empty())
    return Answer(replies::NoParametersGiven(), command.line);
  if (AskFilter(FilterPhase::kAuth, command, command.argument)) return;
  const size_t space = command.argument.find(' ');
  const absl::string_view mechanism = command.argument.substr(0, space);
  absl::string_view initial;
  if (space != command.argument.npos)
    initial = absl::StripLeadingAsciiWhitespace(command.argument.substr(space));
  command_ = std::string(command.line);
  using Expects = Auth::Expects;
  if (absl::EqualsIgnoreCase(mechanism, "PLAIN"))
    return BeginAuth(Expects::kPlain, initial);
  if (absl::EqualsIgnoreCase(mechanism, "LOGIN"))
    return BeginAuth(Expects::kLoginUser, initial);
  if (options_->scram && absl::EqualsIgnoreCase(mechanism, "SCRAM-SHA-256"))
    return BeginAuth(Expects::kScram, initial);
  // Some client may have left the mechanism out; what it said is logged.
  Answer(replies::MechanismNotSupported(IsMechanismName(mechanism) ? mechanism
                                                                   : "(...)"),
         command.line);
}

void SmtpServerSession::BeginAuth(Auth::Expects expects,
                                  absl::string_view initial) {
  auth_.emplace(Auth{expects, false, ""});
  // "=" is a response of no octets (RFC 4954 section 4).
  if (initial == "=") return TakeAuthResponse("");
  if (!initial.empty()) return TakeAuthResponse(initial);
  ChallengeAuth(expects == Auth::Expects::kLoginUser ? kUserPrompt : "");
}

void SmtpServerSession::ChallengeAuth(absl::string_view text) {
  state_ = State::kAuthLine;
  Say(replies::AuthChallenge(absl::Base64Escape(text)), command_);
}

bool SmtpServerSession::StepAuth() {
  const Line line = PeekLine(kMaxAuthLineBytes);
  if (line.kind == Line::Kind::kNone) return false;
  if (line.kind == Line::Kind::kTooLong) {
    CloseForBadInput(replies::AuthLineTooLong());
    return true;
  }
  Consume(line.bytes);
  TellCommand(kMaskedSecret);
  if (line.bare_lf && !options_->bare_lf_commands) {
    EndAuth(replies::BareLineFeed());
  } else {
    TakeAuthResponse(line.text);
  }
  return true;
}

void SmtpServerSession::TakeAuthResponse(absl::string_view encoded) {
  // "*" gives up, and is no base64.
  std::optional<std::string> response = DecodeBase64(encoded);
  if (!response) return EndAuth(replies::AuthSyntax());
  switch (auth_->expects) {
    case Auth::Expects::kPlain:
      break;
    case Auth::Expects::kLoginUser:
      if (response->empty()) return EndAuth(replies::AuthSyntax());
      auth_->user = *std::move(response);
      auth_->expects = Auth::Expects::kLoginPassword;
      return ChallengeAuth(kPasswordPrompt);
    case Auth::Expects::kLoginPassword: {
      std::string plain(1, '\0');
      absl::StrAppend(&plain, auth_->user, absl::string_view("\0", 1),
                      *response);
      Wipe(&*response);
      response = std::move(plain);
      break;
    }
    case Auth::Expects::kScram:
      return AskAuth("SCRAM-SHA-256", *std::move(response));
  }
  if (response->size() > kMaxSaslResponse || !ParseSaslPlain(*response)) {
    Wipe(&*response);
    return EndAuth(replies::AuthSyntax());
  }
  AskAuth("PLAIN", *std::move(response));
}

void SmtpServerSession::AskAuth(const char* mechanism, std::string response) {
  const bool first = !std::exchange(auth_->begun, true);
  events_.emplace_back(
      AuthAsked{Ask(State::kAuthAsked), first, mechanism, std::move(response)});
}

void SmtpServerSession::ResumeAuth(uint64_t question, AuthAnswerKind kind,
                                   absl::string_view text) {
  if (state_ != State::kAuthAsked || question != asked_) return;
  switch (kind) {
    case AuthAnswerKind::kOk:
      authenticated_ = true;
      username_ = std::string(text);
      hide_command_ = false;
      return EndAuth(replies::AuthSucceeded());
    case AuthAnswerKind::kFailed:
      ++auth_failures_;
      if (options_->max_auth_failures == 0 ||
          auth_failures_ < options_->max_auth_failures)
        return EndAuth(replies::AuthFailed());
      ++hits_.auth_failures;
      return EndAuth(replies::TooManyAuthFailures());
    case AuthAnswerKind::kTemporary:
      return EndAuth(replies::AuthTemporaryFailure());
    case AuthAnswerKind::kChallenge:
      return ChallengeAuth(text);
    case AuthAnswerKind::kMalformed:
      return EndAuth(replies::AuthSyntax());
  }
}

void SmtpServerSession::EndAuth(const Reply& reply) {
  // Between two steps the owner still has the exchange.
  if (state_ == State::kAuthLine && auth_->begun)
    events_.emplace_back(AuthCancelled{});
  state_ = State::kIdentified;
  Wipe(&auth_->user);
  auth_.reset();
  Answer(reply, command_);
}

}  // namespace holdfast
