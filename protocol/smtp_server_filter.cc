// What SmtpServerSession asks and tells filters (smtpd-filters(7); reference
// part 2, section 7).
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/secret.h"
#include "protocol/smtp_server_session.h"

namespace holdfast {
namespace {

// What a filter says that is no refusal.
Reply InternalError() { return {421, "", "Internal server error"}; }

bool IsRefusal(absl::string_view text) {
  return text.size() >= 5 && (text[0] == '4' || text[0] == '5') &&
         text[3] == ' ' && RefusalFromText(text, 0).code != 0;
}

std::string ResultWord(const Reply& reply) {
  if (!reply.IsRefusal()) return "ok";
  return reply.code < 500 ? "tempfail" : "permfail";
}

// The others have none that could be rewritten.
bool HasArgument(FilterPhase phase) {
  return phase == FilterPhase::kHelo || phase == FilterPhase::kEhlo ||
         phase == FilterPhase::kAuth || phase == FilterPhase::kMailFrom ||
         phase == FilterPhase::kRcptTo;
}

}  // namespace

void SmtpServerSession::SetFilters(const SessionFilters& filters) {
  if (filtering_ == nullptr) filtering_ = std::make_unique<Filtering>();
  filtering_->wants = filters;
}

void SmtpServerSession::SetMessageId(std::string id) {
  if (filtering_ != nullptr) filtering_->message_id = std::move(id);
}
void SmtpServerSession::SetMessageBytes(uint64_t bytes) {
  if (filtering_ != nullptr) filtering_->message_bytes = bytes;
}

// ---- Questions

bool SmtpServerSession::HasFilterFor(FilterPhase phase) const {
  return filtering_ != nullptr &&
         (filtering_->wants.phases & MaskOf(phase)) != 0;
}

bool SmtpServerSession::AskFilter(FilterPhase phase) {
  if (!HasFilterFor(phase)) return false;
  filtering_->phase = phase;
  filtering_->before = state_;
  FilterAsked asked;
  asked.question = Ask(State::kFilterAsked);
  asked.phase = phase;
  events_.emplace_back(std::move(asked));
  return true;
}

void SmtpServerSession::ResumeFilter(uint64_t question, FilterVerdict verdict,
                                     absl::string_view text) {
  if (state_ != State::kFilterAsked || question != asked_) return;
  Filtering& asked = *filtering_;
  state_ = asked.before;
  const bool refused = verdict == FilterVerdict::kReject ||
                       verdict == FilterVerdict::kDisconnect;
  std::string argument = std::exchange(asked.argument, {});
  if (refused) {
    RefuseByFilter(IsRefusal(text) ? RefusalFromText(text, 0)
                                   : InternalError());
    if (verdict == FilterVerdict::kDisconnect) {
      // Nobody waits for the rest of a chunk.
      if (state_ == State::kSkippingChunk) {
        state_ = chunk_.next;
        Answer(chunk_.refusal, command_);
      }
      Abandon();
    }
  } else if (asked.phase == FilterPhase::kConnect) {
    SayBanner();
  } else if (asked.phase == FilterPhase::kCommit) {
    events_.emplace_back(MessageEnds{Ask(State::kEnding)});
  } else if (verdict != FilterVerdict::kRewrite || !HasArgument(asked.phase)) {
    ExecuteFiltered(argument);
  } else {
    // The client's parameters stay, if the filter has none of its own.
    std::string rewritten(text);
    const absl::string_view parameters = ReadPath(argument).parameters;
    const bool path = asked.phase == FilterPhase::kMailFrom ||
                      asked.phase == FilterPhase::kRcptTo;
    if (path && !parameters.empty() && ReadPath(rewritten).parameters.empty())
      absl::StrAppend(&rewritten, " ", parameters);
    ExecuteFiltered(rewritten);
    Wipe(&rewritten);
  }
  Wipe(&argument);
}

void SmtpServerSession::RefuseByFilter(const Reply& reply) {
  std::string line = std::exchange(filtering_->line, {});
  switch (filtering_->phase) {
    case FilterPhase::kConnect:
      filtering_->turned_away = true;
      return Answer(reply, "");
    case FilterPhase::kRcptTo:
      return AnswerRecipient(reply, line);
    case FilterPhase::kCommit:
      return ResumeEnd(reply);
    case FilterPhase::kData:
      if (absl::StartsWithIgnoreCase(line, "BDAT") && reply.code != 421) {
        // None of its chunks may begin a message.
        command_ = std::move(line);
        EndTransaction();
        return SkipChunk(reply, State::kIdentified);
      }
      return Answer(reply, line);
    default:
      Answer(reply, line);
      Wipe(&line);
  }
}

// It may have been about a password.
void SmtpServerSession::ForgetQuestion() {
  if (filtering_ == nullptr) return;
  Wipe(&filtering_->line);
  Wipe(&filtering_->argument);
}

void SmtpServerSession::SayBanner() {
  Say(replies::Banner(name()), "");
  Tell(FilterEvent::kLinkGreeting, {name()});
}

// ---- Events

bool SmtpServerSession::Tells(FilterEvent event) const {
  return filtering_ != nullptr &&
         (filtering_->wants.events & MaskOf(event)) != 0;
}

void SmtpServerSession::Tell(FilterEvent event,
                             std::vector<std::string> fields) {
  if (Tells(event)) events_.emplace_back(FilterTold{event, std::move(fields)});
}

void SmtpServerSession::TellCommand(absl::string_view line) {
  if (Tells(FilterEvent::kProtocolClient))
    Tell(FilterEvent::kProtocolClient, {std::string(line)});
}

// As they go over the wire, each with its CRLF.
void SmtpServerSession::TellReply(absl::string_view lines) {
  if (!Tells(FilterEvent::kProtocolServer)) return;
  while (!lines.empty()) {
    const size_t end = lines.find("\r\n");
    Tell(FilterEvent::kProtocolServer, {std::string(lines.substr(0, end))});
    lines.remove_prefix(end + 2);
  }
}

// tx-mail, tx-rcpt: with the address as the client wrote it in `command`;
// tx-data.
void SmtpServerSession::TellOfMessage(FilterEvent event, const Reply& reply,
                                      absl::string_view command) {
  if (!Tells(event) || filtering_->message_id.empty()) return;
  std::vector<std::string> fields = {filtering_->message_id, ResultWord(reply)};
  if (event != FilterEvent::kTxData)
    fields.emplace_back(ReadPath(SplitCommand(command).argument).text);
  Tell(event, std::move(fields));
}

// Refused inside a transaction, for whatever reason.
void SmtpServerSession::TellRefusal(const Reply& reply,
                                    absl::string_view command) {
  static constexpr struct {
    const char* verb;
    FilterEvent event;
  } kEvents[] = {{"MAIL FROM:", FilterEvent::kTxMail},
                 {"RCPT TO:", FilterEvent::kTxRcpt},
                 {"DATA", FilterEvent::kTxData},
                 {"BDAT", FilterEvent::kTxData}};
  for (const auto& [verb, event] : kEvents) {
    if (absl::StartsWithIgnoreCase(command, verb))
      return TellOfMessage(event, reply, command);
  }
}

void SmtpServerSession::TellSender() {
  if (filtering_->message_id.empty()) return;
  Tell(FilterEvent::kTxBegin, {filtering_->message_id});
  TellOfMessage(FilterEvent::kTxMail, replies::Ok(), command_);
}

// Told once of each transaction that tx-begin was told of.
void SmtpServerSession::TellTransactionEnd(bool accepted) {
  if (filtering_ == nullptr || filtering_->message_id.empty()) return;
  const std::string id = std::exchange(filtering_->message_id, {});
  if (accepted) {
    Tell(FilterEvent::kTxCommit, {id, absl::StrCat(filtering_->message_bytes)});
  } else {
    Tell(FilterEvent::kTxRollback, {id});
  }
  Tell(FilterEvent::kTxReset, {id});
}

}  // namespace holdfast
