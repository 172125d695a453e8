// What the parts of the `queue` room may ask of each other.  The room
// (queue_room.h) implements it; control commands and reports are written
// against it, so that each can be tested with a fake.
//
// Used on the loop's thread; callbacks run in a later turn.
#ifndef HOLDFAST_SERVER_QUEUE_QUEUE_SERVICES_H_
#define HOLDFAST_SERVER_QUEUE_QUEUE_SERVICES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/random/bit_gen_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "protocol/envelope.h"
#include "protocol/envelope_filter.h"
#include "protocol/ids.h"
#include "server/door/lookup_messages.h"
#include "server/door/receive_messages.h"
#include "server/loop/event_loop.h"
#include "server/queue/envelope_act.h"
#include "storage/queue_batch.h"
#include "storage/queue_store.h"

namespace holdfast {

class FilterClient;
class HostStats;
class Router;

// Counted since start unless said otherwise; `monitor` and `show stats`.
struct QueueCounters {
  SessionCounts sessions;
  uint64_t envelopes_now = 0, enqueued = 0, dequeued = 0;
  uint64_t ok = 0, tempfail = 0, permfail = 0, loop = 0;
  uint64_t expired = 0, removed = 0, updated = 0, bounces = 0;
  uint64_t inflight_now = 0;
  absl::Time started;
  // Now: local deliveries in flight, those a worker is at, and for how many
  // users; reports being made; connections to the control socket.
  uint64_t mda_envelopes = 0, mda_running = 0, mda_users = 0;
  uint64_t reports_at_work = 0;
  uint64_t control_sessions = 0;
};

// An operator's act on one envelope, whatever state it is in.
enum class OperatorAct : uint8_t { kSchedule, kRemove, kPause, kResume };

// What became of the envelopes of an act.
struct ActCounts {
  uint64_t done = 0;
  uint64_t waiting = 0;     // in flight: done when the attempt is over
  uint64_t so_already = 0;  // nothing was to be done
  uint64_t changed = 0;     // the filter does not match any more
  uint64_t gone = 0;
  uint64_t failed = 0;
  absl::Status why;  // of the first that failed
  // Not ok: the slice was not done.
  absl::Status status;
};

class QueueServices {
 public:
  virtual ~QueueServices() = default;

  virtual EventLoop* loop() = 0;
  virtual QueueStore* store() = 0;
  virtual const Config& config() = 0;
  virtual absl::BitGenRef random() = 0;

  // Submits the batch.  After its commit, on the loop: the scheduler hears of
  // the lanes, the report sender of new reports, then `done` is called.  A
  // failed sync ends the process and calls nobody.
  virtual void Commit(QueueBatch batch,
                      absl::AnyInvocable<void(BatchResult)> done) = 0;
  // An unused message id, from a lease the room keeps.
  virtual void TakeMessageId(absl::AnyInvocable<void(MessageId)> done) = 0;
  // Asks lookup where this goes.  With lookup away: refusal "451 ...".
  virtual void Expand(ExpandRequest request,
                      absl::AnyInvocable<void(ExpandAnswer)> done) = 0;
  // Asks lookup why this goes where it goes; nothing is sent.
  virtual void Explain(ExplainRequest request,
                       absl::AnyInvocable<void(ExplainAnswer)> done) = 0;
  // Has the file of this table read again.  With lookup away: not ok.
  virtual void UpdateTable(const std::string& name,
                           absl::AnyInvocable<void(TableUpdated)> done) = 0;

  // Does `act`; on an envelope that a worker has, removal waits for the
  // outcome (and counts), schedule does not count (reference part 2, section
  // 2.6).  Acts are committed in slices; `done` gets how many.
  virtual void Act(OperatorAct act, std::vector<EnvelopeId> envelopes,
                   absl::AnyInvocable<void(uint64_t count)> done) = 0;
  // Does `act` to those of the envelopes that `filter` matches now, in one
  // commit; those in flight have it done to them when their attempt is over
  // and they are still queued (which is forgotten when `queue` ends).
  static constexpr size_t kActSlice = 256;
  virtual void ActOnSlice(std::shared_ptr<const EnvelopeAct> act,
                          const EnvelopeFilter& filter,
                          std::vector<EnvelopeId> envelopes,
                          absl::AnyInvocable<void(ActCounts)> done) = 0;

  // When this envelope went in flight; nullopt: it isn't.
  virtual std::optional<absl::Time> InFlightSince(EnvelopeId id) = 0;
  // Envelopes of this destination that are in flight.
  virtual size_t InFlightOf(DestinationId id) = 0;

  // False: it was so already.
  virtual bool SetPaused(DeliveryKind kind, bool paused) = 0;
  virtual bool IsPaused(DeliveryKind kind) = 0;
  virtual bool SetSmtpPaused(bool paused) = 0;
  virtual bool IsSmtpPaused() = 0;
  // Tells parent, which tells every room.
  virtual void SetVerboseEverywhere(bool verbose) = 0;

  virtual QueueCounters Counters() = 0;

  // The room `filters`.
  virtual FilterClient* filters() = 0;

  // What relaying is at: routes and limits, what hosts have said last.
  virtual Router* router() = 0;
  virtual HostStats* host_stats() = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_QUEUE_SERVICES_H_
