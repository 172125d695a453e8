#include "server/queue/scheduler.h"

#include <algorithm>

#include "config/relay_sender.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/queue/session_limits.h"
#include "server/tls/sha1.h"

namespace holdfast {
namespace {

// What it takes of its destination's turn.
int64_t WeightOf(const PreparedBatch& batch) {
  uint64_t octets = 0;
  for (const BatchMessage& m : batch.messages) octets += m.body.stored_bytes;
  return static_cast<int64_t>(batch.envelopes.size() +
                              octets / kOctetsPerEnvelope);
}

}  // namespace

Scheduler::Scheduler(const Parts& parts)
    : p_(parts), srs_(MakeSrs(parts.config->srs, Sha1)) {}

void Scheduler::Start() {
  running_ = true;
  Scan();
}

Scheduler::Active* Scheduler::Find(DestinationId id) {
  const auto it = active_.find(id);
  return it == active_.end() ? nullptr : &it->second;
}

Scheduler::Active& Scheduler::Activate(DestinationId id, DeliveryKind kind) {
  Active& a = active_[id];
  a.row.id = id;
  a.row.kind = kind;
  // Nobody has to answer before agents may work.
  a.proven = kind == DeliveryKind::kMda;
  return a;
}

// ---- Limits

size_t Scheduler::MaxBatches(const Active& a) const {
  if (a.row.kind == DeliveryKind::kMta) return a.sessions;
  return std::min<size_t>(kMaxAgentsPerUser,
                          p_.config->mda_limits.max_session_per_user);
}

// What all that have not answered yet may have besides.
size_t Scheduler::UnprovenRoom() const {
  const size_t half =
      std::max<size_t>(1, p_.config->scheduler_limits.max_inflight / 2);
  return half - std::min(half, unproven_flying_);
}

// How many envelopes more it may have in flight, as far as it is a matter of
// sharing.  One at least if it has none.
size_t Scheduler::MayAdd(const Active& a) const {
  size_t most = p_.config->scheduler_limits.max_inflight / 2;
  if (!a.proven) {
    most = kUnprovenEnvelopes;
    if (a.row.failures > 0) most = kProbeEnvelopes;
    if (IsHurried(a)) {
      most = std::min<size_t>(most, p_.config->mta_max_deferred);
    }
    most = std::min(most, UnprovenRoom() / kUnprovenParts);
  } else if (Headroom() > a.flying) {
    // It leaves as many as it has: two have a third each, three a quarter.
    most = std::min(most, (Headroom() + a.flying + 1) / 2);
  } else {
    most = 0;
  }
  most = std::max<size_t>(1, most);
  return most - std::min(most, a.flying);
}

// What may still go in flight.  Outcomes on their way to the disk count twice
// over at most: a slow disk stops the handing out.
size_t Scheduler::Headroom() const {
  const size_t max = p_.config->scheduler_limits.max_inflight;
  const size_t used = p_.in_flight->with_worker() + reserved_;
  const size_t held = p_.in_flight->size() + reserved_;
  if (used >= max || held >= 2 * max) return 0;
  return std::min(max - used, 2 * max - held);
}

// Batches that may still be opened over all destinations of its kind.
size_t Scheduler::BatchesLeft(const Active& a) const {
  const size_t most = MaxBatches(a);
  const size_t own = most - std::min(most, a.batches);
  if (a.row.kind == DeliveryKind::kMta) return own;
  const size_t max = p_.config->mda_limits.max_session;
  return std::min(own, max - std::min(max, mda_batches_));
}

bool Scheduler::MayRead(const Active& a) const {
  if (!running_ || !a.more || a.reading || a.rest || IsPaused(a.row.kind)) {
    return false;
  }
  if (a.postponed_until > p_.loop->Now()) return false;
  // Others wait for its place.
  if (scan_ == ScanState::kWindowFull && a.turns > 0) return false;
  return a.batches < MaxBatches(a);
}

void Scheduler::SetFlying(Active* a, size_t flying) {
  if (!a->proven) unproven_flying_ += flying - a->flying;
  a->flying = flying;
}

// ---- Turns

void Scheduler::Enqueue(Active* a) {
  if (a->place == Place::kReady || !MayRead(*a)) return;
  if (MayAdd(*a) > 0) {
    a->place = Place::kReady;
    ready_.push_back(a->row.id);
  } else if (a->proven && a->place == Place::kNone) {
    a->place = Place::kBlocked;
    blocked_.push_back(a->row.id);
  }
  // Else an answer of its own brings it back.
}

// Others have less in flight by now, perhaps.
void Scheduler::Unblock() {
  for (size_t n = std::min(blocked_.size(), kUnblockAtOnce); n > 0; --n) {
    Active* a = Find(blocked_.front());
    blocked_.pop_front();
    if (a == nullptr || a->place != Place::kBlocked) continue;
    a->place = Place::kNone;
    Enqueue(a);
    RetireIfDone(a->row.id);
  }
}

// The envelopes it may have now; 0: somebody else has to move first, unless it
// owes something.
size_t Scheduler::TakeTurn(Active* a) {
  const size_t may_add = MayAdd(*a);
  if (may_add == 0) return 0;
  const int64_t worth = static_cast<int64_t>(
      std::max(kMaxBatchMessages, Headroom() / (ready_.size() + 1)));
  a->deficit = std::min(a->deficit + worth, 2 * worth);
  if (a->deficit <= 0) return 0;  // it has paid with this turn
  // One that has nothing out may always ask: hanging ones are no reason.
  const bool shares = !a->proven && a->flying > 0;
  const size_t room =
      shares ? std::min(Headroom(), UnprovenRoom()) : Headroom();
  return std::min({static_cast<size_t>(a->deficit), room, may_add,
                   BatchesLeft(*a) * kMaxBatchMessages});
}

void Scheduler::Pump() {
  if (running_ && Headroom() > 0) Unblock();
  // Ends when somebody else has to move: debts are paid round by round.
  size_t passed = 0;
  while (passed < ready_.size()) {
    if (!running_ || readings_ >= kMaxReadings || Headroom() == 0) return;
    Active* a = Find(ready_.front());
    ready_.pop_front();
    a->place = Place::kNone;
    if (!MayRead(*a)) {
      RetireIfDone(a->row.id);
      continue;
    }
    const bool can_take = p_.outlet->CanTake(a->row.kind);
    const size_t want = can_take ? TakeTurn(a) : 0;
    if (want > 0) {
      passed = 0;
      StartReading(a, want);
      continue;
    }
    const bool paid = can_take && a->deficit <= 0;
    Enqueue(a);
    if (a->place != Place::kReady) continue;
    passed = paid ? 0 : passed + 1;
  }
}

void Scheduler::RetireIfDone(DestinationId id) {
  Active* a = Find(id);
  if (a == nullptr || a->place != Place::kNone || a->reading ||
      a->batches > 0 || a->committing > 0 || a->rest) {
    return;
  }
  const bool yields = scan_ == ScanState::kWindowFull && a->turns > 0;
  const bool waits =
      a->postponed_until > p_.loop->Now() || IsPaused(a->row.kind) || !running_;
  if (a->more && !yields && !waits) return;
  if (yields && a->more) scan_again_ = true;
  SetFlying(a, 0);
  active_.erase(id);
  if (!running_) return;
  if (scan_ == ScanState::kWindowFull) {
    ReadAgenda();
  } else {
    WakeAt(p_.loop->Now() + kLookAgain);
  }
}

void Scheduler::Rest(Active* a) {
  a->rest = p_.loop->RunAfter(kRest, [this, id = a->row.id] { Wake(id); });
}

void Scheduler::Wake(DestinationId id) {
  Active* a = Find(id);
  if (a == nullptr || !a->rest) return;
  a->rest.reset();
  a->rewind = a->more = true;
  Enqueue(a);
  RetireIfDone(id);
  Pump();
}

void Scheduler::StartReading(Active* a, size_t want) {
  LaneRequest request;
  request.destination = a->row.id;
  if (!a->rewind) request.after = a->after;
  request.now = p_.loop->Now();
  request.want = want;
  request.weight = static_cast<uint64_t>(std::max<int64_t>(1, a->deficit));
  request.skip = p_.in_flight->OfDestination(a->row.id);
  request.skip.insert(a->set_aside.begin(), a->set_aside.end());
  a->rewind = false;
  a->reading = true;
  ++readings_;
  reserved_ += want;
  ReadThenPost(
      p_.loop, p_.store,
      [request = std::move(request)](const QueueView& view) {
        return ReadLane(view, request);
      },
      guard_.Wrap(
          [this, id = a->row.id, want](absl::StatusOr<LaneContents> contents) {
            OnRead(id, want, std::move(contents));
          }));
}

void Scheduler::OnRead(DestinationId id, size_t want,
                       absl::StatusOr<LaneContents> contents) {
  --readings_;
  reserved_ -= want;
  Active* a = Find(id);
  a->reading = false;
  ++a->turns;
  if (!contents.ok()) {
    LogWarn("warn: queue: cannot read the store: %s",
            VisEncode(std::string(contents.status().message())));
    Rest(a);
  } else if (!running_ || IsPaused(a->row.kind) ||
             a->postponed_until > p_.loop->Now()) {
    a->rewind = true;  // what was read is out of date
  } else if (!contents->status.ok()) {
    a->more = a->rewind;  // gone; unless it came again meanwhile
  } else {
    HandOut(a, *std::move(contents));
  }
  a->deficit = std::max(a->deficit, -kMaxDebt);
  if (!a->more) a->deficit = std::min<int64_t>(a->deficit, 0);
  Enqueue(a);
  RetireIfDone(id);
  Pump();
}

void Scheduler::HandOut(Active* a, LaneContents contents) {
  a->row = contents.row;
  if (contents.row.postponed_until > p_.loop->Now()) {
    a->more = a->rewind;
    return;
  }
  a->after = contents.last;
  a->more = !contents.exhausted || a->rewind;
  WakeAt(contents.next_due);
  for (const auto& [id, status] : contents.unreadable) {
    // The store puts it aside; here it must only not be met again.
    LogWarn("warn: invalid envelope %s: %s", ToString(id),
            VisEncode(std::string(status.message())));
    a->set_aside.insert(id);
  }
  const auto action = p_.config->actions.find(a->row.action);
  const bool fits =
      action != p_.config->actions.end() &&
      action->second.IsLocal() == (a->row.kind == DeliveryKind::kMda);
  if (!fits) return HoldUnknownAction(a, contents);
  HoldBroken(a, &contents);
  if (a->row.kind == DeliveryKind::kMta) {
    a->sessions = MaxSessionsTo(*p_.config, action->second, a->row.routing_key);
  }
  SendBatches(a, action->second, std::move(contents));
}

void Scheduler::SendBatches(Active* a, const Action& action,
                            LaneContents contents) {
  const DestinationRow row = a->row;
  const size_t envelopes = contents.envelopes.size();
  // Its row counts those in flight; what is not due yet is not told apart.
  uint64_t waiting = 0;
  if (!contents.exhausted && row.envelopes > a->flying) {
    waiting = row.envelopes - a->flying;
  }
  size_t sent = 0;
  for (PreparedBatch& batch :
       BuildBatches(std::move(contents), action, BatchesLeft(*a),
                    {srs_ ? &*srs_ : nullptr, p_.loop->Now(),
                     p_.config->sub_addr_delim})) {
    const size_t count = batch.envelopes.size();
    const int64_t weight = WeightOf(batch);
    waiting -= std::min<uint64_t>(waiting, count);
    batch.waiting = waiting;
    const absl::Status status = p_.outlet->Send(row, action, std::move(batch));
    if (absl::IsUnavailable(status)) {
      // No worker any more, or its next hop is being asked for.  By LMTP it
      // goes to relay; that deliver is there must not make us ask again at
      // once.
      if (p_.outlet->CanTake(row.kind) && !a->rest) Rest(a);
      break;
    }
    if (!status.ok()) {
      Postpone(a, std::string(status.message()));
      break;
    }
    sent += count;
    a->deficit -= weight;
    ++a->batches;
    if (row.kind == DeliveryKind::kMda) ++mda_batches_;
    SetFlying(a, a->flying + count);
  }
  if (sent < envelopes) a->rewind = a->more = true;
}

// ---- What cannot go out is held and named, never dropped.

void Scheduler::Hold(Active* a, EnvelopeId id, const std::string& error) {
  a->set_aside.insert(id);
  ActOnEnvelope act;
  act.envelope = id;
  act.act = ActOnEnvelope::Act::kHold;
  act.error_line = error;
  p_.committer->Commit({std::move(act)}, nullptr);
}

void Scheduler::HoldUnknownAction(Active* a, const LaneContents& contents) {
  for (const Envelope& e : contents.envelopes) {
    LogWarn("warn: invalid envelope %s: unknown action \"%s\"", ToString(e.id),
            VisEncode(e.action));
    Hold(a, e.id, "Unknown action");
  }
}

void Scheduler::HoldBroken(Active* a, LaneContents* contents) {
  std::vector<Envelope> good;
  for (Envelope& e : contents->envelopes) {
    const absl::Status& status = contents->messages[MessageOf(e.id)].status;
    if (status.ok()) {
      good.push_back(std::move(e));
      continue;
    }
    LogWarn("warn: queue: held %s: cannot read its message: %s", ToString(e.id),
            VisEncode(std::string(status.message())));
    Hold(a, e.id, "Cannot read message");
  }
  contents->envelopes = std::move(good);
}

}  // namespace holdfast
