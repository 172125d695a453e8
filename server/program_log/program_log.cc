#include "server/program_log/program_log.h"

#include <utility>

#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {

ProgramLog::ProgramLog(EventLoop* loop, std::string name, OwnedFd fd)
    : loop_(loop),
      name_(VisEncode(name)),
      stream_(MakeStream(loop, fd.Release())) {
  Stream::Callbacks callbacks;
  callbacks.on_bytes = [this](absl::string_view bytes) { OnBytes(bytes); };
  callbacks.on_closed = [this](absl::Status) { OnLine(); };
  stream_->SetCallbacks(std::move(callbacks));
  stream_->ResumeReading();
}

ProgramLog::~ProgramLog() {
  OnLine();
  TellDropped();
}

void ProgramLog::OnBytes(absl::string_view bytes) {
  for (const char c : bytes) {
    if (c == '\n') {
      OnLine();
    } else if (line_.size() < kMaxProgramLogLine) {
      line_.push_back(c);
    }
  }
}

void ProgramLog::OnLine() {
  const std::string line = std::exchange(line_, "");
  if (line.empty()) return;
  if (loop_->Elapsed() >= until_) {
    TellDropped();
    lines_ = 0;
    until_ = loop_->Elapsed() + absl::Minutes(1);
  }
  if (++lines_ <= kMaxProgramLogLines)
    LogWarn("%s: %s", name_, VisEncode(line));
}

void ProgramLog::TellDropped() {
  if (lines_ > kMaxProgramLogLines)
    LogWarn("%s: %d more lines", name_, lines_ - kMaxProgramLogLines);
  lines_ = 0;
}

}  // namespace holdfast
