#include "server/queue/act_run.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/random/uniform_int_distribution.h"
#include "absl/strings/str_cat.h"
#include "server/log/log.h"
#include "server/queue/act_log.h"
#include "server/queue/store_calls.h"

namespace holdfast {
namespace {

// The log of the daemon has its own time.
void LogAct(const std::string& line) {
  LogInfo("ctl: act %s", line.substr(line.find(' ') + 1));
}

}  // namespace

ActRun::ActRun(QueueServices* services, PlannedAct plan, const ActPeer& peer)
    : services_(services),
      peer_(peer),
      plan_(std::move(plan)),
      act_(std::make_shared<EnvelopeAct>(plan_.act)) {
  absl::uniform_int_distribution<uint32_t> any;
  auto random = services_->random();
  number_ = absl::StrCat(absl::Hex(any(random), absl::kZeroPad8));
}

void ActRun::Start(Watcher watcher) {
  watcher_ = std::move(watcher);
  const std::string line =
      ActBeginLine(services_->loop()->Now(), number_, peer_, plan_);
  LogAct(line);
  // The reader's thread may wait for the disk.
  ReadThenPost(
      services_->loop(), services_->store(),
      [line, path = ActLogPath(services_->config())](const QueueView&) {
        return AppendActLine(path, line);
      },
      [self = shared_from_this()](absl::StatusOr<absl::Status> written) {
        self->OnNoted(written.ok() ? *written : written.status());
      });
}

void ActRun::OnNoted(const absl::Status& status) {
  if (state_ == State::kAbandoned) return End("interrupted");
  if (status.ok()) return NextSlice();
  // Who did what must be known.
  state_ = State::kEnded;
  watcher_.on_end(status);
}

void ActRun::NextSlice() {
  if (next_ == plan_.envelopes.size()) return End("complete");
  const size_t end =
      std::min(plan_.envelopes.size(), next_ + QueueServices::kActSlice);
  std::vector<EnvelopeId> ids(plan_.envelopes.begin() + next_,
                              plan_.envelopes.begin() + end);
  next_ = end;
  state_ = State::kInSlice;
  slice_began_ = services_->loop()->Elapsed();
  services_->ActOnSlice(
      act_, plan_.filter, std::move(ids),
      [self = shared_from_this()](ActCounts counts) { self->OnSlice(counts); });
}

void ActRun::OnSlice(const ActCounts& counts) {
  AddCounts(counts, &counts_);
  if (state_ == State::kAbandoned) return End("interrupted");
  if (!counts_.status.ok()) return End(counts_.status.message());
  watcher_.on_slice();
  const absl::Duration pause =
      std::min(services_->loop()->Elapsed() - slice_began_, kMaxPause);
  if (pause <= absl::ZeroDuration() || next_ == plan_.envelopes.size())
    return NextSlice();
  state_ = State::kPausing;
  timer_ = services_->loop()->RunAfter(pause, [weak = weak_from_this()] {
    if (const std::shared_ptr<ActRun> self = weak.lock()) self->NextSlice();
  });
}

PlannedAct ActRun::Abandon() {
  watcher_ = Watcher();
  PlannedAct rest;
  if (state_ == State::kEnded) return rest;
  rest.act = plan_.act;
  rest.filter_text = plan_.filter_text;
  rest.filter = plan_.filter;
  rest.envelopes.assign(plan_.envelopes.begin() + next_, plan_.envelopes.end());
  const bool pausing = state_ == State::kPausing;
  timer_.reset();
  state_ = State::kAbandoned;
  if (pausing) End("interrupted");
  return rest;
}

void ActRun::End(absl::string_view result) {
  const std::string line =
      ActEndLine(services_->loop()->Now(), number_, counts_, result);
  LogAct(line);
  AppendToActLog(services_, line);
  state_ = State::kEnded;
  if (watcher_.on_end) watcher_.on_end(absl::OkStatus());
}

void AddCounts(const ActCounts& more, ActCounts* sum) {
  sum->done += more.done;
  sum->waiting += more.waiting;
  sum->so_already += more.so_already;
  sum->changed += more.changed;
  sum->gone += more.gone;
  sum->failed += more.failed;
  if (sum->why.ok()) sum->why = more.why;
  if (sum->status.ok()) sum->status = more.status;
}

}  // namespace holdfast
