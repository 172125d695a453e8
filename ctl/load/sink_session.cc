#include "ctl/load/sink_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

constexpr size_t kCommandLimit = 4096;
// A line longer than this is taken in pieces.
constexpr size_t kTextLineLimit = 128 * 1024;

// "MAIL FROM:<a@b> SIZE=1" -> "a@b"
std::string AddressIn(absl::string_view line) {
  const size_t open = line.find('<');
  const size_t close = line.find('>', open);
  if (open == absl::string_view::npos || close == absl::string_view::npos) {
    return "";
  }
  return std::string(line.substr(open + 1, close - open - 1));
}

std::string TextFor(int code) {
  if (code / 100 == 2) return absl::StrCat(code, " 2.0.0 Ok\r\n");
  if (code / 100 == 4) return absl::StrCat(code, " 4.7.1 Try again later\r\n");
  return absl::StrCat(code, " 5.7.1 Refused\r\n");
}

}  // namespace

SinkSession::SinkSession(Poller* poller, int fd, const SinkPlan* plan,
                         std::mt19937_64* random, Owner* owner)
    : poller_(poller),
      plan_(plan),
      random_(random),
      owner_(owner),
      connection_(std::make_unique<TextConnection>(poller, fd, this)) {}

SinkSession::~SinkSession() {
  if (delay_.has_value()) poller_->Cancel(*delay_);
}

void SinkSession::Start() {
  Answer(SinkStage::kConnect,
         absl::StrCat("220 ", plan_->name, " ESMTP blackhole\r\n"),
         &SinkSession::Accepted);
}

void SinkSession::OnInput() { Work(); }

void SinkSession::OnClosed(const std::string&) {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  owner_->OnEnd(this);
}

// Takes what has arrived, until an answer is delayed or nothing is complete.
void SinkSession::Work() {
  while (!delay_.has_value() && state_ != State::kEnded && Step()) {
  }
}

// False: what has arrived is not enough to go on.
bool SinkSession::Step() {
  const size_t before = connection_->buffered().size();
  if (state_ == State::kBdat) {
    if (chunk_left_ > 0 && before == 0) return false;
    TakeBdatBytes();
    return true;
  }
  if (state_ == State::kData) {
    TakeDataBytes();
    return state_ == State::kCommand ||
           connection_->buffered().size() != before;
  }
  absl::string_view line;
  if (connection_->ReadLine(&line)) {
    OnCommand(line);
    return true;
  }
  if (before > kCommandLimit) Drop();
  return false;
}

void SinkSession::OnCommand(absl::string_view line) {
  const std::string verb = absl::AsciiStrToUpper(line.substr(0, 4));
  if (verb == "EHLO") return OnEhlo(true);
  if (verb == "HELO") return OnEhlo(false);
  if (verb == "MAIL" || verb == "RCPT") owner_->OnEnvelopeCommand(line);
  if (verb == "MAIL") return OnMail(line);
  if (verb == "RCPT") return OnRcpt(line);
  if (verb == "DATA") return OnData();
  if (verb == "BDAT" && plan_->offered.count("CHUNKING")) return OnBdat(line);
  if (verb == "RSET") {
    message_.reset();
    return Answer(SinkStage::kRset, "250 2.0.0 Ok\r\n", &SinkSession::Accepted);
  }
  if (verb == "NOOP") return connection_->Write("250 2.0.0 Ok\r\n");
  if (verb == "QUIT") {
    Answer(SinkStage::kQuit, "221 2.0.0 Bye\r\n", &SinkSession::Accepted);
    if (state_ != State::kEnded && !delay_.has_value()) {
      connection_->CloseAfterWrite();
    }
    return;
  }
  connection_->Write("502 5.5.1 Unknown command\r\n");
}

void SinkSession::OnEhlo(bool extended) {
  message_.reset();
  std::string text;
  if (extended) {
    absl::StrAppend(&text, "250-", plan_->name, "\r\n");
    for (const std::string& keyword : plan_->offered) {
      absl::StrAppend(&text, "250-", keyword);
      if (keyword == "SIZE") absl::StrAppend(&text, " ", plan_->max_size);
      text += "\r\n";
    }
    text += "250 HELP\r\n";
  } else {
    absl::StrAppend(&text, "250 ", plan_->name, "\r\n");
  }
  Answer(SinkStage::kEhlo, text, &SinkSession::Accepted);
}

void SinkSession::OnMail(absl::string_view line) {
  if (message_.has_value()) {
    return connection_->Write("503 5.5.1 Nested MAIL\r\n");
  }
  argument_ = AddressIn(line);
  Answer(SinkStage::kMail, "250 2.1.0 Ok\r\n", &SinkSession::BeginMessage);
}

void SinkSession::BeginMessage() {
  message_.emplace();
  message_->sender = argument_;
  too_big_ = false;
  partial_.clear();
}

void SinkSession::OnRcpt(absl::string_view line) {
  if (!message_.has_value()) {
    return connection_->Write("503 5.5.1 MAIL first\r\n");
  }
  if (static_cast<int64_t>(message_->recipients.size()) >=
      plan_->max_recipients) {
    return connection_->Write("452 4.5.3 Too many recipients\r\n");
  }
  argument_ = AddressIn(line);
  Answer(SinkStage::kRcpt, "250 2.1.5 Ok\r\n", &SinkSession::AddRecipient);
}

void SinkSession::AddRecipient() { message_->recipients.push_back(argument_); }

void SinkSession::OnData() {
  if (!message_.has_value() || message_->recipients.empty()) {
    return connection_->Write("503 5.5.1 RCPT first\r\n");
  }
  Answer(SinkStage::kData, "354 Go on\r\n", &SinkSession::BeginText);
}

void SinkSession::BeginText() { state_ = State::kData; }

void SinkSession::OnBdat(absl::string_view line) {
  const std::vector<std::string> words = absl::StrSplit(line, ' ');
  int64_t size = 0;
  const bool readable =
      words.size() >= 2 && absl::SimpleAtoi(words[1], &size) && size >= 0;
  if (!readable) return Drop();  // where its text ends can't be known
  if (!message_.has_value()) message_.emplace();
  chunk_left_ = size;
  chunk_last_ = words.size() > 2 && absl::EqualsIgnoreCase(words[2], "LAST");
  state_ = State::kBdat;
}

void SinkSession::TakeBdatBytes() {
  const absl::string_view all = connection_->buffered();
  const absl::string_view part =
      all.substr(0, std::min<int64_t>(all.size(), chunk_left_));
  absl::StrAppend(&partial_, part);
  connection_->Consume(part.size());
  chunk_left_ -= part.size();
  size_t start = 0;
  for (size_t end; (end = partial_.find('\n', start)) != std::string::npos;
       start = end + 1) {
    absl::string_view line(partial_.data() + start, end - start);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    TextLine(line);
  }
  partial_.erase(0, start);
  if (partial_.size() > kTextLineLimit) {
    TextLine(std::exchange(partial_, ""));
  }
  if (chunk_left_ > 0) return;
  state_ = State::kCommand;
  if (message_->recipients.empty()) {
    message_.reset();
    connection_->Write("503 5.5.1 RCPT first\r\n");
  } else if (chunk_last_) {
    if (!partial_.empty()) TextLine(std::exchange(partial_, ""));
    EndOfMessage();
  } else {
    connection_->Write("250 2.0.0 Ok\r\n");
  }
}

void SinkSession::TakeDataBytes() {
  absl::string_view line;
  while (state_ == State::kData && connection_->ReadLine(&line)) {
    OnDataLine(line);
  }
  if (state_ == State::kData &&
      connection_->buffered().size() > kTextLineLimit) {
    const absl::string_view piece = connection_->buffered();
    TextLine(piece);
    connection_->Consume(piece.size());
  }
}

void SinkSession::OnDataLine(absl::string_view line) {
  if (line == ".") {
    state_ = State::kCommand;
    return EndOfMessage();
  }
  if (!line.empty() && line[0] == '.') line.remove_prefix(1);
  TextLine(line);
}

void SinkSession::TextLine(absl::string_view line) {
  message_->bytes += line.size() + 2;
  if (message_->bytes > plan_->max_size) {
    too_big_ = true;
    return;
  }
  message_->reader.Line(line);
  if (!plan_->capture.empty()) absl::StrAppend(&message_->text, line, "\n");
}

void SinkSession::EndOfMessage() {
  if (too_big_) {
    message_.reset();
    return connection_->Write("552 5.3.4 Message too big\r\n");
  }
  const std::string id = message_->reader.id();
  Answer(SinkStage::kEnd, absl::StrCat("250 2.0.0 Ok: took ", id, "\r\n"),
         &SinkSession::Took);
  if (state_ != State::kEnded && !delay_.has_value()) message_.reset();
}

void SinkSession::Took() { owner_->OnTook(*message_); }

void SinkSession::Accepted() {}

void SinkSession::Answer(SinkStage stage, const std::string& usual,
                         void (SinkSession::*accept)()) {
  SinkAnswer answer = plan_->at(stage);
  const double dice = std::uniform_real_distribution<>(0, 1)(*random_);
  if (dice >= answer.share) answer.kind = SinkAnswer::Kind::kUsual;
  if (answer.delay_ms == 0) return Give(stage, answer, usual, accept);
  delay_ =
      poller_->After(answer.delay_ms, [this, stage, answer, usual, accept] {
        delay_.reset();
        Give(stage, answer, usual, accept);
        if (state_ == State::kEnded) return;
        if (stage == SinkStage::kEnd) message_.reset();
        if (stage == SinkStage::kQuit) return connection_->CloseAfterWrite();
        connection_->Pause(false);
        Work();
      });
  connection_->Pause(true);
}

void SinkSession::Give(SinkStage stage, const SinkAnswer& answer,
                       const std::string& usual,
                       void (SinkSession::*accept)()) {
  if (answer.kind != SinkAnswer::Kind::kUsual) owner_->OnUnusual(stage);
  switch (answer.kind) {
    case SinkAnswer::Kind::kUsual:
      (this->*accept)();
      return connection_->Write(usual);
    case SinkAnswer::Kind::kCode:
      if (answer.code / 100 == 2) (this->*accept)();
      connection_->Write(TextFor(answer.code));
      if (stage == SinkStage::kConnect && answer.code / 100 != 2) {
        connection_->CloseAfterWrite();
      }
      return;
    case SinkAnswer::Kind::kDrop:
      return Drop();
    case SinkAnswer::Kind::kLose:
      (this->*accept)();
      return Drop();
    case SinkAnswer::Kind::kHang:
      (this->*accept)();
      connection_->Write(usual);
      return connection_->CloseAfterWrite();
  }
}

void SinkSession::Drop() {
  connection_->Abort();
  OnClosed("dropped");
}

}  // namespace holdfast
