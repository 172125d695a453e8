#include "server/queue/scheduler.h"

#include <algorithm>

#include "config/relay_sender.h"
#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/queue/delivery_log.h"
#include "server/queue/outcomes.h"
#include "server/queue/retry_times.h"
#include "server/tls/sha1.h"

namespace holdfast {

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
  if (a.row.kind == DeliveryKind::kMda) {
    return std::min<size_t>(kMaxAgentsPerUser,
                            p_.config->mda_limits.max_session_per_user);
  }
  const MtaLimits& limits = p_.config->LimitsFor(a.row.routing_key);
  return std::min({limits.max_conn_per_relay, limits.max_conn_per_domain,
                   limits.max_conn_per_connector});
}

size_t Scheduler::MaxFlying(const Active& a) const {
  if (!a.proven) return kUnprovenEnvelopes;
  return std::max<size_t>(kUnprovenEnvelopes,
                          p_.config->scheduler_limits.max_inflight / 2);
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
  const size_t own = MaxBatches(a) - a.batches;
  if (a.row.kind == DeliveryKind::kMta) return own;
  const size_t max = p_.config->mda_limits.max_session;
  return std::min(own, max - std::min(max, mda_batches_));
}

// A destination's turn: its part of the headroom, a full batch at least.
size_t Scheduler::Share(const Active& a) const {
  size_t headroom = Headroom();
  if (!a.proven) {
    const size_t half =
        std::max<size_t>(1, p_.config->scheduler_limits.max_inflight / 2);
    if (unproven_flying_ >= half) return 0;
    headroom = std::min(headroom, half - unproven_flying_);
  }
  const size_t share =
      std::max(kMaxBatchMessages, headroom / (ready_.size() + 1));
  // The rest of a message may have gone beyond the limit.
  const size_t left = MaxFlying(a) - std::min(MaxFlying(a), a.flying);
  return std::min({share, headroom, left, BatchesLeft(a) * kMaxBatchMessages});
}

bool Scheduler::MayRead(const Active& a) const {
  if (!running_ || !a.more || a.reading || a.rest || IsPaused(a.row.kind)) {
    return false;
  }
  if (a.postponed_until > p_.loop->Now()) return false;
  // Others wait for its place.
  if (scan_ == ScanState::kWindowFull && a.turns > 0) return false;
  return a.batches < MaxBatches(a) && a.flying < MaxFlying(a);
}

void Scheduler::SetFlying(Active* a, size_t flying) {
  if (!a->proven) unproven_flying_ += flying - a->flying;
  a->flying = flying;
}

// ---- Turns

void Scheduler::Enqueue(Active* a) {
  if (a->queued || !MayRead(*a)) return;
  a->queued = true;
  ready_.push_back(a->row.id);
}

void Scheduler::Pump() {
  for (size_t turns = ready_.size(); turns > 0; --turns) {
    if (!running_ || readings_ >= kMaxReadings || Headroom() == 0) return;
    Active* a = Find(ready_.front());
    ready_.pop_front();
    a->queued = false;
    if (!MayRead(*a)) {
      RetireIfDone(a->row.id);
      continue;
    }
    const size_t want = p_.outlet->CanTake(a->row.kind) ? Share(*a) : 0;
    if (want == 0) {
      Enqueue(a);
    } else {
      StartReading(a, want);
    }
  }
}

void Scheduler::RetireIfDone(DestinationId id) {
  Active* a = Find(id);
  if (a == nullptr || a->queued || a->reading || a->batches > 0 ||
      a->committing > 0 || a->rest) {
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
  a->rest = p_.loop->RunAfter(kRest, [this, id = a->row.id] {
    Active* a = Find(id);
    if (a == nullptr) return;
    a->rest.reset();
    a->rewind = a->more = true;
    Enqueue(a);
    RetireIfDone(id);
    Pump();
  });
}

void Scheduler::StartReading(Active* a, size_t want) {
  LaneRequest request;
  request.destination = a->row.id;
  if (!a->rewind) request.after = a->after;
  request.now = p_.loop->Now();
  request.want = want;
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
  SendBatches(a, action->second, std::move(contents));
}

void Scheduler::SendBatches(Active* a, const Action& action,
                            LaneContents contents) {
  const DestinationRow row = a->row;
  const size_t envelopes = contents.envelopes.size();
  size_t sent = 0;
  for (PreparedBatch& batch :
       BuildBatches(std::move(contents), action, BatchesLeft(*a),
                    {srs_ ? &*srs_ : nullptr, p_.loop->Now()})) {
    const size_t count = batch.envelopes.size();
    const absl::Status status = p_.outlet->Send(row, action, std::move(batch));
    if (absl::IsUnavailable(status)) break;  // no worker any more
    if (!status.ok()) {
      Postpone(a, std::string(status.message()));
      break;
    }
    sent += count;
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

// ---- Outcomes

void Scheduler::OnAnswered(DestinationId id, size_t envelopes) {
  Active* a = Find(id);
  if (a == nullptr) return;
  SetFlying(a, a->flying - std::min(envelopes, a->flying));
  Enqueue(a);
}

void Scheduler::OnBatchOver(DestinationId id, bool untried) {
  Active* a = Find(id);
  if (a == nullptr || a->batches == 0) return;
  --a->batches;
  if (a->row.kind == DeliveryKind::kMda) --mda_batches_;
  if (untried && a->postponed_until <= p_.loop->Now() && !a->rest) Rest(a);
  Enqueue(a);
  RetireIfDone(id);
}

void Scheduler::OnWorks(DestinationId id) {
  Active* a = Find(id);
  if (a == nullptr) return;
  if (!a->proven) unproven_flying_ -= a->flying;
  a->proven = true;
  if (a->row.failures > 0) {
    a->row.failures = 0;
    a->row.first_failure = absl::InfinitePast();
    a->postponed_until = absl::InfinitePast();
    RecordRow(a, absl::InfinitePast(), "");
  }
  Enqueue(a);
}

void Scheduler::OnFailed(DestinationId id, const std::string& error,
                         uint32_t round) {
  Active* a = Find(id);
  // Batches of one round find out the same thing; it counts once.
  if (a == nullptr || round != a->row.failures) return;
  Postpone(a, error);
}

void Scheduler::Postpone(Active* a, const std::string& error) {
  const absl::Time now = p_.loop->Now();
  if (a->row.failures == 0) a->row.first_failure = now;
  ++a->row.failures;
  a->postponed_until = QuadraticTime(
      a->row.first_failure, RetryBase(a->row.kind), a->row.failures, now);
  if (a->proven && a->row.kind == DeliveryKind::kMta) {
    a->proven = false;
    unproven_flying_ += a->flying;
  }
  LogInfo(
      "smtp-out: Destination %s (action \"%s\") failed, next try in %s, "
      "%d envelopes: %s",
      VisEncode(a->row.routing_key), VisEncode(a->row.action),
      FormatDelay(a->postponed_until - now), a->row.envelopes,
      VisEncode(error));
  RecordRow(a, a->postponed_until, CutErrorLine(error));
}

void Scheduler::RecordRow(Active* a, absl::Time until,
                          const std::string& error) {
  PostponeDestination record;
  record.destination = a->row.id;
  record.until = until;
  record.first_failure = a->row.first_failure;
  record.failures = a->row.failures;
  record.error = error;
  ++a->committing;
  p_.committer->Commit({std::move(record)},
                       guard_.Wrap([this, id = a->row.id, until](BatchResult) {
                         WakeAt(until);
                         Active* a = Find(id);
                         if (a == nullptr) return;
                         --a->committing;
                         RetireIfDone(id);
                       }));
}

void Scheduler::ForgetPostponement(DestinationId id) {
  Active* a = Find(id);
  if (a == nullptr) return;
  a->postponed_until = absl::InfinitePast();
  a->rewind = a->more = true;
  a->rest.reset();
  Enqueue(a);
  Pump();
}

}  // namespace holdfast
