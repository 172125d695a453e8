#include "protocol/smtp_server_session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/received_header.h"

namespace holdfast {
namespace {

// Buffers up to this size stay with an idle session.
constexpr size_t kIdleBufferBytes = 4096;

// For the log: what follows the mechanism of AUTH may be a password.
std::string WithoutSecrets(absl::string_view command) {
  constexpr absl::string_view kAuth = "AUTH";
  if (!absl::StartsWithIgnoreCase(command, kAuth)) return std::string(command);
  size_t end = command.find_first_not_of(" \t", kAuth.size());
  end = command.find_first_of(" \t", end == command.npos ? kAuth.size() : end);
  if (end == command.npos) return std::string(command);
  return absl::StrCat(command.substr(0, end), " (...)");
}

}  // namespace

SmtpServerSession::SmtpServerSession(const SmtpServerOptions* options,
                                     std::string client_address)
    : options_(options), client_address_(std::move(client_address)) {}

void SmtpServerSession::Greet() {
  replies::Banner(options_->name).AppendTo(&output_);
}

bool SmtpServerSession::ReadsCommands() const {
  return state_ == State::kUnidentified || state_ == State::kIdentified ||
         state_ == State::kTransaction || state_ == State::kBetweenChunks;
}

bool SmtpServerSession::InMessage() const {
  return state_ == State::kStarting || state_ == State::kData ||
         state_ == State::kChunk || state_ == State::kBetweenChunks ||
         state_ == State::kEnding;
}

bool SmtpServerSession::waits_for_answer() const {
  return state_ == State::kSenderAsked || state_ == State::kStarting ||
         state_ == State::kEnding || !recipients_.empty();
}

// ---- Input and output

void SmtpServerSession::Receive(absl::string_view bytes) {
  if (state_ == State::kClosed) return;
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
  if (state_ == State::kClosed) return false;
  if (input_.empty()) return true;
  return ReadsCommands() && input_.size() < kMaxKeptInput;
}

void SmtpServerSession::Consume(size_t bytes) { input_.remove_prefix(bytes); }

std::string SmtpServerSession::TakeOutput() {
  return std::exchange(output_, std::string());
}

void SmtpServerSession::Answer(const Reply& reply, absl::string_view command) {
  if (reply.IsRefusal()) {
    events_.emplace_back(
        CommandFailed{WithoutSecrets(command), reply.FirstLine()});
  }
  reply.AppendTo(&output_);
  if (reply.code == 421) Finish();
}

void SmtpServerSession::CloseForBadInput(const Reply& reply) {
  events_.emplace_back(BadInput{reply.FirstLine()});
  reply.AppendTo(&output_);
  Finish();
}

void SmtpServerSession::Close(Reply reply) {
  if (state_ == State::kClosed) return;
  reply.AppendTo(&output_);
  Finish();
}

void SmtpServerSession::Finish() {
  state_ = State::kClosed;
  recipients_.clear();
  message_.reset();
  input_ = {};
  events_.emplace_back(SessionClosed{});
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
    case State::kSenderAsked:
    case State::kStarting:
    case State::kEnding:
    case State::kClosed:
      return false;
  }
  return false;
}

bool SmtpServerSession::StepMessage() {
  // A chunk of no octets is complete at once.
  const bool chunk_complete = state_ == State::kChunk && chunk_.left == 0;
  if (input_.empty() && !chunk_complete) return false;
  if (!message_->dropped) {
    events_.emplace_back(MessageBytes{});
    return true;
  }
  std::string dropped;
  ReadMessage(kMaxKeptInput, &dropped);
  return true;
}

bool SmtpServerSession::StepSkipping() {
  const size_t skipped = std::min<uint64_t>(chunk_.left, input_.size());
  Consume(skipped);
  chunk_.left -= skipped;
  if (chunk_.left > 0) return false;
  state_ = chunk_.next;
  Answer(chunk_.refusal, command_);
  return true;
}

// ---- The message

void SmtpServerSession::StartMessage(const Command& command,
                                     DataDecoder::Framing framing) {
  command_ = std::string(command.line);
  message_.emplace(Message{DataDecoder(framing),
                           framing == DataDecoder::Framing::kCounted,
                           std::nullopt, false});
  state_ = State::kStarting;
  events_.emplace_back(MessageStarts{++last_question_});
}

void SmtpServerSession::ReadMessage(size_t limit, std::string* out) {
  if (state_ != State::kData && state_ != State::kChunk) return;
  const uint64_t most =
      state_ == State::kChunk ? std::min<uint64_t>(limit, chunk_.left) : limit;
  absl::string_view piece = input_.substr(0, most);
  const size_t given = piece.size();
  const DataDecoder::Result result = message_->decoder.Decode(&piece, out);
  const size_t used = given - piece.size();
  Consume(used);
  if (state_ == State::kChunk) {
    chunk_.left -= used;
    if (chunk_.left == 0) return EndChunk(out);
  } else if (result == DataDecoder::Result::kDone) {
    return EndMessage();
  }
  DropMessageIfRefused();
}

// Why the message is refused, if it is; the reference's order.
std::optional<Reply> SmtpServerSession::MessageRefusal() const {
  const DataDecoder& decoder = message_->decoder;
  if (decoder.size() > options_->max_message_size)
    return replies::MessageTooBig();
  if (decoder.has_bare_newline()) return replies::BareNewline();
  if (decoder.has_long_line()) return replies::LineTooLong();
  return message_->refusal;
}

void SmtpServerSession::DropMessageIfRefused() {
  if (message_->dropped || !MessageRefusal()) return;
  message_->dropped = true;
  events_.emplace_back(TransactionReset{});
}

void SmtpServerSession::RefuseMessage(Reply reply) {
  if (!message_) return;
  if (!message_->refusal) message_->refusal = std::move(reply);
  DropMessageIfRefused();
}

void SmtpServerSession::EndMessage() {
  if (std::optional<Reply> refusal = MessageRefusal()) {
    const std::string command = message_->chunked ? command_ : "DATA";
    ++messages_;
    EndTransaction();
    return Answer(*refusal, command);
  }
  state_ = State::kEnding;
  events_.emplace_back(MessageEnds{++last_question_});
}

void SmtpServerSession::EndChunk(std::string* out) {
  if (chunk_.last) {
    message_->decoder.Finish(out);
    return EndMessage();
  }
  // RFC 3030 section 2: a refusal of a chunk is one of the message.
  if (MessageRefusal()) return EndMessage();
  state_ = State::kBetweenChunks;
  Answer(replies::ChunkReceived(chunk_.size), command_);
}

void SmtpServerSession::EndTransaction() {
  state_ = State::kIdentified;
  message_.reset();
  accepted_recipients_ = 0;
  events_.emplace_back(TransactionReset{});
}

void SmtpServerSession::SkipChunk(Reply refusal, State next) {
  chunk_.refusal = std::move(refusal);
  chunk_.next = next;
  state_ = State::kSkippingChunk;
}

// ---- Answers of the owner

void SmtpServerSession::Resume(uint64_t question, Reply reply) {
  if (question == last_question_ && state_ == State::kSenderAsked) {
    state_ = reply.IsRefusal() ? State::kIdentified : State::kTransaction;
    return Answer(reply, command_);
  }
  if (question == last_question_ && state_ == State::kStarting)
    return ResumeStart(std::move(reply));
  if (question == last_question_ && state_ == State::kEnding) {
    const std::string command = message_->chunked ? command_ : "DATA";
    ++messages_;
    EndTransaction();
    return Answer(reply, command);
  }
  ResumeRecipient(question, std::move(reply));
}

void SmtpServerSession::ResumeStart(Reply reply) {
  const bool chunked = message_->chunked;
  if (reply.IsRefusal()) {
    EndTransaction();
    if (chunked && reply.code != 421)
      return SkipChunk(std::move(reply), State::kIdentified);
    return Answer(reply, command_);
  }
  state_ = chunked ? State::kChunk : State::kData;
  if (!chunked) Answer(reply, command_);
}

void SmtpServerSession::ResumeRecipient(uint64_t question, Reply reply) {
  const auto asked = std::find_if(
      recipients_.begin(), recipients_.end(), [question](const auto& pending) {
        return pending.question == question && !pending.reply;
      });
  if (asked == recipients_.end()) return;
  if (!reply.IsRefusal()) ++accepted_recipients_;
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
    Answer(*pending.reply, pending.command);
  }
}

}  // namespace holdfast
