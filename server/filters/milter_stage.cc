#include "server/filters/milter_stage.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

constexpr char kFailed[] = "451 4.3.0 Temporary failure";
constexpr char kDiskFull[] = "452 4.3.1 Insufficient disk space";
constexpr char kHeaderTooLarge[] = "552 5.3.4 Message header too large";
constexpr char kTooLarge[] = "552 5.3.4 Message too big for system";

// Above this, what is not in the spool's file yet keeps more from coming.
constexpr size_t kMaxUnwritten = 256 << 10;
// What a change costs beside its text.
constexpr size_t kChangeCost = 64;

// Moves stored text from the front of `*from` to the end of `*to` with CRLF at
// line ends, as long as `*to` has room.
void MoveWithCrLf(absl::string_view* from, std::string* to) {
  while (!from->empty() && to->size() + 2 <= kMilterChunkBytes) {
    const size_t room = kMilterChunkBytes - to->size();
    const size_t n = std::min({from->find('\n'), from->size(), room});
    absl::StrAppend(to, from->substr(0, n));
    from->remove_prefix(n);
    if (n + 2 > room || from->empty() || from->front() != '\n') continue;
    absl::StrAppend(to, "\r\n");
    from->remove_prefix(1);
  }
}

bool IsFull(const std::string& chunk) {
  return chunk.size() + 2 > kMilterChunkBytes;
}

// "<joe@example.org>", however the milter wrote it.
std::string InBrackets(const std::string& address) {
  return address.empty() || address.front() != '<'
             ? absl::StrCat("<", address, ">")
             : address;
}

}  // namespace

MilterStage::MilterStage(Settings settings, TextSink* sink, Owner* owner)
    : settings_(std::move(settings)),
      sink_(sink),
      owner_(owner),
      header_(settings_.message),
      spool_(settings_.background, settings_.folder, [this] { Step(); }) {}

MilterStage::~MilterStage() {
  if (owner_ == nullptr) return;
  StopPausing();
  owner_->OnStageDropped();
}

void MilterStage::Write(absl::string_view bytes) {
  absl::StrAppend(&input_, bytes);
  Step();
}

void MilterStage::End() {
  ended_ = true;
  Step();
}

void MilterStage::OutputTaken(size_t bytes) {
  untaken_ -= std::min(bytes, untaken_);
  Step();
}

// The sink may call back while it is called.
void MilterStage::Step() {
  again_ = true;
  if (stepping_) return;
  stepping_ = true;
  while (std::exchange(again_, false)) {
    while (state_ != State::kOver && owner_ != nullptr && Advance()) {
    }
  }
  stepping_ = false;
}

// Whether it may be called again at once.
bool MilterStage::Advance() {
  if (SpoolFailed()) return false;
  if (settings_.missing) {
    FailText(kFailed);
    return false;
  }
  switch (state_) {
    case State::kHeader:
      return ReadHeader();
    case State::kTellField:
      return TellField();
    case State::kTellEndOfHeaders:
      if (!MayTell()) return false;
      Tell([](MilterSession& milter) { return milter.EndOfHeaders(); });
      state_ = State::kBody;
      return true;
    case State::kBody:
      return TellBody();
    case State::kTellEnd:
      return TellEnd();
    case State::kVerdict:
      return false;
    case State::kStored:
      if (body()->unwritten() > 0) return false;
      state_ = State::kEmit;
      return true;
    case State::kEmit:
      return Emit();
    case State::kOver:
      return false;
  }
  return false;
}

bool MilterStage::MayTell() {
  MilterConnection* milter = owner_->connection();
  return milter == nullptr || (!waiting_ && milter->writable());
}

template <class Function>
void MilterStage::Tell(Function tell) {
  MilterConnection* milter = owner_->connection();
  if (milter == nullptr) return;
  waiting_ = tell(milter->session());
  milter->Flush();
}

bool MilterStage::ReadHeader() {
  if (input_.empty() && !ended_) return false;
  absl::string_view text = input_;
  MilterHeader::State header = header_.Feed(&text);
  const size_t taken = input_.size() - text.size();
  input_.erase(0, taken);
  if (header == MilterHeader::State::kMore && ended_) header = header_.Finish();
  if (header == MilterHeader::State::kTooLong) {
    FailText(kHeaderTooLarge);
    return false;
  }
  if (header == MilterHeader::State::kDone) {
    first_ = header_.first_of_body();
    state_ = State::kTellField;
  }
  if (taken > 0) sink_->OnInputTaken(taken);
  return true;
}

bool MilterStage::TellField() {
  if (!MayTell()) return false;
  if (next_field_ == header_.fields().size()) {
    state_ = State::kTellEndOfHeaders;
    return true;
  }
  const MilterHeader::Field& field = header_.fields()[next_field_++];
  if (!field.ours) {
    Tell([&](MilterSession& milter) {
      return milter.Header(field.name, field.value);
    });
  }
  return true;
}

// Spools the body and gathers the next chunk of it.
void MilterStage::TakeBody() {
  absl::string_view first = first_;
  MoveWithCrLf(&first, &chunk_);
  first_.erase(0, first_.size() - first.size());
  if (!first_.empty()) return;
  absl::string_view text = input_;
  MoveWithCrLf(&text, &chunk_);
  const size_t taken = input_.size() - text.size();
  if (taken == 0) return;
  spool_.Append(absl::string_view(input_).substr(0, taken));
  input_.erase(0, taken);
  sink_->OnInputTaken(taken);
}

bool MilterStage::TellBody() {
  if (spool_.unwritten() > kMaxUnwritten) return false;
  TakeBody();
  if (spool_.size() > settings_.max_message_size + kMaxMilterHeaderBytes) {
    FailText(kTooLarge);
    return false;
  }
  const bool all = ended_ && input_.empty() && first_.empty();
  if (!IsFull(chunk_) && !all) return false;
  if (!MayTell()) return false;
  if (!chunk_.empty()) {
    Tell([this](MilterSession& milter) { return milter.Body(chunk_); });
    chunk_.clear();
  } else if (all) {
    state_ = State::kTellEnd;
  }
  return true;
}

bool MilterStage::TellEnd() {
  if (!MayTell()) return false;
  Tell([](MilterSession& milter) { return milter.EndOfMessage(); });
  if (waiting_) {
    state_ = State::kVerdict;
  } else {
    Conclude();
  }
  return true;
}

void MilterStage::OnAnswer(MilterAnswer answer) {
  waiting_ = false;
  switch (answer.kind) {
    case MilterAnswer::Kind::kContinue:
    case MilterAnswer::Kind::kAccept:
      break;
    case MilterAnswer::Kind::kDiscard:
      at_commit_.verdict = LinkAnswer::Verdict::kDiscard;
      break;
    case MilterAnswer::Kind::kReject:
    case MilterAnswer::Kind::kTempFail:
    case MilterAnswer::Kind::kDisconnect:
      return FailText(std::move(answer.text));
  }
  if (state_ == State::kVerdict) Conclude();
  Step();
}

void MilterStage::OnChange(MilterChange change) {
  if (state_ != State::kVerdict) return;
  if (change.kind == MilterChange::Kind::kReplaceBody)
    return ReplaceBody(change.value);
  change_bytes_ += kChangeCost + change.name.size() + change.value.size() +
                   change.parameters.size();
  if (change_bytes_ > kMaxMilterChangeBytes)
    return owner_->FailMilter("it asks for too many changes");
  changes_.push_back(std::move(change));
}

// The next of the body that the milter wants instead.
void MilterStage::ReplaceBody(absl::string_view wire) {
  if (new_body_ == nullptr) {
    new_body_ = std::make_unique<MessageSpool>(
        settings_.background, settings_.folder, [this] {
          if (owner_ != nullptr && owner_->connection() != nullptr)
            owner_->connection()->ResumeReading();
          Step();
        });
  }
  std::string text;
  for (const char c : wire) {
    if (new_body_cr_ && c != '\n') text.push_back('\r');
    new_body_cr_ = c == '\r';
    if (!new_body_cr_) text.push_back(c);
  }
  if (!text.empty()) new_body_last_ = text.back();
  new_body_->Append(text);
  if (new_body_->size() > settings_.max_message_size)
    return FailText(kTooLarge);
  if (new_body_->unwritten() > kMaxUnwritten)
    if (MilterConnection* milter = owner_->connection()) milter->PauseReading();
}

void MilterStage::OnFailed() {
  waiting_ = false;
  // Its verdict stands, and may be half out.
  if (state_ == State::kStored || state_ == State::kEmit ||
      state_ == State::kOver)
    return;
  if (!settings_.accept_on_failure) return FailText(kFailed);
  // As if it had asked for nothing.
  changes_.clear();
  new_body_ = nullptr;
  if (state_ == State::kVerdict) Conclude();
  Step();
}

// The milter has decided: what it asked for is done.
void MilterStage::Conclude() {
  using Kind = MilterChange::Kind;
  MilterConnection* milter = owner_->connection();
  const bool leading_space =
      milter != nullptr && milter->session().keeps_leading_space();
  for (MilterChange& change : changes_) {
    switch (change.kind) {
      case Kind::kAddHeader:
      case Kind::kInsertHeader:
      case Kind::kChangeHeader:
        if (!header_.Apply(change, leading_space))
          return FailText(kHeaderTooLarge);
        break;
      case Kind::kChangeSender:
        at_commit_.changes_sender = true;
        at_commit_.sender = InBrackets(change.value);
        break;
      case Kind::kAddRecipient:
        at_commit_.add_recipients.push_back(InBrackets(change.value));
        break;
      case Kind::kRemoveRecipient:
        at_commit_.remove_recipients.push_back(InBrackets(change.value));
        break;
      case Kind::kQuarantine:
        at_commit_.quarantine = true;
        at_commit_.reason = std::move(change.value);
        break;
      case Kind::kReplaceBody:
        break;  // in new_body_
    }
  }
  changes_.clear();
  if (new_body_ != nullptr) {
    header_.ForgetBody();
    // Stored text ends with a line end.
    if (new_body_cr_) new_body_last_ = '\r';
    if (new_body_last_ != '\n') new_body_->Append("\n");
  }
  state_ = State::kStored;
}

bool MilterStage::Emit() {
  if (output_.empty() && !header_out_) {
    header_out_ = true;
    output_ = header_.Text();
  }
  if (output_.empty() && !all_read_) {
    if (std::exchange(reading_, true)) return false;
    body()->Read(kFilterWindow, [this](absl::StatusOr<std::string> bytes) {
      reading_ = false;
      if (owner_ == nullptr) return;
      if (!bytes.ok()) {
        LogWarn("warn: filter %s: %s", settings_.filter,
                bytes.status().ToString());
        return FailText(kFailed);
      }
      all_read_ = bytes->empty();
      output_ = *std::move(bytes);
      Step();
    });
    return true;
  }
  if (output_.empty()) {
    state_ = State::kOver;
    owner_->OnStageEnded(std::move(at_commit_));
    sink_->OnTextEnd();
    return false;
  }
  const size_t n = std::min(output_.size(), kFilterWindow - untaken_);
  if (n == 0) return false;
  untaken_ += n;
  const std::string piece = output_.substr(0, n);
  output_.erase(0, n);
  sink_->OnText(piece);
  return true;
}

bool MilterStage::SpoolFailed() {
  const absl::Status& status =
      spool_.status().ok() ? body()->status() : spool_.status();
  if (status.ok()) return false;
  LogWarn("warn: filter %s: cannot store the text of a message: %s",
          settings_.filter, status.message());
  FailText(status.code() == absl::StatusCode::kResourceExhausted ? kDiskFull
                                                                 : kFailed);
  return true;
}

void MilterStage::FailText(std::string reply) {
  if (state_ == State::kOver) return;
  state_ = State::kOver;
  StopPausing();
  owner_->OnStageOver();
  sink_->OnTextFailed(std::move(reply));
}

void MilterStage::StopPausing() {
  if (MilterConnection* milter = owner_->connection()) milter->ResumeReading();
}

}  // namespace holdfast
