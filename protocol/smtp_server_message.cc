// The text of a message in SmtpServerSession: DATA (RFC 5321 section 4.1.1.4)
// and BDAT (RFC 3030).
#include <algorithm>
#include <optional>
#include <utility>

#include "protocol/smtp_server_session.h"

namespace holdfast {

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

void SmtpServerSession::StartMessage(const Command& command,
                                     DataDecoder::Framing framing) {
  command_ = std::string(command.line);
  const bool normalise =
      options_->line_ends == SmtpServerOptions::LineEnds::kNormalise &&
      authenticated_;
  message_.emplace(Message{DataDecoder(framing, normalise),
                           framing != DataDecoder::Framing::kDots, std::nullopt,
                           false, false});
  events_.emplace_back(MessageStarts{Ask(State::kStarting)});
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

// Not all of the message was read.
bool SmtpServerSession::IsReading() const {
  const bool commit = state_ == State::kFilterAsked &&
                      filtering_->phase == FilterPhase::kCommit;
  return state_ != State::kEnding && state_ != State::kTextEnding && !commit;
}

void SmtpServerSession::RefuseMessage(Reply reply) {
  if (!message_ || !IsReading()) return;
  if (!message_->refusal) message_->refusal = std::move(reply);
  DropMessageIfRefused();
}

void SmtpServerSession::EndMessage() {
  if (std::optional<Reply> refusal = MessageRefusal()) {
    if (message_->decoder.size() > options_->max_message_size)
      ++hits_.message_size;
    return FailMessage(*refusal);
  }
  if (!message_->filtered) return EndText();
  events_.emplace_back(MessageTextEnds{Ask(State::kTextEnding)});
}

void SmtpServerSession::EndText() {
  if (!message_->chunked) TellCommand(".");
  if (AskFilter(FilterPhase::kCommit)) return;
  events_.emplace_back(MessageEnds{Ask(State::kEnding)});
}

void SmtpServerSession::FailMessage(const Reply& reply) {
  const std::string command = message_->chunked ? command_ : "DATA";
  if (!message_->chunked) TellCommand(".");
  ++messages_;
  ForgetTransaction();
  Answer(reply, command);
  TellTransactionEnd(false);
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
  ForgetTransaction();
  TellTransactionEnd(false);
}

void SmtpServerSession::ForgetTransaction() {
  state_ = State::kIdentified;
  message_.reset();
  transaction_ = {};
  events_.emplace_back(TransactionReset{});
}

void SmtpServerSession::SkipChunk(Reply refusal, State next) {
  chunk_.refusal = std::move(refusal);
  chunk_.next = next;
  state_ = State::kSkippingChunk;
}

}  // namespace holdfast
