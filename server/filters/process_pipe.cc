#include "server/filters/process_pipe.h"

#include <utility>

namespace holdfast {
namespace {

// A burst must not keep its memory for ever.
constexpr size_t kKeptCapacity = 1 << 20;

}  // namespace

ProcessPipe::ProcessPipe(EventLoop* loop, OwnedFd fd, Owner* owner)
    : loop_(loop), owner_(owner), stream_(MakeStream(loop, fd.Release())) {
  stream_->SetCallbacks({
      .on_bytes = [this](absl::string_view bytes) { OnBytes(bytes); },
      .on_closed =
          [this](absl::Status) {
            if (!std::exchange(deaf_, true)) owner_->OnProcessClosed();
          },
      .on_drained = [this] { owner_->OnProcessDrained(); },
  });
  stream_->ResumeReading();
}

ProcessPipe::~ProcessPipe() { *alive_ = false; }

std::string* ProcessPipe::out() {
  if (!flush_scheduled_) {
    flush_scheduled_ = true;
    loop_->AtTurnEnd([this, alive = alive_] {
      if (*alive) Flush();
    });
  }
  return &out_;
}

void ProcessPipe::Close() {
  deaf_ = true;
  stream_->PauseReading();
}

void ProcessPipe::Flush() {
  flush_scheduled_ = false;
  written_ += out_.size();
  stream_->Write(out_);
  out_.clear();
  if (out_.capacity() > kKeptCapacity) out_.shrink_to_fit();
  if (stream_->backlog() == 0) owner_->OnProcessDrained();
}

void ProcessPipe::OnBytes(absl::string_view bytes) {
  if (deaf_) return;
  const bool more = reader_.Read(bytes, [this](absl::string_view line) {
    return !deaf_ && owner_->OnProcessLine(line);
  });
  if (!more) deaf_ = true;
  if (reader_.too_long()) owner_->OnProcessLongLine();
  owner_->OnProcessRead();
}

}  // namespace holdfast
