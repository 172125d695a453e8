#include "server/filters/process_text.h"

#include <algorithm>
#include <utility>

namespace holdfast {
namespace {

// Of output_ that is gone: given back above this.
constexpr size_t kMaxGone = 1 << 20;

}  // namespace

ProcessText::ProcessText(ProcessSession* session, TextSink* sink)
    : session_(session), program_(session->program_), sink_(sink) {}

ProcessText::~ProcessText() {
  program_->HoldLine(-static_cast<ptrdiff_t>(line_counted_));
  program_->HoldOutput(-static_cast<ptrdiff_t>(held_output()));
  if (session_ == nullptr || session_->stage_ != this) return;
  session_->stage_ = nullptr;
  if (!begun_ || session_->lost_) return;
  if (session_->text_ == Text::kFlowing) EndNow();
  if (session_->text_ == Text::kEnded) session_->text_ = Text::kDraining;
}

bool ProcessText::IsSilent() const {
  return sink_ == nullptr || session_ == nullptr || session_->lost_;
}

void ProcessText::Write(absl::string_view bytes) {
  if (IsSilent()) return;
  if (input_.empty() && session_->text_ != Text::kDraining &&
      program_->HasTextRoom())
    return WriteNow(bytes);
  input_.append(bytes.data(), bytes.size());
  Proceed(program_->HasTextRoom());
}

void ProcessText::End() {
  input_ended_ = true;
  if (!IsSilent()) Proceed(program_->HasTextRoom());
}

void ProcessText::Proceed(bool has_room) {
  // A message before this one comes to its end first, and then calls.
  if (IsSilent() || session_->text_ == Text::kDraining) return;
  if (!has_room) return program_->QueueText(session_);
  if (!input_.empty()) WriteNow(std::exchange(input_, std::string()));
  if (input_ended_ && sink_ != nullptr) EndNow();
}

void ProcessText::WriteNow(absl::string_view bytes) {
  begun_ = true;
  session_->given_ = program_->answers_commit();
  session_->text_ = Text::kFlowing;
  const bool fits =
      encoder_.Append(bytes, session_->TextPrefix(), program_->out());
  const size_t counted =
      encoder_.held() > kFreeLineBytes ? encoder_.held() - kFreeLineBytes : 0;
  program_->HoldLine(static_cast<ptrdiff_t>(counted) -
                     static_cast<ptrdiff_t>(line_counted_));
  line_counted_ = counted;
  if (!fits) return Fail(kLineTooLong);
  if (counted > 0 && program_->HoldsTooMuch()) return Fail(kRefusedForNow);
  sink_->OnInputTaken(bytes.size());
}

void ProcessText::EndNow() {
  begun_ = true;
  session_->given_ = program_->answers_commit();
  encoder_.Finish(session_->TextPrefix(), program_->out());
  session_->text_ = Text::kEnded;
  program_->Await(session_);
}

void ProcessText::Fail(const char* reply) {
  std::exchange(sink_, nullptr)->OnTextFailed(reply);
}

void ProcessText::OnProcessLine(absl::string_view line, bool end) {
  output_ended_ = end;
  if (end || sink_ == nullptr) return;
  const size_t before = output_.size();
  AppendFilterText(line, &output_);
  program_->HoldOutput(static_cast<ptrdiff_t>(output_.size() - before));
}

void ProcessText::OutputTaken(size_t bytes) {
  credit_ += bytes;
  Emit();
}

void ProcessText::Emit() {
  while (sink_ != nullptr && credit_ > 0 && output_at_ < output_.size()) {
    const size_t size = std::min(credit_, output_.size() - output_at_);
    credit_ -= size;
    // The sink copies what it keeps.
    sink_->OnText(absl::string_view(output_).substr(output_at_, size));
    output_at_ += size;
    program_->HoldOutput(-static_cast<ptrdiff_t>(size));
  }
  if (output_at_ < output_.size()) {
    if (output_at_ < kMaxGone) return;
    output_.erase(0, output_at_);
    output_at_ = 0;
    return;
  }
  output_.clear();
  output_at_ = 0;
  if (output_ended_ && sink_ != nullptr)
    std::exchange(sink_, nullptr)->OnTextEnd();
}

void ProcessText::GiveUp() {
  if (sink_ != nullptr) Fail(kRefusedForNow);
}

void ProcessText::OnProcessLost() {
  // What it has said whole is not lost with it.
  if (output_ended_) return Emit();
  GiveUp();
}

void ProcessText::OnSessionGone() {
  session_ = nullptr;
  sink_ = nullptr;
}

}  // namespace holdfast
