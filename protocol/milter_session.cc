#include "protocol/milter_session.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

constexpr absl::string_view kRejected = "550 5.7.1 Command rejected";
constexpr absl::string_view kSessionRejected = "554 5.7.1 Command rejected";
constexpr absl::string_view kTryLater = "451 4.7.1 Please try again later";
constexpr absl::string_view kSessionTryLater =
    "421 4.7.1 Please try again later";
constexpr absl::string_view kClosing = "421 4.7.0 Service not available";

// Where a command's macros stand in SMFIR_OPTNEG, and those it has else.
struct MacroStage {
  MilterCommand command;
  uint32_t stage;
  std::vector<std::string> usual;
};

const std::vector<std::string>* WantedMacros(MilterCommand command,
                                             const MilterOptions& options) {
  static const auto* const kStages = new std::vector<MacroStage>{
      {MilterCommand::kConnect,
       0,
       {"j", "_", "v", "daemon_name", "daemon_addr", "daemon_port",
        "client_addr", "client_name", "client_port", "client_ptr"}},
      {MilterCommand::kHelo, 1, {"tls_version", "cipher", "cipher_bits"}},
      {MilterCommand::kMail,
       2,
       {"i", "auth_type", "auth_authen", "auth_author", "mail_addr",
        "mail_host", "mail_mailer"}},
      {MilterCommand::kRcpt, 3, {"i", "rcpt_addr", "rcpt_host", "rcpt_mailer"}},
      {MilterCommand::kData, 4, {"i"}},
      {MilterCommand::kEndOfMessage, 5, {"i"}},
      {MilterCommand::kEndOfHeaders, 6, {"i"}},
  };
  for (const MacroStage& stage : *kStages) {
    if (stage.command != command) continue;
    const auto named = options.macros.find(stage.stage);
    return named == options.macros.end() ? &stage.usual : &named->second;
  }
  return nullptr;
}

std::string Arguments(absl::string_view address,
                      const std::vector<std::string>& parameters) {
  std::string data;
  PutMilterString(address, &data);
  for (const std::string& parameter : parameters)
    PutMilterString(parameter, &data);
  return data;
}

bool AboutSession(MilterCommand command) {
  return command == MilterCommand::kConnect || command == MilterCommand::kHelo;
}

}  // namespace

MilterSession::MilterSession(Events* events) : events_(events) {
  std::string data;
  PutMilterNumber(kMilterVersion, &data);
  PutMilterNumber(kMilterActions, &data);
  PutMilterNumber(kMilterSteps, &data);
  PutMilterPacket(MilterCommand::kNegotiate, data, &output_);
}

void MilterSession::SetMacro(absl::string_view name, absl::string_view value) {
  if (value.empty()) {
    macros_.erase(std::string(name));
  } else {
    macros_[std::string(name)] = std::string(value);
  }
}

void MilterSession::PutMacros(MilterCommand command) {
  const std::vector<std::string>* wanted = WantedMacros(command, options_);
  if (wanted == nullptr) return;
  std::string data(1, static_cast<char>(command));
  for (const std::string& name : *wanted) {
    const auto macro = macros_.find(name);
    if (macro == macros_.end()) continue;
    PutMilterString(name.size() == 1 ? name : absl::StrCat("{", name, "}"),
                    &data);
    PutMilterString(macro->second, &data);
  }
  if (data.size() + 1 > kMilterChunkBytes) return;  // no milter would take it
  PutMilterPacket(MilterCommand::kMacros, data, &output_);
}

// `unwanted`, `unanswered`: the steps that a milter names for not being told,
// and for not answering.
bool MilterSession::Say(MilterCommand command, absl::string_view data,
                        uint32_t unwanted, uint32_t unanswered) {
  if (state_ != State::kReady || quiet_ != Quiet::kNo || Has(unwanted))
    return false;
  PutMacros(command);
  PutMilterPacket(command, data, &output_);
  if (Has(unanswered)) return false;
  state_ = State::kWaiting;
  asked_ = command;
  return true;
}

bool MilterSession::Connect(absl::string_view host, char family, uint16_t port,
                            absl::string_view address) {
  std::string data;
  PutMilterString(host, &data);
  data.push_back(family);
  if (family != 'U') {
    PutMilterShort(port, &data);
    PutMilterString(address, &data);
  }
  return Say(MilterCommand::kConnect, data, kMilterNoConnect,
             kMilterNoReplyConnect);
}

bool MilterSession::Helo(absl::string_view name) {
  std::string data;
  PutMilterString(name, &data);
  return Say(MilterCommand::kHelo, data, kMilterNoHelo, kMilterNoReplyHelo);
}

bool MilterSession::Mail(absl::string_view address,
                         const std::vector<std::string>& parameters) {
  Abort();
  if (state_ != State::kReady || quiet_ != Quiet::kNo) return false;
  in_message_ = true;
  skip_headers_ = skip_body_ = false;
  return Say(MilterCommand::kMail, Arguments(address, parameters),
             kMilterNoMail, kMilterNoReplyMail);
}

bool MilterSession::Rcpt(absl::string_view address,
                         const std::vector<std::string>& parameters) {
  return Say(MilterCommand::kRcpt, Arguments(address, parameters),
             kMilterNoRcpt, kMilterNoReplyRcpt);
}

bool MilterSession::Data() {
  // DATA came with version 4.
  if (options_.version < 4) return false;
  return Say(MilterCommand::kData, "", kMilterNoData, kMilterNoReplyData);
}

bool MilterSession::Header(absl::string_view name, absl::string_view value) {
  if (skip_headers_) return false;
  if (!keeps_leading_space()) value = absl::StripLeadingAsciiWhitespace(value);
  std::string data;
  PutMilterString(name, &data);
  PutMilterString(value, &data);
  return Say(MilterCommand::kHeader, data, kMilterNoHeaders,
             kMilterNoReplyHeader);
}

bool MilterSession::EndOfHeaders() {
  return Say(MilterCommand::kEndOfHeaders, "", kMilterNoEndOfHeaders,
             kMilterNoReplyEndOfHeaders);
}

bool MilterSession::Body(absl::string_view piece) {
  if (skip_body_) return false;
  return Say(MilterCommand::kBody, piece, kMilterNoBody, kMilterNoReplyBody);
}

bool MilterSession::EndOfMessage() {
  return Say(MilterCommand::kEndOfMessage, "", 0, 0);
}

void MilterSession::Abort() {
  if (state_ != State::kReady) return;
  if (in_message_) PutMilterPacket(MilterCommand::kAbort, "", &output_);
  in_message_ = false;
  if (quiet_ == Quiet::kMessage) quiet_ = Quiet::kNo;
}

void MilterSession::Quit() {
  if (state_ == State::kOver) return;
  PutMilterPacket(MilterCommand::kQuit, "", &output_);
  state_ = State::kOver;
}

void MilterSession::Broken(std::string why) {
  if (state_ == State::kOver) return;
  state_ = State::kOver;
  events_->OnBroken(why);
}

void MilterSession::Receive(absl::string_view bytes) {
  while (state_ != State::kOver && !bytes.empty()) {
    auto packet = reader_.Read(&bytes);
    if (!packet.ok()) return Broken(std::string(packet.status().message()));
    if (packet->has_value()) OnPacket(**packet);
  }
}

void MilterSession::OnPacket(const MilterPacket& packet) {
  if (state_ == State::kNegotiating) return OnOptions(packet);
  if (state_ == State::kReady) return Broken("it answers before it is asked");
  if (packet.code == 'p') return events_->OnProgress();
  if (OnChangePacket(packet)) return;
  OnVerdict(packet);
}

void MilterSession::OnOptions(const MilterPacket& packet) {
  if (packet.code != static_cast<char>(MilterCommand::kNegotiate))
    return Broken("it does not agree on options");
  absl::StatusOr<MilterOptions> options = ParseMilterOptions(packet.data);
  if (!options.ok()) return Broken(std::string(options.status().message()));
  options_ = *std::move(options);
  state_ = State::kReady;
  events_->OnReady();
}

// Whether `packet` asks for a change.
bool MilterSession::OnChangePacket(const MilterPacket& packet) {
  auto change = ParseMilterChange(packet);
  if (!change.ok()) {
    Broken(std::string(change.status().message()));
    return true;
  }
  if (!change->has_value()) return false;
  if (asked_ != MilterCommand::kEndOfMessage) {
    Broken("it changes a message before its end");
  } else if ((options_.actions & ActionOf(packet)) == 0) {
    Broken("it changes what it did not say it would");
  } else {
    events_->OnChange(**std::move(change));
  }
  return true;
}

void MilterSession::OnVerdict(const MilterPacket& packet) {
  using Kind = MilterAnswer::Kind;
  if (packet.code == 'y') {
    absl::StatusOr<std::string> text = ParseMilterReply(packet.data);
    if (!text.ok()) return Broken(std::string(text.status().message()));
    const Kind kind = absl::string_view(*text).substr(0, 3) == "421"
                          ? Kind::kDisconnect
                      : (*text)[0] == '4' ? Kind::kTempFail
                                          : Kind::kReject;
    return Answer({kind, *std::move(text)});
  }
  if (!packet.data.empty()) return Broken("an answer with data behind it");
  switch (packet.code) {
    case 'c':
      return Answer({Kind::kContinue, ""});
    case 'a':
      return Answer({Kind::kAccept, ""});
    case 'r':
      return Answer(
          {Kind::kReject,
           std::string(asked_ == MilterCommand::kConnect ? kSessionRejected
                                                         : kRejected)});
    case 't':
      return Answer(
          {Kind::kTempFail,
           std::string(asked_ == MilterCommand::kConnect ? kSessionTryLater
                                                         : kTryLater)});
    case 'd':
      if (AboutSession(asked_)) return Broken("it discards a session");
      return Answer({Kind::kDiscard, ""});
    case 's':
      return OnSkip();
    case '4':
    case 'f':
      return Answer({Kind::kDisconnect, std::string(kClosing)});
    default:
      return Broken(absl::StrCat("unknown packet ",
                                 static_cast<unsigned char>(packet.code)));
  }
}

// It wants no more headers, or no more of the body.
void MilterSession::OnSkip() {
  if (!Has(kMilterSkip) ||
      (asked_ != MilterCommand::kBody && asked_ != MilterCommand::kHeader))
    return Broken("it skips what can't be skipped");
  (asked_ == MilterCommand::kBody ? skip_body_ : skip_headers_) = true;
  Answer({MilterAnswer::Kind::kContinue, ""});
}

void MilterSession::Answer(MilterAnswer answer) {
  state_ = State::kReady;
  // A recipient's refusal is that recipient's only.
  const bool recipient_refused = asked_ == MilterCommand::kRcpt &&
                                 (answer.kind == MilterAnswer::Kind::kReject ||
                                  answer.kind == MilterAnswer::Kind::kTempFail);
  if (answer.kind == MilterAnswer::Kind::kDisconnect) {
    quiet_ = Quiet::kSession;
  } else if (answer.kind != MilterAnswer::Kind::kContinue &&
             !recipient_refused) {
    quiet_ = AboutSession(asked_) ? Quiet::kSession : Quiet::kMessage;
  }
  if (asked_ == MilterCommand::kEndOfMessage) {
    in_message_ = false;
    if (quiet_ == Quiet::kMessage) quiet_ = Quiet::kNo;
  }
  events_->OnAnswer(std::move(answer));
}

}  // namespace holdfast
