// Does an operator's act to many envelopes, a slice at a time (smtpctl queue
// remove, hold, ...).  Each slice is read anew, compared with the filter again,
// and changed in one commit; so a repetition finds what is still to do, and
// does nothing twice.  One thread: the loop's.
#ifndef HOLDFAST_SERVER_QUEUE_BULK_ACTS_H_
#define HOLDFAST_SERVER_QUEUE_BULK_ACTS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "config/config.h"
#include "server/loop/event_loop.h"
#include "server/queue/committer.h"
#include "server/queue/in_flight.h"
#include "server/queue/operator_acts.h"
#include "server/queue/queue_services.h"
#include "server/queue/scheduler.h"
#include "server/queue/store_calls.h"
#include "storage/queue_store.h"
#include "storage/queue_walk.h"

namespace holdfast {

class BulkActs {
 public:
  // All outlive it.
  struct Parts {
    EventLoop* loop = nullptr;
    const Config* config = nullptr;
    QueueStore* store = nullptr;
    Committer* committer = nullptr;
    InFlight* in_flight = nullptr;
    Scheduler* scheduler = nullptr;
    OperatorActs* acts = nullptr;
    std::function<void(absl::Time)> note_deadline;
  };
  explicit BulkActs(Parts parts) : p_(std::move(parts)) {}

  // As QueueServices::ActOnSlice().
  void Act(std::shared_ptr<const EnvelopeAct> act, const EnvelopeFilter& filter,
           std::vector<EnvelopeId> ids,
           absl::AnyInvocable<void(ActCounts)> done);

  // An envelope has left flight and is in the queue still: does what had to
  // wait for that.
  void AfterFlight(const FlyingEnvelope& envelope);

  uint64_t removed() const { return removed_; }
  uint64_t expired() const { return expired_; }

 private:
  struct Slice {
    std::shared_ptr<const EnvelopeAct> act;
    ActCounts counts;
    absl::AnyInvocable<void(ActCounts)> done;
  };
  using SliceRef = std::shared_ptr<Slice>;
  struct Found {
    ActCounts counts;
    std::vector<Envelope> envelopes;
  };

  void OnFound(SliceRef slice, Found found);
  void Schedule(SliceRef slice, const std::vector<Envelope>& envelopes);
  void AddActs(const EnvelopeAct& act, const Envelope& envelope,
               QueueBatch* batch) const;
  ActOnEnvelope Ended(const EnvelopeAct& act, const Envelope& envelope) const;
  ActOnEnvelope Rerouted(const EnvelopeAct& act,
                         const Envelope& envelope) const;
  ActOnEnvelope Changed(const EnvelopeAct& act, const Envelope& envelope) const;
  // Acts wait for its outcome already.
  bool AfterOthers(EnvelopeId id) const;
  // In flight, the act waits for the outcome; false: it is not in flight.
  bool WaitForOutcome(const SliceRef& slice, EnvelopeId id);
  static void Failed(const SliceRef& slice, const absl::Status& why);
  void ActNext(EnvelopeId id,
               std::vector<std::shared_ptr<const EnvelopeAct>> acts);
  void OnDone(const EnvelopeAct& act, const Envelope& envelope);

  const Parts p_;
  uint64_t removed_ = 0, expired_ = 0;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_BULK_ACTS_H_
