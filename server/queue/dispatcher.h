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
    std::function<void(const FlyingBatch&, bool)> on_claim_failed;
  };
  explicit Dispatcher(Parts parts);

  bool CanTake(DeliveryKind kind) override { return p_.doors->CanTake(kind); }
  absl::Status Send(const DestinationRow& destination, const Action& action,
                    PreparedBatch batch) override;

 private:
  absl::StatusOr<RelayTarget> TargetOf(const DestinationRow& destination,
                                       const Action& action,
                                       const PreparedBatch& batch) const;
  void SendToRelay(const BatchKey& key, DestinationId destination,
                   RelayTarget target, std::vector<BatchMessage> messages);
  void SendToDeliver(const BatchKey& key, const DestinationRow& destination,
                     const Action& action, std::vector<BatchMessage> messages);
  void Claim(const BatchKey& key, const std::vector<Envelope>& envelopes);
  void OnClaimed(const BatchKey& key, const absl::Status& status);

  Parts p_;
  uint64_t last_batch_;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_DISPATCHER_H_
