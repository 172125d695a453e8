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
#include "protocol/smtp_server_session.h"

namespace holdfast {
namespace {

template <class State>
constexpr uint32_t In(State state) {
  return 1u << static_cast<uint32_t>(state);
}

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
      {"AUTH", true, kIdle, &Session::OnNotOffered},
      {"STARTTLS", true, kIdle, &Session::OnNotOffered},
      {"RSET", false, kAnyIdentified, &Session::OnRset},
      {"NOOP", true, kAlways, &Session::OnNoop},
      {"HELP", false, kAlways, &Session::OnHelp},
      {"VRFY", true, kAlways, &Session::OnVrfy},
      {"QUIT", false, kAlways, &Session::OnQuit},
      {"WIZ", false, kAlways, &Session::OnWiz},
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

bool SmtpServerSession::StepCommand() {
  if (input_.empty()) return false;
  const char* lf = static_cast<const char*>(memchr(
      input_.data(), '\n', std::min(input_.size(), kMaxCommandBytes + 2)));
  if (lf == nullptr) {
    // With a CR, a line of the largest size has one byte more.
    if (input_.size() < kMaxCommandBytes + 2) return false;
    CloseForBadInput(replies::CommandTooLong());
    return true;
  }
  const size_t length = static_cast<size_t>(lf - input_.data());
  absl::string_view line = input_.substr(0, length);
  absl::ConsumeSuffix(&line, "\r");
  if (line.size() > kMaxCommandBytes) {
    CloseForBadInput(replies::CommandTooLong());
    return true;
  }
  const Command command = SplitCommand(line);
  const VerbRule* rule = FindVerb(command.verb);
  if (!recipients_.empty()) {
    // Recipients may be asked together; all else waits for their answers, for
    // it depends on them.
    if (rule == nullptr || rule->handler != &SmtpServerSession::OnRcpt ||
        HasBadCharacter(line))
      return false;
    if (recipients_.size() >= kMaxOpenRecipients ||
        accepted_recipients_ + recipients_.size() >= options_->max_recipients)
      return false;
  }
  // The line stays where it is while the command runs.
  Consume(length + 1);
  Execute(command, rule);
  return true;
}

void SmtpServerSession::Execute(const Command& command, const VerbRule* rule) {
  // BDAT judges its argument itself, for it must end the session.
  const bool is_bdat =
      rule != nullptr && rule->handler == &SmtpServerSession::OnBdat;
  if (!is_bdat && HasBadCharacter(command.line))
    return Answer(replies::BadCharacter(), command.line);
  if (rule == nullptr) return Answer(replies::Unrecognized(), command.line);
  if (command.has_argument && !rule->takes_argument)
    return Answer(replies::NoArgumentsAccepted(), command.line);
  if ((rule->allowed & In(state_)) == 0)
    return Answer(replies::NotAllowed(), command.line);
  (this->*rule->handler)(command);
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
  if (state_ != State::kUnidentified) EndTransaction();
  state_ = State::kIdentified;
  extended_ = extended;
  helo_ = std::string(command.argument);
  events_.emplace_back(Greeted{});

  std::string text =
      absl::StrCat(options_->name, " Hello ", helo_, " ",
                   BracketedAddress(client_address_), ", pleased to meet you");
  if (extended) {
    absl::StrAppend(&text, "\nPIPELINING\n8BITMIME\nENHANCEDSTATUSCODES\nSIZE ",
                    options_->max_message_size, options_->dsn ? "\nDSN" : "",
                    "\nCHUNKING\nHELP");
  }
  Answer({250, "", text}, command.line);
}

// RFC 5321 section 4.1.1.2.
void SmtpServerSession::OnMail(const Command& command) {
  if (messages_ >= options_->max_messages)
    return Answer(replies::TooManyMessages(), command.line);
  auto parsed = ParseMailArgument(command.argument, path_options());
  if (const Reply* refusal = std::get_if<Reply>(&parsed))
    return Answer(*refusal, command.line);
  ReversePath& path = std::get<ReversePath>(parsed);
  // RFC 1870 section 6.1.
  if (path.parameters.size.value_or(0) > options_->max_message_size)
    return Answer(replies::DeclaredSizeTooBig(), command.line);
  state_ = State::kSenderAsked;
  command_ = std::string(command.line);
  events_.emplace_back(SenderAsked{++last_question_, std::move(path)});
}

// RFC 5321 section 4.1.1.3.
void SmtpServerSession::OnRcpt(const Command& command) {
  PendingReply pending;
  pending.command = std::string(command.line);
  if (accepted_recipients_ >= options_->max_recipients) {
    pending.reply = replies::TooManyRecipients();
  } else {
    auto parsed = ParseRcptArgument(command.argument, path_options());
    if (Reply* refusal = std::get_if<Reply>(&parsed)) {
      pending.reply = std::move(*refusal);
    } else {
      pending.question = ++last_question_;
      events_.emplace_back(RecipientAsked{
          pending.question, std::get<ForwardPath>(std::move(parsed))});
    }
  }
  if (pending.reply && recipients_.empty())
    return Answer(*pending.reply, pending.command);
  recipients_.push_back(std::move(pending));
}

// RFC 5321 section 4.1.1.4.
void SmtpServerSession::OnData(const Command& command) {
  if (state_ == State::kBetweenChunks) {
    // RFC 3030 section 3: never both in one transaction.
    EndTransaction();
    return Answer(replies::NotAllowed(), command.line);
  }
  if (accepted_recipients_ == 0)
    return Answer(replies::NoRecipient(), command.line);
  StartMessage(command, DataDecoder::Framing::kDots);
}

// RFC 3030 section 2.
void SmtpServerSession::OnBdat(const Command& command) {
  const std::optional<BdatArgument> argument = ParseBdat(command.argument);
  if (!argument) {
    // How many octets follow is not known, so nothing can be read after it.
    events_.emplace_back(
        BadInput{replies::InvalidArguments("Invalid BDAT").FirstLine()});
    return Close(replies::InvalidArguments("Invalid BDAT"));
  }
  chunk_ = Chunk{argument->octets, argument->octets, argument->last, {}, {}};
  if (state_ == State::kBetweenChunks) {
    command_ = std::string(command.line);
    state_ = State::kChunk;
    return;
  }
  if (state_ == State::kTransaction && accepted_recipients_ > 0)
    return StartMessage(command, DataDecoder::Framing::kCounted);
  command_ = std::string(command.line);
  SkipChunk(state_ == State::kTransaction ? replies::NoRecipient()
                                          : replies::NotAllowed(),
            state_);
}

void SmtpServerSession::OnRset(const Command& command) {
  EndTransaction();
  Answer(replies::Reset(), command.line);
}

void SmtpServerSession::OnNoop(const Command& command) {
  Answer(replies::Ok(), command.line);
}

void SmtpServerSession::OnHelp(const Command& command) {
  Answer(replies::Help(), command.line);
}

void SmtpServerSession::OnVrfy(const Command& command) {
  Answer(replies::CannotVerify(), command.line);
}

void SmtpServerSession::OnQuit(const Command&) { Close(replies::Bye()); }

void SmtpServerSession::OnWiz(const Command& command) {
  Answer(replies::NotSupportedYet(), command.line);
}

void SmtpServerSession::OnNotOffered(const Command& command) {
  Answer(replies::NotSupported(), command.line);
}

void SmtpServerSession::OnOtherProtocol(const Command&) {
  CloseForBadInput(replies::OtherProtocol());
}

}  // namespace holdfast
