// The room's way to the commit thread: gathers what a turn of the loop asks
// for into one batch, brings the results back to the loop, and counts.
#ifndef HOLDFAST_SERVER_QUEUE_COMMITTER_H_
#define HOLDFAST_SERVER_QUEUE_COMMITTER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "server/loop/event_loop.h"
#include "server/queue/store_calls.h"
#include "storage/queue_store.h"

namespace holdfast {

// One thread: the loop's.  Operations reach the store in the order in which
// they were given.
class Committer {
 public:
  using Done = absl::AnyInvocable<void(BatchResult)>;
  // Called on the loop, before the `done` of the batches.
  struct Hooks {
    std::function<void(const std::vector<LaneChange>&)> on_lanes;
    std::function<void()> on_reports;
    // New envelopes have their first deadline then.
    std::function<void(absl::Time)> on_deadline;
    // A failed sync: the process must end; nobody else is called.
    std::function<void(const absl::Status&)> on_failure;
  };
  struct Totals {
    uint64_t enqueued = 0, dequeued = 0, updated = 0, reports = 0;
  };

  // What is gathered goes when it has grown to this: the store can halve a
  // group that does not fit, but not a batch.
  static constexpr size_t kMaxGathered = 256 << 10;

  // All outlive it.
  Committer(EventLoop* loop, QueueStore* store, const Config* config,
            Hooks hooks);

  // `done` (may be null) is called after the commit.  Its `lanes` are empty:
  // on_lanes has had them.
  void Commit(QueueBatch batch, Done done);
  // The same, in a batch of its own at once: `lanes` are those of this batch.
  void CommitAlone(QueueBatch batch, Done done);
  // Hands over what has been gathered.
  void Flush();

  const Totals& totals() const { return totals_; }
  // Batches whose result has not come.
  size_t outstanding() const { return outstanding_; }

 private:
  // What an operation adds to the totals if it succeeds.
  struct Effect {
    Totals adds;
    bool imports = false;
    absl::Time deadline = absl::InfiniteFuture();
  };
  struct Part {
    size_t operations = 0;
    Done done;
  };
  struct Gathered {
    QueueBatch batch;
    std::vector<Effect> effects;
    std::vector<Part> parts;
    size_t bytes = 0;
  };

  Effect Prepare(QueueOperation* operation) const;
  void Add(QueueBatch batch, Done done);
  void OnResult(std::vector<Effect> effects, std::vector<Part> parts,
                BatchResult result);

  EventLoop* loop_;
  QueueStore* store_;
  const Config* config_;
  Hooks hooks_;
  Gathered gathered_;
  bool flush_planned_ = false;
  bool failed_ = false;
  Totals totals_;
  size_t outstanding_ = 0;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_COMMITTER_H_
