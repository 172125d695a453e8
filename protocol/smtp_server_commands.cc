// The commands of SmtpServerSession: one table of verbs, one short function
// for each.
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "protocol/received_header.h"
#include "protocol/secret.h"
#include "protocol/smtp_server_session.h"

namespace holdfast {
namespace {

template <class State>
constexpr uint32_t In(State state) {
  return 1u << static_cast<uint32_t>(state);
}

// RFC 9422 section 3: six digits.
constexpr uint32_t kMaxLimitValue = 999999;

bool HasBadCharacter(absl::string_view line) {
  return line.find_first_of(absl::string_view("\0\r", 2)) != line.npos;
}

// What stands behind "BDAT ": a number of octets, and perhaps LAST (RFC 3030
// section 2).
struct BdatArgument {
  uint64_t octets = 0;
  bool last = false;
};

std::optional<BdatArgument> ParseBdat(absl::string_view argument) {
  BdatArgument parsed;
  size_t digits = 0;
  while (digits < argument.size() && absl::ascii_isdigit(argument[digits])) {
    if (digits == 18) return std::nullopt;  // no message is that large
    parsed.octets = parsed.octets * 10 + (argument[digits++] - '0');
  }
  if (digits == 0) return std::nullopt;
  argument.remove_prefix(digits);
  if (argument.empty()) return parsed;
  if (argument.front() != ' ') return std::nullopt;
  argument = absl::StripAsciiWhitespace(argument);
  parsed.last = absl::EqualsIgnoreCase(argument, "LAST");
  if (!parsed.last && !argument.empty()) return std::nullopt;
  return parsed;
}

}  // namespace

// Checks run from left to right: arguments, then the state.
struct SmtpServerSession::VerbRule {
  const char* verb;
  bool takes_argument;
  uint32_t allowed;  // states
  void (SmtpServerSession::*handler)(const Command&);
};

const SmtpServerSession::VerbRule* SmtpServerSession::FindVerb(
    absl::string_view verb) {
  constexpr uint32_t kIdle = In(State::kIdentified);
  constexpr uint32_t kSender = In(State::kTransaction);
  constexpr uint32_t kAnyIdentified =
      kIdle | kSender | In(State::kBetweenChunks);
  constexpr uint32_t kBeforeMail = kIdle | In(State::kUnidentified);
  constexpr uint32_t kAlways = kAnyIdentified | In(State::kUnidentified);
  using Session = SmtpServerSession;
  // BDAT is allowed always: its octets must be read even if it is refused.
  static constexpr VerbRule kVerbs[] = {
      {"EHLO", true, kAlways, &Session::OnEhlo},
      {"HELO", true, kAlways, &Session::OnHelo},
      {"MAIL FROM", true, kIdle, &Session::OnMail},
      {"RCPT TO", true, kSender, &Session::OnRcpt},
      {"DATA", false, kSender | In(State::kBetweenChunks), &Session::OnData},
      {"BDAT", true, kAlways, &Session::OnBdat},
      {"AUTH", true, kIdle, &Session::OnAuth},
      {"STARTTLS", true, kIdle, &Session::OnStartTls},
      {"RSET", false, kAnyIdentified, &Session::OnRset},
      {"NOOP", true, kAlways, &Session::OnNoop},
      {"HELP", false, kAlways, &Session::OnHelp},
      {"VRFY", true, kAlways, &Session::OnVrfy},
      {"QUIT", false, kAlways, &Session::OnQuit},
      {"WIZ", false, kAlways, &Session::OnWiz},
      {"XCLIENT", true, kBeforeMail, &Session::OnXclient},
      {"XFORWARD", true, kBeforeMail, &Session::OnXforward},
      // Somebody makes a web browser talk to us.
      {"GET", true, kAlways, &Session::OnOtherProtocol},
      {"POST", true, kAlways, &Session::OnOtherProtocol},
      {"CONNECT", true, kAlways, &Session::OnOtherProtocol},
  };
  for (const VerbRule& rule : kVerbs) {
    if (absl::EqualsIgnoreCase(verb, rule.verb)) return &rule;
  }
  return nullptr;
}

// The verb goes up to the first space, that of "MAIL FROM:" and "RCPT TO:" up
// to the colon.
SmtpServerSession::Command SmtpServerSession::SplitCommand(
    absl::string_view line) {
  Command command;
  command.line = line;
  const bool colon = absl::StartsWithIgnoreCase(line, "MAIL FROM:") ||
                     absl::StartsWithIgnoreCase(line, "RCPT TO:");
  const size_t end = line.find(colon ? ':' : ' ');
  command.verb = line.substr(0, end);
  if (end != line.npos) {
    command.has_argument = true;
    command.argument = absl::StripLeadingAsciiWhitespace(line.substr(end + 1));
  }
  return command;
}

// RFC 5321 section 3.1: who was not welcomed can only go.  The octets of BDAT
// are read first, and it is not allowed anyway.
bool SmtpServerSession::TurnsAway(const VerbRule& rule) const {
  return filtering_ != nullptr && filtering_->turned_away &&
         rule.handler != &SmtpServerSession::OnQuit &&
         rule.handler != &SmtpServerSession::OnBdat;
}

bool SmtpServerSession::AskFilterOfPath(FilterPhase phase,
                                        const Command& command) {
  if (!HasFilterFor(phase)) return false;
  const WrittenPath path = ReadPath(command.argument);
  return AskFilter(phase, command, path.text, path.parameters);
}

bool SmtpServerSession::AskFilter(FilterPhase phase, const Command& command,
                                  absl::string_view argument,
                                  absl::string_view parameters) {
  if (!HasFilterFor(phase) || filtering_->passed) return false;
  filtering_->line = std::string(command.line);
  filtering_->argument = std::string(command.argument);
  AskFilter(phase);
  FilterAsked& asked = std::get<FilterAsked>(events_.back());
  asked.argument = std::string(argument);
  asked.parameters = std::string(parameters);
  return true;
}

// The filters have let it pass: executes what the client has said, with what
// they have made of its argument.  It is judged anew.
void SmtpServerSession::ExecuteFiltered(absl::string_view argument) {
  std::string line = std::exchange(filtering_->line, {});
  Command command = SplitCommand(line);
  command.argument = argument;
  filtering_->passed = true;
  (this->*FindVerb(command.verb)->handler)(command);
  filtering_->passed = false;
  Wipe(&line);
}

bool SmtpServerSession::StepCommand() {
  const Line line = PeekLine(kMaxCommandBytes);
  if (line.kind == Line::Kind::kNone) return false;
  if (line.kind == Line::Kind::kTooLong) {
    CloseForBadInput(replies::CommandTooLong());
    return true;
  }
  Command command = SplitCommand(line.text);
  command.bare_lf = line.bare_lf && !options_->bare_lf_commands;
  const VerbRule* rule = FindVerb(command.verb);
  const bool is_rcpt =
      rule != nullptr && rule->handler == &SmtpServerSession::OnRcpt;
  if (!recipients_.empty()) {
    if (filtering_ != nullptr) return false;
    // Recipients may be asked together; all else waits for their answers, for
    // it depends on them.
    if (!is_rcpt || command.bare_lf || HasBadCharacter(line.text)) return false;
    if (recipients_.size() >= kMaxOpenRecipients ||
        transaction_.accepted_recipients + recipients_.size() >=
            options_->max_recipients)
      return false;
  }
  // The line stays where it is while the command runs.
  Consume(line.bytes);
  if (!is_rcpt &&
      (rule == nullptr || rule->handler != &SmtpServerSession::OnBdat))
    ++commands_;
  if (Tells(FilterEvent::kProtocolClient))
    TellCommand(hide_command_ && rule == nullptr
                    ? std::string(kMaskedSecret)
                    : WithoutSecrets(line.text, kMaskedSecret));
  Execute(command, rule);
  return true;
}

// The 421 that is the answer to whatever comes.
std::optional<Reply> SmtpServerSession::LimitReached() {
  const SmtpServerOptions& limits = *options_;
  if (limits.max_errors > 0 && errors_ >= limits.max_errors) {
    ++hits_.errors;
    return replies::TooManyErrors();
  }
  if (limits.max_bad_recipients > 0 &&
      bad_recipients_ >= limits.max_bad_recipients) {
    ++hits_.bad_recipients;
    return replies::TooManyBadRecipients();
  }
  if (limits.max_commands > 0 && commands_ > limits.max_commands) {
    ++hits_.commands;
    return replies::TooManyCommands();
  }
  return std::nullopt;
}

void SmtpServerSession::Execute(const Command& command, const VerbRule* rule) {
  using Session = SmtpServerSession;
  const auto handler = rule == nullptr ? nullptr : rule->handler;
  // What stands behind a refused AUTH is often what should have been answered
  // to a challenge.
  if (rule != nullptr) hide_command_ = handler == &Session::OnAuth;
  const absl::string_view shown = hide_command_ && rule == nullptr
                                      ? absl::string_view("(...)")
                                      : command.line;
  if (handler == &Session::OnOtherProtocol) return OnOtherProtocol(command);
  if (handler != &Session::OnQuit) {
    if (const std::optional<Reply> limit = LimitReached())
      return Answer(*limit, shown);
  }
  // BDAT judges its argument itself, for it must end the session.
  if (handler != &Session::OnBdat) {
    if (command.bare_lf) return Answer(replies::BareLineFeed(), shown);
    if (HasBadCharacter(command.line))
      return Answer(replies::BadCharacter(), shown);
  }
  const bool unknown_here =
      !xclient_offered_ &&
      (handler == &Session::OnXclient || handler == &Session::OnXforward);
  if (rule == nullptr || unknown_here)
    return Answer(replies::Unrecognized(), shown);
  if (TurnsAway(*rule)) return Answer(replies::NotAllowed(), command.line);
  if (command.has_argument && !rule->takes_argument)
    return Answer(replies::NoArgumentsAccepted(), command.line);
  if ((rule->allowed & In(state_)) == 0)
    return Answer(replies::NotAllowed(), command.line);
  (this->*handler)(command);
}

// RFC 5321 section 4.1.1.1.  A second one is allowed and ends the transaction
// (section 4.1.4); the reference refuses it.
void SmtpServerSession::OnEhlo(const Command& command) {
  Identify(command, true);
}
void SmtpServerSession::OnHelo(const Command& command) {
  Identify(command, false);
}

void SmtpServerSession::Identify(const Command& command, bool extended) {
  if (!command.has_argument)
    return Answer(replies::DomainRequired(extended ? "EHLO" : "HELO"),
                  command.line);
  if (!IsValidDomain(command.argument))
    return Answer(replies::InvalidDomain(), command.line);
  if (AskFilter(extended ? FilterPhase::kEhlo : FilterPhase::kHelo, command,
                command.argument))
    return;
  if (state_ != State::kUnidentified) EndTransaction();
  state_ = State::kIdentified;
  extended_ = extended;
  helo_ = std::string(command.argument);
  events_.emplace_back(Greeted{});
  Tell(FilterEvent::kLinkIdentify, {extended ? "EHLO" : "HELO", helo_});

  std::string text =
      absl::StrCat(name(), " Hello ", helo_, " ",
                   BracketedAddress(client_address_), ", pleased to meet you");
  if (extended) text.append(EhloText());
  Answer({250, "", text}, command.line);
}

// What may be used now: one extension can need another, or TLS.
SmtpExtensions SmtpServerSession::Offered() const {
  SmtpExtensions offered = options_->extensions;
  // Filters see lines.
  offered.binarymime &= offered.chunking && filtering_ == nullptr;
  offered.smtputf8 &= offered.eight_bit_mime;  // RFC 6531 section 3.1
  offered.requiretls &= tls_;
  offered.futurerelease &= options_->now != nullptr;
  return offered;
}

ParameterRules SmtpServerSession::Rules() const {
  ParameterRules rules;
  rules.offered = Offered();
  rules.smtputf8 = transaction_.smtputf8;
  if (rules.offered.futurerelease) rules.now = options_->now();
  rules.futurerelease_max = options_->futurerelease_max;
  rules.deliverby_min = options_->deliverby_min;
  return rules;
}

// The reference's lines, in its order, then ours; HELP is last there, too.
std::string SmtpServerSession::EhloText() const {
  const SmtpExtensions offered = Offered();
  std::string text;
  const auto line = [&text](bool said, const auto&... words) {
    if (said) absl::StrAppend(&text, "\n", words...);
  };
  const std::string mechanisms = AuthMechanisms();
  const bool starttls = options_->tls == SmtpServerOptions::Tls::kOffered ||
                        options_->tls == SmtpServerOptions::Tls::kRequired;
  line(offered.eight_bit_mime, "8BITMIME");
  line(offered.enhanced_status_codes, "ENHANCEDSTATUSCODES");
  line(offered.size, "SIZE ", options_->max_message_size);
  line(offered.dsn, "DSN");
  line(starttls && !tls_, "STARTTLS");
  line(!mechanisms.empty(), "AUTH ", mechanisms);
  line(offered.pipelining, "PIPELINING");
  line(offered.chunking, "CHUNKING");
  line(offered.binarymime, "BINARYMIME");
  line(offered.smtputf8, "SMTPUTF8");
  line(offered.limits,
       "LIMITS MAILMAX=", std::min(options_->max_messages, kMaxLimitValue),
       " RCPTMAX=", std::min(options_->max_recipients, kMaxLimitValue));
  line(offered.requiretls, "REQUIRETLS");
  line(offered.mt_priority, "MT-PRIORITY");
  if (offered.deliverby) {
    const int64_t least = absl::ToInt64Seconds(options_->deliverby_min);
    text.append("\nDELIVERBY");
    if (least > 0) absl::StrAppend(&text, " ", least);
  }
  if (offered.futurerelease) {
    absl::StrAppend(
        &text, "\nFUTURERELEASE ",
        absl::ToInt64Seconds(options_->futurerelease_max), " ",
        absl::FormatTime("%Y-%m-%dT%H:%M:%SZ",
                         options_->now() + options_->futurerelease_max,
                         absl::UTCTimeZone()));
  }
  if (xclient_offered_) text.append(XclientOffer());
  text.append("\nHELP");
  return text;
}

// RFC 5321 section 4.1.1.2.
void SmtpServerSession::OnMail(const Command& command) {
  if (options_->tls == SmtpServerOptions::Tls::kRequired && !tls_)
    return Answer(replies::StartTlsFirst(), command.line);
  if (options_->auth == SmtpServerOptions::Auth::kRequired && !authenticated_)
    return Answer(replies::AuthFirst(), command.line);
  if (messages_ >= options_->max_messages) {
    ++hits_.messages;
    return Answer(replies::TooManyMessages(), command.line);
  }
  auto parsed = ParseMailArgument(command.argument, {name(), Rules()});
  if (const Reply* refusal = std::get_if<Reply>(&parsed))
    return Answer(*refusal, command.line);
  ReversePath& path = std::get<ReversePath>(parsed);
  // RFC 1870 section 6.1.
  if (path.parameters.size.value_or(0) > options_->max_message_size) {
    ++hits_.message_size;
    return Answer(replies::DeclaredSizeTooBig(), command.line);
  }
  if (AskFilterOfPath(FilterPhase::kMailFrom, command)) return;
  transaction_ = {};
  transaction_.binary =
      path.parameters.body == MailParameters::Body::kBinaryMime;
  transaction_.smtputf8 = path.parameters.smtputf8;
  // To be preferred, one must be known (RFC 6710 section 5.1).
  if (path.parameters.mt_priority.value_or(0) > 0 && !authenticated_) {
    path.parameters.mt_priority = 0;
    transaction_.lowered_priority = 0;
  }
  command_ = std::string(command.line);
  events_.emplace_back(SenderAsked{Ask(State::kSenderAsked), std::move(path)});
}

// RFC 5321 section 4.1.1.3.
void SmtpServerSession::OnRcpt(const Command& command) {
  PendingReply pending;
  pending.command = std::string(command.line);
  if (transaction_.accepted_recipients >= options_->max_recipients) {
    ++hits_.recipients;
    pending.reply = replies::TooManyRecipients();
  } else {
    auto parsed = ParseRcptArgument(command.argument, {name(), Rules()});
    if (Reply* refusal = std::get_if<Reply>(&parsed)) {
      pending.reply = std::move(*refusal);
    } else {
      if (AskFilterOfPath(FilterPhase::kRcptTo, command)) return;
      pending.question = ++last_question_;
      events_.emplace_back(RecipientAsked{
          pending.question, std::get<ForwardPath>(std::move(parsed))});
    }
  }
  if (pending.reply && recipients_.empty())
    return AnswerRecipient(*pending.reply, pending.command);
  recipients_.push_back(std::move(pending));
}

// RFC 5321 section 4.1.1.4.
void SmtpServerSession::OnData(const Command& command) {
  if (state_ == State::kBetweenChunks) {
    // RFC 3030 section 3: never both in one transaction.
    EndTransaction();
    return Answer(replies::NotAllowed(), command.line);
  }
  if (transaction_.accepted_recipients == 0)
    return Answer(replies::NoRecipient(), command.line);
  // RFC 3030 section 3: only BDAT can carry it.
  if (transaction_.binary) return Answer(replies::NotAllowed(), command.line);
  if (AskFilter(FilterPhase::kData, command)) return;
  StartMessage(command, DataDecoder::Framing::kDots);
}

// RFC 3030 section 2.
void SmtpServerSession::OnBdat(const Command& command) {
  const std::optional<BdatArgument> argument = ParseBdat(command.argument);
  if (!argument || command.bare_lf) {
    // How many octets follow is not known, so nothing can be read after it.
    return CloseForBadInput(replies::InvalidArguments("Invalid BDAT"));
  }
  chunk_ = Chunk{argument->octets, argument->octets, argument->last, {}, {}};
  if (state_ == State::kBetweenChunks) {
    command_ = std::string(command.line);
    state_ = State::kChunk;
    return;
  }
  const bool chunking = options_->extensions.chunking;
  if (chunking && state_ == State::kTransaction &&
      transaction_.accepted_recipients > 0) {
    if (AskFilter(FilterPhase::kData, command)) return;
    return StartMessage(command, transaction_.binary
                                     ? DataDecoder::Framing::kBinary
                                     : DataDecoder::Framing::kCounted);
  }
  command_ = std::string(command.line);
  const Reply refusal = !chunking ? replies::NotSupported()
                        : state_ == State::kTransaction ? replies::NoRecipient()
                                                        : replies::NotAllowed();
  SkipChunk(refusal, state_);
}

void SmtpServerSession::OnRset(const Command& command) {
  if (AskFilter(FilterPhase::kRset, command)) return;
  ForgetTransaction();
  Answer(replies::Reset(), command.line);
  TellTransactionEnd(false);
}

void SmtpServerSession::OnNoop(const Command& command) {
  if (AskFilter(FilterPhase::kNoop, command)) return;
  Answer(replies::Ok(), command.line);
}

void SmtpServerSession::OnHelp(const Command& command) {
  Answer(replies::Help(), command.line);
}

void SmtpServerSession::OnVrfy(const Command& command) {
  Answer(replies::CannotVerify(), command.line);
}

void SmtpServerSession::OnQuit(const Command& command) {
  if (AskFilter(FilterPhase::kQuit, command)) return;
  Close(replies::Bye());
}

void SmtpServerSession::OnWiz(const Command& command) {
  Answer(replies::NotSupportedYet(), command.line);
}

void SmtpServerSession::OnOtherProtocol(const Command&) {
  CloseForBadInput(replies::OtherProtocol());
}

}  // namespace holdfast
