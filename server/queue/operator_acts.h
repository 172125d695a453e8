// What an operator does to envelopes (smtpctl schedule, remove, pause
// envelope, resume envelope; reference part 2, section 2.6).  One thread: the
// loop's.
#ifndef HOLDFAST_SERVER_QUEUE_OPERATOR_ACTS_H_
#define HOLDFAST_SERVER_QUEUE_OPERATOR_ACTS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "config/config.h"
#include "server/loop/event_loop.h"
#include "server/queue/committer.h"
#include "server/queue/in_flight.h"
#include "server/queue/queue_services.h"
#include "server/queue/scheduler.h"
#include "server/queue/store_calls.h"
#include "storage/queue_store.h"

namespace holdfast {

class OperatorActs {
 public:
  // Envelopes of one commit.
  static constexpr size_t kSlice = 256;

  // All outlive it.  `look_at_deadline`: this one may have expired while it
  // was suspended.
  struct Parts {
    EventLoop* loop = nullptr;
    QueueStore* store = nullptr;
    Committer* committer = nullptr;
    InFlight* in_flight = nullptr;
    Scheduler* scheduler = nullptr;
    std::function<void(EnvelopeId)> look_at_deadline;
    // `schedule` means now: a route that rests after failures must not make it
    // fail without an attempt.
    std::function<void()> enable_routes;
  };
  explicit OperatorActs(Parts parts) : p_(std::move(parts)) {}

  // As QueueServices::Act().
  void Act(OperatorAct act, std::vector<EnvelopeId> envelopes,
           absl::AnyInvocable<void(uint64_t)> done);

  // An envelope has left flight and is in the queue still: does what had to
  // wait for that.
  void AfterFlight(const FlyingEnvelope& envelope);

  uint64_t removed() const { return removed_; }

 private:
  struct Job {
    OperatorAct act = OperatorAct::kSchedule;
    std::vector<EnvelopeId> envelopes;
    size_t next = 0;
    uint64_t count = 0;
    absl::AnyInvocable<void(uint64_t)> done;
  };
  using JobRef = std::shared_ptr<Job>;
  // As it stands in the store.
  struct Found {
    Envelope envelope;
    DestinationRow destination;  // id 0: none
  };

  void NextSlice(JobRef job);
  void ReadSlice(JobRef job, std::vector<EnvelopeId> ids);
  bool ActInFlight(OperatorAct act, EnvelopeId id);
  void CommitSlice(JobRef job, std::vector<Found> found);
  bool Wanted(OperatorAct act, const Envelope& envelope) const;
  void OnDone(OperatorAct act, const Found& found);
  void Hurry(const DestinationRow& destination, QueueBatch* batch);

  const Parts p_;
  uint64_t removed_ = 0;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_OPERATOR_ACTS_H_
