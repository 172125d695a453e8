#include "protocol/smtp_server_session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "protocol/sasl_plain.h"
#include "protocol/secret.h"

namespace holdfast {
namespace {

// Buffers up to this size stay with an idle session.
constexpr size_t kIdleBufferBytes = 4096;

// Where AUTH stands, also in a line that has something before it: one of two
// that a bare CR holds together, one with a space too many.
size_t FindAuth(absl::string_view command) {
  const std::string auth = "auth";
  const std::string lower = absl::AsciiStrToLower(command);
  if (absl::StartsWith(lower, auth)) return 0;
  for (size_t at = lower.find(auth, 1); at != lower.npos;
       at = lower.find(auth, at + 1)) {
    const size_t end = at + auth.size();
    const bool ends =
        end < lower.size() &&
        absl::string_view(" \t=").find(lower[end]) != absl::string_view::npos;
    if (ends && !absl::ascii_isalnum(static_cast<unsigned char>(lower[at - 1])))
      return at;
  }
  return command.npos;
}

}  // namespace

std::string SmtpServerSession::WithoutSecrets(absl::string_view command,
                                              absl::string_view mask) {
  // AUTH is a parameter of theirs, and an address may have the word.
  if (absl::StartsWithIgnoreCase(command, "MAIL FROM:") ||
      absl::StartsWithIgnoreCase(command, "RCPT TO:"))
    return std::string(command);
  const size_t auth = FindAuth(command);
  if (auth == command.npos) return std::string(command);
  const size_t behind = auth + 4;
  const size_t begin = command.find_first_not_of(" \t=", behind);
  if (begin == command.npos) return std::string(command);
  const size_t end = command.find_first_of(" \t", begin);
  if (!IsMechanismName(command.substr(begin, end - begin)))
    return absl::StrCat(command.substr(0, behind), " ", mask);
  if (end == command.npos) return std::string(command);
  return absl::StrCat(command.substr(0, end), " ", mask);
}

SmtpServerSession::SmtpServerSession(const SmtpServerOptions* options,
                                     std::string client_address)
    : options_(options),
      client_address_(std::move(client_address)),
      tls_(options->tls == SmtpServerOptions::Tls::kWrapped),
      authenticated_(options->trusted) {}

void SmtpServerSession::Greet() {
  if (!AskFilter(FilterPhase::kConnect)) SayBanner();
}

bool SmtpServerSession::ReadsCommands() const {
  return state_ == State::kUnidentified || state_ == State::kIdentified ||
         state_ == State::kTransaction || state_ == State::kBetweenChunks ||
         state_ == State::kAuthLine;
}

bool SmtpServerSession::InMessage() const {
  return state_ == State::kStarting || state_ == State::kData ||
         state_ == State::kChunk || state_ == State::kBetweenChunks ||
         state_ == State::kEnding || state_ == State::kTextEnding ||
         (state_ == State::kFilterAsked && message_);
}

bool SmtpServerSession::waits_for_answer() const {
  return state_ == State::kSenderAsked || state_ == State::kStarting ||
         state_ == State::kEnding || state_ == State::kAuthAsked ||
         state_ == State::kXclientAsked || state_ == State::kTlsAsked ||
         state_ == State::kFilterAsked || state_ == State::kTextEnding ||
         pause_ != 0 || !recipients_.empty();
}

// ---- Input and output

void SmtpServerSession::Receive(absl::string_view bytes) {
  // Before TLS nothing more is heard in clear text.
  if (state_ == State::kClosed || state_ == State::kTlsAsked) return;
  if (input_.empty()) {
    input_ = bytes;
    return;
  }
  buffer_.erase(0, buffer_.size() - input_.size());
  buffer_.append(bytes.data(), bytes.size());
  input_ = buffer_;
}

void SmtpServerSession::KeepRest() {
  if (input_.empty()) {
    if (buffer_.capacity() > kIdleBufferBytes) std::string().swap(buffer_);
    input_ = {};
    return;
  }
  const bool ours = input_.data() >= buffer_.data() &&
                    input_.data() <= buffer_.data() + buffer_.size();
  if (ours) return;
  buffer_.assign(input_.data(), input_.size());
  input_ = buffer_;
}

bool SmtpServerSession::WantsInput() const {
  if (state_ == State::kClosed || state_ == State::kTlsAsked) return false;
  if (pause_ != 0) return false;
  if (input_.empty()) return true;
  return ReadsCommands() && input_.size() < kMaxKeptInput;
}

void SmtpServerSession::Consume(size_t bytes) { input_.remove_prefix(bytes); }

std::string SmtpServerSession::TakeOutput() {
  return std::exchange(output_, std::string());
}

uint64_t SmtpServerSession::Ask(State state) {
  state_ = state;
  asked_ = ++last_question_;
  return asked_;
}

void SmtpServerSession::Say(const Reply& reply, absl::string_view command) {
  if (reply.IsRefusal()) {
    events_.emplace_back(
        CommandFailed{WithoutSecrets(command, "(...)"), reply.FirstLine()});
  }
  Send(reply);
  if (filtering_ != nullptr && reply.IsRefusal()) TellRefusal(reply, command);
  if (reply.code == 421) Finish();
}

void SmtpServerSession::Send(const Reply& reply) {
  const size_t before = output_.size();
  if (options_->extensions.enhanced_status_codes) {
    reply.AppendTo(&output_);
  } else {
    Reply({reply.code, "", reply.text}).AppendTo(&output_);
  }
  if (filtering_ != nullptr)
    TellReply(absl::string_view(output_).substr(before));
}

void SmtpServerSession::Answer(const Reply& reply, absl::string_view command) {
  Say(reply, command);
  if (reply.code >= 500) CountError(&errors_, options_->max_errors);
}

void SmtpServerSession::AnswerRecipient(const Reply& reply,
                                        absl::string_view command) {
  Say(reply, command);
  if (reply.code >= 500)
    CountError(&bad_recipients_, options_->max_bad_recipients);
}

// The client waits before its session ends.
void SmtpServerSession::CountError(uint32_t* count, uint32_t limit) {
  ++*count;
  if (limit == 0 || *count <= limit / 2 || *count >= limit || pause_ != 0)
    return;
  pause_ = ++last_question_;
  events_.emplace_back(PauseAsked{pause_});
}

void SmtpServerSession::CloseForBadInput(const Reply& reply) {
  events_.emplace_back(BadInput{reply.FirstLine()});
  Close(reply);
}

void SmtpServerSession::Close(Reply reply) {
  if (state_ == State::kClosed) return;
  Send(reply);
  Finish();
}

void SmtpServerSession::Abandon() {
  if (state_ != State::kClosed) Finish();
}

void SmtpServerSession::Finish() {
  if (state_ == State::kAuthLine && auth_->begun)
    events_.emplace_back(AuthCancelled{});
  state_ = State::kClosed;
  recipients_.clear();
  message_.reset();
  if (auth_) Wipe(&auth_->user);
  auth_.reset();
  input_ = {};
  pause_ = 0;
  TellTransactionEnd(false);
  ForgetQuestion();
  events_.emplace_back(SessionClosed{});
}

// What the client's next line is, if it is there: of at most `limit` bytes
// without its end.
SmtpServerSession::Line SmtpServerSession::PeekLine(size_t limit) const {
  Line line;
  if (input_.empty()) return line;
  const char* lf = static_cast<const char*>(
      memchr(input_.data(), '\n', std::min(input_.size(), limit + 2)));
  if (lf == nullptr) {
    // With a CR, a line of the largest size has one byte more.
    if (input_.size() >= limit + 2) line.kind = Line::Kind::kTooLong;
    return line;
  }
  const size_t length = static_cast<size_t>(lf - input_.data());
  line.text = input_.substr(0, length);
  line.bytes = length + 1;
  line.bare_lf = !absl::ConsumeSuffix(&line.text, "\r");
  line.kind =
      line.text.size() > limit ? Line::Kind::kTooLong : Line::Kind::kComplete;
  return line;
}

// ---- The machine

std::optional<SmtpServerEvent> SmtpServerSession::Next() {
  for (;;) {
    if (next_event_ < events_.size()) return std::move(events_[next_event_++]);
    events_.clear();
    next_event_ = 0;
    if (OutputIsFull() || !Step()) return std::nullopt;
  }
}

// False if there is nothing to do.
bool SmtpServerSession::Step() {
  if (pause_ != 0) return false;
  switch (state_) {
    case State::kUnidentified:
    case State::kIdentified:
    case State::kTransaction:
    case State::kBetweenChunks:
      return StepCommand();
    case State::kData:
    case State::kChunk:
      return StepMessage();
    case State::kSkippingChunk:
      return StepSkipping();
    case State::kAuthLine:
      return StepAuth();
    case State::kTlsAsked:
    case State::kAuthAsked:
    case State::kXclientAsked:
    case State::kSenderAsked:
    case State::kStarting:
    case State::kEnding:
    case State::kFilterAsked:
    case State::kTextEnding:
    case State::kClosed:
      return false;
  }
  return false;
}

// ---- Answers of the owner

void SmtpServerSession::Resume(uint64_t question, Reply reply) {
  if (question == 0 || state_ == State::kClosed) return;
  if (question == pause_) {
    pause_ = 0;
    return;
  }
  if (question != asked_) return ResumeRecipient(question, std::move(reply));
  switch (state_) {
    case State::kSenderAsked:
      return ResumeSender(std::move(reply));
    case State::kStarting:
      return ResumeStart(std::move(reply));
    case State::kEnding:
      return ResumeEnd(std::move(reply));
    case State::kXclientAsked:
      return ResumeXclient(std::move(reply));
    case State::kTextEnding:
      return ResumeText(std::move(reply));
    default:
      return;
  }
}

void SmtpServerSession::ResumeSender(Reply reply) {
  state_ = State::kTransaction;
  if (reply.IsRefusal()) {
    state_ = State::kIdentified;
    transaction_ = {};
  } else if (transaction_.lowered_priority) {
    reply = replies::PriorityChanged(*transaction_.lowered_priority);
  }
  Answer(reply, command_);
  if (filtering_ != nullptr && state_ == State::kTransaction) TellSender();
}

void SmtpServerSession::ResumeStart(Reply reply) {
  const bool chunked = message_->chunked;
  if (reply.IsRefusal()) {
    ForgetTransaction();
    if (chunked && reply.code != 421) {
      if (filtering_ != nullptr) TellOfMessage(FilterEvent::kTxData, reply);
      TellTransactionEnd(false);
      return SkipChunk(std::move(reply), State::kIdentified);
    }
    Answer(reply, command_);
    return TellTransactionEnd(false);
  }
  message_->filtered = HasFilterFor(FilterPhase::kDataLine);
  state_ = chunked ? State::kChunk : State::kData;
  if (!chunked) Answer(reply, command_);
  if (filtering_ != nullptr) TellOfMessage(FilterEvent::kTxData, reply);
}

void SmtpServerSession::ResumeEnd(Reply reply) {
  const std::string command = message_->chunked ? command_ : "DATA";
  ++messages_;
  if (!reply.IsRefusal()) commands_ = 0;
  ForgetTransaction();
  Answer(reply, command);
  TellTransactionEnd(!reply.IsRefusal());
}

void SmtpServerSession::ResumeText(Reply reply) {
  if (reply.IsRefusal()) return FailMessage(reply);
  EndText();
}

void SmtpServerSession::ResumeRecipient(uint64_t question, Reply reply) {
  const auto asked = std::find_if(
      recipients_.begin(), recipients_.end(), [question](const auto& pending) {
        return pending.question == question && !pending.reply;
      });
  if (asked == recipients_.end()) return;
  if (!reply.IsRefusal()) ++transaction_.accepted_recipients;
  asked->reply = std::move(reply);
  // Replies leave in the order of their commands.
  size_t ready = 0;
  while (ready < recipients_.size() && recipients_[ready].reply) ++ready;
  std::vector<PendingReply> leaving(
      std::make_move_iterator(recipients_.begin()),
      std::make_move_iterator(recipients_.begin() + ready));
  recipients_.erase(recipients_.begin(), recipients_.begin() + ready);
  for (const PendingReply& pending : leaving) {
    if (state_ == State::kClosed) return;
    AnswerRecipient(*pending.reply, pending.command);
    if (filtering_ != nullptr && !pending.reply->IsRefusal())
      TellOfMessage(FilterEvent::kTxRcpt, *pending.reply, pending.command);
  }
}

}  // namespace holdfast
