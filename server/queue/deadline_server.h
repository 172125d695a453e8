// Serves the deadlines table: delay warnings and expiry, whatever the state of
// the destination.  One thread: the loop's.
#ifndef HOLDFAST_SERVER_QUEUE_DEADLINE_SERVER_H_
#define HOLDFAST_SERVER_QUEUE_DEADLINE_SERVER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "config/config.h"
#include "server/loop/event_loop.h"
#include "server/queue/committer.h"
#include "server/queue/in_flight.h"
#include "server/queue/store_calls.h"
#include "storage/queue_store.h"

namespace holdfast {

class DeadlineServer {
 public:
  static constexpr size_t kPage = 256;
  // What an operator suspended or holds does not expire; it is looked at again
  // after this.
  static constexpr absl::Duration kHeldAgain = absl::Hours(1);
  // The table speaks again of an envelope in flight after this, should its
  // outcome not have come.
  static constexpr absl::Duration kFlyingAgain = absl::Minutes(10);
  static constexpr absl::Duration kMaxSleep = absl::Minutes(1);
  // After trouble with the store or with a row.
  static constexpr absl::Duration kTroublePause = absl::Seconds(1);

  // All outlive it.
  struct Parts {
    EventLoop* loop = nullptr;
    const Config* config = nullptr;
    QueueStore* store = nullptr;
    Committer* committer = nullptr;
    InFlight* in_flight = nullptr;
  };
  explicit DeadlineServer(const Parts& parts) : p_(parts) {}

  void Start() { Serve(); }
  void Stop() { running_ = false; }

  // Some envelope has a deadline then.
  void Note(absl::Time when);
  // This envelope, whose deadline came while it was in flight, is in the queue
  // still.
  void Look(EnvelopeId id);

  uint64_t expired() const { return expired_; }

 private:
  struct Due {
    bool any = false;                 // rows that are due
    std::vector<Envelope> envelopes;  // theirs, those that could be read
    std::optional<absl::Time> next;   // !any: the first that will be
  };
  void Serve();
  void OnDue(absl::StatusOr<Due> due);
  // What is to be done about it; the acts reach the store in one batch.
  // `text`: of an expiry, as the log has it.
  ActOnEnvelope ActFor(const Envelope& envelope, std::string* text);
  ActOnEnvelope Retimed(const Envelope& envelope, absl::Time next) const;
  // Commits what is to be done about these.
  void Handle(std::vector<Envelope> envelopes, bool then_serve);
  // `text` of an expiry: why.
  void OnHandled(const Envelope& envelope, ActOnEnvelope::Act act,
                 const std::string& text, const absl::Status& status);

  const Parts p_;
  bool running_ = true;
  bool serving_ = false;
  absl::Time wake_at_ = absl::InfiniteFuture();
  EventLoop::Timer wake_;
  uint64_t expired_ = 0;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_DEADLINE_SERVER_H_
