// Hands batches to workers: finds the next hop, chooses the worker, sends the
// batch at once and says "claimed" when the claim is on the disk.  One thread:
// the loop's.
#ifndef HOLDFAST_SERVER_QUEUE_DISPATCHER_H_
#define HOLDFAST_SERVER_QUEUE_DISPATCHER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/config.h"
#include "server/loop/event_loop.h"
#include "server/queue/committer.h"
#include "server/queue/in_flight.h"
#include "server/queue/next_hops.h"
#include "server/queue/router.h"
#include "server/queue/scheduler.h"
#include "server/queue/store_calls.h"
#include "server/queue/worker_doors.h"
#include "storage/queue_store.h"

namespace holdfast {

class Dispatcher : public Scheduler::Outlet {
 public:
  // All outlive it.  `on_claim_failed`: the batch is with nobody any more;
  // true: for want of room.
  struct Parts {
    EventLoop* loop = nullptr;
    const Config* config = nullptr;
    QueueStore* store = nullptr;
    Committer* committer = nullptr;
    InFlight* in_flight = nullptr;
    WorkerDoors* doors = nullptr;
    Router* router = nullptr;
    ProgramHops* program_hops = nullptr;
    std::function<void(const FlyingBatch&, bool)> on_claim_failed;
  };
  explicit Dispatcher(Parts parts);

  bool CanTake(DeliveryKind kind) override { return p_.doors->CanTake(kind); }
  absl::Status Send(const DestinationRow& destination, const Action& action,
                    PreparedBatch batch) override;
  bool FailOver(const DestinationRow& destination,
                const std::string& host) override;
  void HostWorks(const DestinationRow& destination,
                 const std::string& host) override;
  void HostUntried(const DestinationRow& destination,
                   const std::string& host) override;
  // Smarthosts that rest may be tried: an operator wants an attempt now.
  void ForgetRests() { next_hops_.ForgetRests(); }

 private:
  absl::StatusOr<RelayTarget> TargetOf(const DestinationRow& destination,
                                       const Action& action,
                                       const PreparedBatch& batch);
  void SendToRelay(const BatchKey& key, DestinationId destination,
                   RelayTarget target, PreparedBatch* batch);
  void SendToDeliver(const BatchKey& key, DestinationId destination,
                     const Action& action, const std::string& user,
                     std::vector<BatchMessage> messages);
  void Claim(const BatchKey& key, const std::vector<Envelope>& envelopes);
  void OnClaimed(const BatchKey& key, const absl::Status& status);

  Parts p_;
  NextHops next_hops_;
  uint64_t last_batch_;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_DISPATCHER_H_
