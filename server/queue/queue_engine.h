// All of the queue room that needs an open store, wired: commits, scheduling,
// dispatch, outcomes, claims, deadlines, the router.  One thread: the loop's.
#ifndef HOLDFAST_SERVER_QUEUE_QUEUE_ENGINE_H_
#define HOLDFAST_SERVER_QUEUE_QUEUE_ENGINE_H_

#include <functional>
#include <memory>
#include <optional>

#include "config/config.h"
#include "server/door/door.h"
#include "server/door/parent_messages.h"
#include "server/loop/event_loop.h"
#include "server/queue/bulk_acts.h"
#include "server/queue/claims.h"
#include "server/queue/committer.h"
#include "server/queue/deadline_server.h"
#include "server/queue/dispatcher.h"
#include "server/queue/host_stats.h"
#include "server/queue/in_flight.h"
#include "server/queue/operator_acts.h"
#include "server/queue/outcome_recorder.h"
#include "server/queue/program_hops.h"
#include "server/queue/queue_services.h"
#include "server/queue/router.h"
#include "server/queue/scheduler.h"
#include "server/queue/store_calls.h"
#include "server/queue/worker_doors.h"
#include "storage/queue_store.h"

namespace holdfast {

class QueueEngine {
 public:
  // A worker's BodyRequest asks for this many chunks at most.
  static constexpr uint32_t kMaxBodyChunks = 8;

  // All outlive it.
  struct Parts {
    EventLoop* loop = nullptr;
    const Config* config = nullptr;
    QueueStore* store = nullptr;
    std::function<void()> on_reports;
    std::function<void(const absl::Status&)> on_failed_sync;
    ProgramHops::Ask ask_table;  // of `lookup`
  };
  explicit QueueEngine(Parts parts);

  // Doors to `relay` and `deliver`.
  void AddWorker(const NewDoor& to, std::unique_ptr<Door> door) {
    doors_.Add(to, std::move(door));
  }
  // Handing out begins with the first of these.
  void OnWorkers(const Workers& workers) { claims_.OnWorkers(workers); }

  // Nothing new is handed out; outcomes are still recorded.
  void Stop();
  // Nothing is with a worker, or nobody is left who could answer.
  bool IsQuiet() const {
    return in_flight_.with_worker() == 0 || doors_.size() == 0;
  }

  Committer& committer() { return committer_; }
  Scheduler& scheduler() { return scheduler_; }
  OperatorActs& acts() { return acts_; }
  BulkActs& bulk_acts() { return bulk_acts_; }
  InFlight& in_flight() { return in_flight_; }
  Router& router() { return router_; }
  HostStats& host_stats() { return host_stats_; }
  // Fills in what is counted here.
  void Count(QueueCounters* counters) const;

 private:
  Committer::Hooks CommitHooks();
  WorkerDoors::Handlers DoorHandlers();
  Scheduler::Parts SchedulerParts();
  Dispatcher::Parts DispatcherParts();
  OutcomeRecorder::Parts RecorderParts();
  Claims::Parts ClaimsParts();
  DeadlineServer::Parts DeadlineParts();
  OperatorActs::Parts ActsParts();
  BulkActs::Parts BulkActsParts();

  void NoteHosts(WorkerId worker, const BatchOutcomes& outcomes);
  void OnStillQueued(const FlyingEnvelope& envelope);
  void OnClaimsKnown();
  void OnBody(WorkerId worker, const BodyRequest& request);
  void OnSlot(WorkerId worker, const SlotRequest& request);
  void PlanRouterWake();

  const Parts p_;
  InFlight in_flight_;
  Committer committer_;
  WorkerDoors doors_;
  ProgramHops program_hops_;
  Dispatcher dispatcher_;
  Scheduler scheduler_;
  OutcomeRecorder recorder_;
  Claims claims_;
  DeadlineServer deadlines_;
  OperatorActs acts_;
  BulkActs bulk_acts_;
  Router router_;
  HostStats host_stats_;
  EventLoop::Timer router_wake_;
  absl::Duration router_wake_at_ = absl::InfiniteDuration();
  uint64_t envelopes_at_start_ = 0;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_QUEUE_ENGINE_H_
