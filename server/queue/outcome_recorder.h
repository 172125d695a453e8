// Takes outcomes from workers, has them recorded, then says so: to the worker,
// to the log, to the scheduler.  Also releases the claims of workers that are
// gone.  One thread: the loop's.
#ifndef HOLDFAST_SERVER_QUEUE_OUTCOME_RECORDER_H_
#define HOLDFAST_SERVER_QUEUE_OUTCOME_RECORDER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "config/config.h"
#include "server/loop/event_loop.h"
#include "server/queue/committer.h"
#include "server/queue/in_flight.h"
#include "server/queue/outcomes.h"
#include "server/queue/scheduler.h"
#include "server/queue/store_calls.h"
#include "server/queue/worker_doors.h"
#include "storage/queue_store.h"

namespace holdfast {

// Envelopes by result, for `show stats`.
struct OutcomeCounts {
  uint64_t ok = 0, tempfail = 0, permfail = 0, loop = 0, removed = 0;
};

class OutcomeRecorder {
 public:
  // All outlive it.  `on_still_queued`: an envelope has left the table, is
  // still in the queue, and something waited for that (its flags say what).
  struct Parts {
    EventLoop* loop = nullptr;
    const Config* config = nullptr;
    QueueStore* store = nullptr;
    Committer* committer = nullptr;
    InFlight* in_flight = nullptr;
    WorkerDoors* doors = nullptr;
    Scheduler* scheduler = nullptr;
    std::function<void(const FlyingEnvelope&)> on_still_queued;
  };
  explicit OutcomeRecorder(Parts parts) : p_(std::move(parts)) {}

  void OnOutcomes(WorkerId worker, BatchOutcomes outcomes);

  // What is left of this batch was with a worker that is gone (or never had
  // it).  In doubt, unless nothing can have been sent.
  void Release(const BatchKey& key);
  // The batch could not be claimed; its envelopes have left the table.
  void OnClaimFailed(const FlyingBatch& batch, bool no_room);

  const OutcomeCounts& counts() const { return counts_; }

 private:
  // One frame's worth on its way to the disk.
  struct Recording {
    BatchKey key;
    DestinationId destination{};
    DeliveryKind kind = DeliveryKind::kMta;
    SessionId session{};
    std::string source, relay, tls;
    uint32_t sequence = 0;
    struct Item {
      Verdict verdict;
      WorkerOutcome::Result said;
    };
    std::vector<Item> items;
  };

  void LoadKept(WorkerId worker, BatchOutcomes outcomes);
  void Record(const BatchKey& key, const BatchOutcomes& outcomes);
  void Take(const WorkerOutcome& outcome, FlyingEnvelope* envelope,
            Recording* recording);
  void TakeUnanswered(FlyingBatch* batch, Recording* recording);
  void TellScheduler(FlyingBatch* batch, const BatchOutcomes& outcomes,
                     const Recording& recording);
  void EndBatch(FlyingBatch* batch, bool untried);
  void OnRecorded(Recording recording);
  void LogAndCount(const Envelope& envelope, const Recording& recording,
                   const Recording::Item& item);
  // `queued`: it is still in the queue.
  void Leave(EnvelopeId id, bool queued);
  void LookAgain(DestinationId destination, DeliveryKind kind);
  // Commits what must not get lost.  While a full disk can't even take that
  // (the reserve is gone too), it is offered again every second; the worker is
  // not told, and its claim stays, until it is recorded.
  void CommitUntilRecorded(std::function<QueueBatch()> make,
                           std::function<void(const BatchResult&)> done);

  const Parts p_;
  OutcomeCounts counts_;
  uint64_t next_retry_ = 0;
  std::map<uint64_t, EventLoop::Timer> retries_;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_OUTCOME_RECORDER_H_
