// Claims of earlier starts, and of workers that die: who has what, and when it
// is free again (docs/ARCHITECTURE.md).  One thread: the loop's.
#ifndef HOLDFAST_SERVER_QUEUE_CLAIMS_H_
#define HOLDFAST_SERVER_QUEUE_CLAIMS_H_

#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "absl/time/time.h"
#include "protocol/ids.h"
#include "server/door/parent_messages.h"
#include "server/door/worker_messages.h"
#include "server/loop/event_loop.h"
#include "server/queue/in_flight.h"
#include "server/queue/outcome_recorder.h"
#include "server/queue/store_calls.h"
#include "storage/queue_store.h"

namespace holdfast {

class Claims {
 public:
  // A claim that its living worker does not name is free after this: what the
  // worker had finished follows its WorkerState at once.
  static constexpr absl::Duration kUnnamedGrace = absl::Seconds(10);

  // All outlive it.  `on_ready` is called once: all claims of earlier starts
  // are known, those of dead workers are on their way to be released.
  struct Parts {
    EventLoop* loop = nullptr;
    QueueStore* store = nullptr;
    InFlight* in_flight = nullptr;
    OutcomeRecorder* recorder = nullptr;
    std::function<void()> on_ready;
  };
  explicit Claims(Parts parts) : p_(std::move(parts)) {}

  // parent -> queue: these workers live.
  void OnWorkers(const Workers& workers);
  // A worker with a new door: these batches it still has.
  void OnState(WorkerId worker, const WorkerState& state);

 private:
  enum class State { kWaiting, kReading, kReady };
  void Read();
  void OnClaims(absl::StatusOr<std::vector<ClaimRow>> claims);
  void ReleaseDead();

  const Parts p_;
  State state_ = State::kWaiting;
  std::set<WorkerId> alive_;
  // One for each WorkerState with claims that it does not name.
  std::vector<EventLoop::Timer> grace_;
  EventLoop::Timer retry_;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_CLAIMS_H_
