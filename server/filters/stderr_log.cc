#include "server/filters/stderr_log.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/vis.h"

namespace holdfast {

StderrLog::StderrLog(EventLoop* loop, OwnedFd fd, std::string name,
                     absl::AnyInvocable<void(const std::string&)> log,
                     Task ended)
    : loop_(loop),
      name_(std::move(name)),
      log_(std::move(log)),
      ended_(std::move(ended)),
      counted_at_(loop->Elapsed()),
      stream_(MakeStream(loop, fd.Release())) {
  stream_->SetCallbacks({
      .on_bytes = [this](absl::string_view bytes) { OnBytes(bytes); },
      .on_closed =
          [this](absl::Status) {
            if (!line_.empty()) EndLine();
            TellCount();
            Task ended = std::move(ended_);
            ended();  // may drop us
          },
      .on_drained = nullptr,
  });
  stream_->ResumeReading();
}

void StderrLog::OnBytes(absl::string_view bytes) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    const absl::string_view part = bytes.substr(0, end);
    const absl::string_view kept =
        part.substr(0, kMaxStderrLine - std::min(line_.size(), kMaxStderrLine));
    line_.append(kept.data(), kept.size());
    if (kept.size() < part.size()) cut_ = true;
    if (end == absl::string_view::npos) return;
    EndLine();
    bytes.remove_prefix(end + 1);
  }
}

void StderrLog::EndLine() {
  if (MayLog()) {
    log_(absl::StrCat(name_, ": ", VisEncode(line_), cut_ ? "..." : ""));
  } else {
    ++left_out_;
    if (count_timer_ == nullptr)
      count_timer_ =
          loop_->RunAfter(kStderrCountEvery, [this] { TellCount(); });
  }
  line_.clear();
  cut_ = false;
}

bool StderrLog::MayLog() {
  const absl::Duration now = loop_->Elapsed();
  allowance_ = std::min<double>(
      kStderrBurst,
      allowance_ + kStderrPerSecond * absl::ToDoubleSeconds(now - counted_at_));
  counted_at_ = now;
  if (allowance_ < 1) return false;
  allowance_ -= 1;
  return true;
}

void StderrLog::TellCount() {
  count_timer_ = nullptr;
  if (left_out_ == 0) return;
  log_(absl::StrCat(name_, ": ... (", left_out_, " more lines)"));
  left_out_ = 0;
}

}  // namespace holdfast
