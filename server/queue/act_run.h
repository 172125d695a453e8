// An operator's act at work: notes its beginning in the log, does it slice by
// slice, and notes its end.  After each slice it waits as long as the slice
// took, so that mail goes first.  One thread: the loop's.
#ifndef HOLDFAST_SERVER_QUEUE_ACT_RUN_H_
#define HOLDFAST_SERVER_QUEUE_ACT_RUN_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/loop/event_loop.h"
#include "server/queue/act_tokens.h"
#include "server/queue/queue_services.h"

namespace holdfast {

// Held by the command of the client it is done for, and by the slice under way:
// that one is counted before the end is noted, whether or not the client is
// still there.  When the queue ends first, the log has no end of it.
class ActRun : public std::enable_shared_from_this<ActRun> {
 public:
  // The longest wait between slices.
  static constexpr absl::Duration kMaxPause = absl::Milliseconds(100);

  struct Watcher {
    absl::AnyInvocable<void()> on_slice;
    // Nothing happens afterwards.  Not ok: the log can't be written, and
    // nothing was done; what became of the act itself is in counts().
    absl::AnyInvocable<void(absl::Status)> on_end;
  };

  // `services` outlives it.
  ActRun(QueueServices* services, PlannedAct plan, const ActPeer& peer);

  // Begins, in a later turn.
  void Start(Watcher watcher);
  // The client is gone: calls the watcher no more and ends after the slice
  // under way.  What is left then to do; without envelopes: nothing.
  PlannedAct Abandon();

  const PlannedAct& plan() const { return plan_; }
  // Of plan().envelopes: done, or in the slice under way.
  size_t reached() const { return next_; }
  const ActCounts& counts() const { return counts_; }

 private:
  enum class State { kNoting, kInSlice, kPausing, kAbandoned, kEnded };

  void OnNoted(const absl::Status& status);
  void NextSlice();
  void OnSlice(const ActCounts& counts);
  void End(absl::string_view result);

  QueueServices* const services_;
  const ActPeer peer_;
  PlannedAct plan_;
  const std::shared_ptr<const EnvelopeAct> act_;
  Watcher watcher_;
  State state_ = State::kNoting;
  std::string number_;  // of its lines in the log
  size_t next_ = 0;
  ActCounts counts_;
  absl::Duration slice_began_;
  EventLoop::Timer timer_;
};

// Adds what became of some more envelopes.
void AddCounts(const ActCounts& more, ActCounts* sum);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_ACT_RUN_H_
