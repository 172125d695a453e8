// The scheduler: which destination is next, and how much of it.  The store's
// agenda is the queue; memory holds a window of destinations, whatever the
// number of envelopes (docs/ARCHITECTURE.md).
//
// A destination is *active* from when the agenda (or a lane change) says that
// something of it is due until nothing more of it can be handed out.  Active
// ones take turns, round robin with deficits: a turn is worth a number of
// envelopes (kOctetsPerEnvelope of stored bodies count as one more); who took
// more than that, because the recipients of a message stay together, owes it;
// who got less, because `max-inflight` was reached, goes on first.  A turn
// reads what it may hand out (on the store's reader thread) and gives it to the
// outlet in batches.
//
// What is in flight is shared out, too: a destination may have as many
// envelopes with workers as are still free, so that slow ones leave room for
// one more; and one that has not answered yet gets a little, so that dead ones
// cannot fill the window.
//
// One thread: the loop's.
#ifndef HOLDFAST_SERVER_QUEUE_SCHEDULER_H_
#define HOLDFAST_SERVER_QUEUE_SCHEDULER_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/node_hash_map.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "protocol/srs.h"
#include "server/loop/event_loop.h"
#include "server/queue/batch_builder.h"
#include "server/queue/committer.h"
#include "server/queue/in_flight.h"
#include "server/queue/lane_reader.h"
#include "server/queue/store_calls.h"
#include "storage/queue_store.h"

namespace holdfast {

class Scheduler {
 public:
  // Where batches go.
  class Outlet {
   public:
    virtual ~Outlet() = default;
    // Whether a worker of this kind is there and keeps up.
    virtual bool CanTake(DeliveryKind kind) = 0;
    // Hands the batch to a worker and claims it.  kUnavailable: there is no
    // worker, or its next hop is being asked for (then Wake() follows).  Else
    // not OK: no next hop; the message is the error line.
    virtual absl::Status Send(const DestinationRow& destination,
                              const Action& action, PreparedBatch batch) = 0;

    // ---- Where an action names several next hops (`host`, FlyingBatch::host).
    // Nobody answered there.  True: Send() would now choose another one.
    virtual bool FailOver(const DestinationRow& /*destination*/,
                          const std::string& /*host*/) {
      return false;
    }
    // It has answered for an envelope.
    virtual void HostWorks(const DestinationRow& /*destination*/,
                           const std::string& /*host*/) {}
    // A batch came back from it that it never saw.
    virtual void HostUntried(const DestinationRow& /*destination*/,
                             const std::string& /*host*/) {}
  };

  // Destinations in memory.
  static constexpr size_t kWindow = 1000;
  // Readings at a time; each may hold kMaxLoadedBytes.
  static constexpr int kMaxReadings = 4;
  // Envelopes in flight of a destination that has not answered yet; of one that
  // did not answer the last time.
  static constexpr size_t kUnprovenEnvelopes = 20;
  static constexpr size_t kProbeEnvelopes = 4;
  // What all of those may have in flight is half of `max-inflight`; each gets
  // this part of what is left of it, so that it lasts for a few hundred.
  static constexpr size_t kUnprovenParts = 32;
  // So many that others' envelopes hold up are looked at again at a time.
  static constexpr size_t kUnblockAtOnce = 16;
  // A destination owes this much at most, in envelopes.
  static constexpr int64_t kMaxDebt = 16 * kMaxBatchMessages;
  // Batches in a row that go to another host at once when one has failed.
  static constexpr int kMaxFailOvers = 100;
  // Agents at work for one user.
  static constexpr size_t kMaxAgentsPerUser = 4;
  // Rest of a destination whose batch came back untried, or could not be read.
  static constexpr absl::Duration kRest = absl::Seconds(1);
  // The agenda is looked at as often as this, whatever the clock says.
  static constexpr absl::Duration kMaxSleep = absl::Minutes(1);
  // ... and so long after a destination has been dealt with, for what becomes
  // due of it later.
  static constexpr absl::Duration kLookAgain = absl::Seconds(1);

  // All outlive it.
  struct Parts {
    EventLoop* loop = nullptr;
    const Config* config = nullptr;
    QueueStore* store = nullptr;
    Committer* committer = nullptr;
    InFlight* in_flight = nullptr;
    Outlet* outlet = nullptr;
  };
  explicit Scheduler(const Parts& parts);

  // Nothing is handed out before Start() and after Stop().
  void Start();
  void Stop() { running_ = false; }

  bool SetPaused(DeliveryKind kind, bool paused);
  bool IsPaused(DeliveryKind kind) const {
    return kind == DeliveryKind::kMta ? mta_paused_ : mda_paused_;
  }

  // What the store says after a commit.
  void OnLanes(const std::vector<LaneChange>& lanes);
  // Something of it may be due: it was returned, or released.
  void Touch(DestinationId id, DeliveryKind kind);
  // What it rested for is over, if it rests.
  void Wake(DestinationId id);
  // Looks through the agenda again.
  void Scan();
  // Hands out what can be.  To be called when a worker has come, or keeps up
  // again, or something has left the table of what is in flight; and after the
  // calls below.
  void Pump();

  // ---- What becomes of the batches of a destination.
  // The worker has answered for this many envelopes.
  void OnAnswered(DestinationId id, size_t envelopes);
  // One batch less with a worker.  `rest`: its destination has a pause before
  // the next, lest what comes back untried goes round without end.
  void OnBatchOver(const FlyingBatch& batch, bool rest);
  // It took a connection: its hosts answer, this one does.
  void OnWorks(DestinationId id, const std::string& host);
  // None of its hosts did, or not this one, and another is tried at once.
  // `round` is how often it had failed when the batch that found out was sent.
  void OnFailed(DestinationId id, const std::string& error, uint32_t round,
                const std::string& host);
  // An operator wants it tried now.
  void ForgetPostponement(DestinationId id);

  size_t active() const { return active_.size(); }

 private:
  // Where a destination waits for its turn.
  enum class Place {
    kNone,
    kReady,    // in ready_
    kBlocked,  // in blocked_: others have so much in flight
  };
  struct Active {
    DestinationRow row;   // as last read; id and kind are always right
    size_t batches = 0;   // with workers
    size_t flying = 0;    // envelopes with workers
    LanePosition after;   // read up to here
    bool rewind = false;  // something may be due before `after`
    bool more = true;     // something may be due
    bool reading = false;
    Place place = Place::kNone;
    bool proven = false;
    uint32_t turns = 0;   // since it became active
    int64_t deficit = 0;  // left of its turns, in envelopes; below 0: owed
    size_t sessions = 1;  // that `mta limit` allows
    int fail_overs = 0;   // in a row
    int committing = 0;   // changes of its row on their way to the disk
    absl::Time postponed_until = absl::InfinitePast();
    EventLoop::Timer rest;                      // set: rests
    absl::flat_hash_set<EnvelopeId> set_aside;  // unreadable, being held
  };
  struct Hurried {
    uint32_t failures = 0;  // of its row then
    bool trying = true;     // it is not known yet what came of it
  };
  enum class ScanState { kIdle, kReading, kWindowFull };
  struct AgendaPage {
    std::vector<std::pair<absl::Time, DestinationRow>> rows;
    std::pair<absl::Time, DestinationId> last;
    bool end = false;
    absl::Time next_due = absl::InfiniteFuture();
  };

  Active* Find(DestinationId id);
  Active& Activate(DestinationId id, DeliveryKind kind);
  bool MayRead(const Active& a) const;
  size_t MaxBatches(const Active& a) const;
  size_t BatchesLeft(const Active& a) const;
  size_t MayAdd(const Active& a) const;
  size_t UnprovenRoom() const;
  size_t Headroom() const;
  size_t TakeTurn(Active* a);
  void Enqueue(Active* a);
  void Unblock();
  void RetireIfDone(DestinationId id);
  void Rest(Active* a);
  void SetFlying(Active* a, size_t flying);

  void StartReading(Active* a, size_t want);
  void OnRead(DestinationId id, size_t want,
              absl::StatusOr<LaneContents> contents);
  void HandOut(Active* a, LaneContents contents);
  void SendBatches(Active* a, const Action& action, LaneContents contents);
  void Hold(Active* a, EnvelopeId id, const std::string& error);
  void HoldBroken(Active* a, LaneContents* contents);
  void HoldUnknownAction(Active* a, const LaneContents& contents);
  void Postpone(Active* a, const std::string& error);
  void RecordRow(Active* a, absl::Time until, const std::string& error);
  bool IsHurried(const Active& a) const;
  void HurrySisters(const DestinationRow& row);
  void Hurry(const DestinationRow& row);

  void ReadAgenda();
  void OnAgenda(absl::StatusOr<AgendaPage> page);
  void WakeAt(absl::Time when);

  const Parts p_;
  const std::optional<SrsRewriter> srs_;  // nothing: there is no key
  bool running_ = false;
  bool mta_paused_ = false;
  bool mda_paused_ = false;

  absl::node_hash_map<DestinationId, Active> active_;
  std::deque<DestinationId> ready_;
  std::deque<DestinationId> blocked_;  // and some that are so no more
  int readings_ = 0;
  size_t reserved_ = 0;  // envelopes that readings may bring
  size_t unproven_flying_ = 0;
  size_t mda_batches_ = 0;
  // Postponed ones that were tried out of turn.
  absl::flat_hash_map<DestinationId, Hurried> hurried_;

  ScanState scan_ = ScanState::kIdle;
  bool scan_again_ = false;
  std::pair<absl::Time, DestinationId> cursor_;
  absl::Time wake_at_ = absl::InfiniteFuture();
  EventLoop::Timer wake_;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_SCHEDULER_H_
