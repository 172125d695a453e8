#include "server/queue/bulk_acts.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/log/log.h"
#include "server/queue/deadline_times.h"
#include "server/queue/delivery_log.h"
#include "server/queue/move_sweep.h"
#include "server/queue/outcomes.h"

namespace holdfast {
namespace {

using Kind = EnvelopeAct::Kind;

constexpr EnhancedStatus kExpiredStatus = {5, 47};
constexpr EnhancedStatus kBouncedStatus = {5, 0};
constexpr char kExpiredText[] = "Envelope expired by administrator";

std::string EndText(const EnvelopeAct& act) {
  return act.kind == Kind::kBounce ? act.text : kExpiredText;
}

// What the act would change.
bool Wanted(const EnvelopeAct& act, const Envelope& e) {
  switch (act.kind) {
    case Kind::kHold:
      return (e.flags & kFlagHeld) == 0;
    case Kind::kRelease:
      return (e.flags & (kFlagHeld | kFlagSuspended | kFlagMoving)) != 0;
    case Kind::kSet:
      return !act.priority.has_value() || e.priority != *act.priority;
    default:
      return true;
  }
}

}  // namespace

void BulkActs::Act(std::shared_ptr<const EnvelopeAct> act,
                   const EnvelopeFilter& filter, std::vector<EnvelopeId> ids,
                   absl::AnyInvocable<void(ActCounts)> done) {
  auto slice = std::make_shared<Slice>();
  slice->act = act;
  slice->done = std::move(done);
  auto read = [act, filter, ids = std::move(ids), now = p_.loop->Now(),
               config = p_.config](const QueueView& view) {
    Found found;
    for (const EnvelopeId id : ids) {
      absl::StatusOr<EnvelopeFacts> facts = FactsOf(view, id, now);
      if (!facts.ok()) {
        ++found.counts.gone;
      } else if (!filter.Matches(*facts) ||
                 !CanAct(*act, facts->envelope, *config)) {
        ++found.counts.changed;
      } else {
        found.envelopes.push_back(std::move(facts->envelope));
      }
    }
    return found;
  };
  ReadThenPost(p_.loop, p_.store, std::move(read),
               guard_.Wrap([this, slice](absl::StatusOr<Found> found) {
                 if (found.ok()) return OnFound(slice, *std::move(found));
                 slice->counts.status = found.status();
                 slice->done(slice->counts);
               }));
}

void BulkActs::OnFound(SliceRef slice, Found found) {
  slice->counts = found.counts;
  if (slice->act->kind == Kind::kSchedule)
    return Schedule(slice, found.envelopes);
  QueueBatch batch;
  std::vector<Envelope> acted;
  std::vector<size_t> last;  // of the operations of each
  for (Envelope& e : found.envelopes) {
    if (!AfterOthers(e.id) && !Wanted(*slice->act, e)) {
      ++slice->counts.so_already;
      continue;
    }
    if (WaitForOutcome(slice, e.id)) continue;
    AddActs(*slice->act, e, &batch);
    last.push_back(batch.size() - 1);
    acted.push_back(std::move(e));
  }
  if (batch.empty()) return slice->done(slice->counts);
  p_.committer->Commit(
      std::move(batch),
      guard_.Wrap([this, slice, acted = std::move(acted),
                   last = std::move(last)](BatchResult result) {
        for (size_t i = 0; i < acted.size(); ++i) {
          const absl::Status& status = result.operations[last[i]].status;
          if (status.ok()) {
            ++slice->counts.done;
            OnDone(*slice->act, acted[i]);
          } else if (absl::IsNotFound(status)) {
            ++slice->counts.gone;
          } else if (!WaitForOutcome(slice, acted[i].id)) {
            Failed(slice, status);
          }
        }
        p_.scheduler->Pump();
        slice->done(slice->counts);
      }));
}

// One in flight is being tried: nothing is to be done about it.
void BulkActs::Schedule(SliceRef slice,
                        const std::vector<Envelope>& envelopes) {
  std::vector<EnvelopeId> ids;
  for (const Envelope& e : envelopes) {
    if (p_.in_flight->Contains(e.id)) {
      ++slice->counts.so_already;
    } else {
      ids.push_back(e.id);
    }
  }
  const uint64_t asked = ids.size();
  p_.acts->Act(OperatorAct::kSchedule, std::move(ids),
               [slice, asked](uint64_t count) {
                 slice->counts.done += count;
                 slice->counts.gone += asked - std::min(asked, count);
                 slice->done(slice->counts);
               });
}

// What it will be like then is not known.
bool BulkActs::AfterOthers(EnvelopeId id) const {
  const FlyingEnvelope* const flying = p_.in_flight->Find(id);
  return flying != nullptr && !flying->acts.empty();
}

bool BulkActs::WaitForOutcome(const SliceRef& slice, EnvelopeId id) {
  FlyingEnvelope* const flying = p_.in_flight->Find(id);
  if (flying == nullptr) return false;
  auto& acts = flying->acts;
  // The outcome itself knows of removals.
  if (slice->act->kind == Kind::kRemove) {
    flying->remove = true;
  } else if (std::find(acts.begin(), acts.end(), slice->act) != acts.end()) {
    // Met twice.
  } else if (acts.size() < kMaxWaitingActs) {
    acts.push_back(slice->act);
  } else {
    Failed(slice, absl::ResourceExhaustedError(
                      "too many acts wait for the end of its attempt"));
    return true;
  }
  ++slice->counts.waiting;
  return true;
}

void BulkActs::Failed(const SliceRef& slice, const absl::Status& why) {
  ++slice->counts.failed;
  if (slice->counts.why.ok()) slice->counts.why = why;
}

void BulkActs::AddActs(const EnvelopeAct& act, const Envelope& envelope,
                       QueueBatch* batch) const {
  ActOnEnvelope one;
  one.envelope = envelope.id;
  switch (act.kind) {
    case Kind::kRemove:
      one.act = MayEndMove(envelope) ? ActOnEnvelope::Act::kMoved
                                     : ActOnEnvelope::Act::kRemove;
      break;
    case Kind::kHold:
      one.act = ActOnEnvelope::Act::kHold;
      break;
    case Kind::kRelease:
      // What held it before the move holds it again.
      if (MayEndMove(envelope)) {
        one.act = ActOnEnvelope::Act::kMoveBack;
        break;
      }
      if (envelope.flags & kFlagSuspended) {
        one.act = ActOnEnvelope::Act::kResume;
        batch->push_back(one);
      }
      one.act = ActOnEnvelope::Act::kRelease;
      break;
    case Kind::kSchedule:
      one.act = ActOnEnvelope::Act::kSchedule;
      one.due = p_.loop->Now();
      break;
    case Kind::kExpire:
    case Kind::kBounce:
      one = Ended(act, envelope);
      break;
    case Kind::kReroute:
      one = Rerouted(act, envelope);
      break;
    case Kind::kSet:
      one = Changed(act, envelope);
      break;
  }
  batch->push_back(std::move(one));
}

ActOnEnvelope BulkActs::Ended(const EnvelopeAct& act,
                              const Envelope& envelope) const {
  ActOnEnvelope one;
  one.envelope = envelope.id;
  one.act = ActOnEnvelope::Act::kExpire;
  one.report = NoticeOfFailure(envelope) == FailureNotice::kReport;
  const bool bounced = act.kind == Kind::kBounce;
  one.status = bounced ? kBouncedStatus : kExpiredStatus;
  one.error_line = EndText(act);
  if (!bounced && !envelope.error_line.empty())
    one.error_line = CutErrorLine(
        absl::StrCat(one.error_line, " (", envelope.error_line, ")"));
  return one;
}

ActOnEnvelope BulkActs::Rerouted(const EnvelopeAct& act,
                                 const Envelope& envelope) const {
  ActOnEnvelope one;
  one.envelope = envelope.id;
  one.act = ActOnEnvelope::Act::kReroute;
  one.due = p_.loop->Now();
  one.kind = act.local ? DeliveryKind::kMda : DeliveryKind::kMta;
  one.action = act.action.empty() ? envelope.action : act.action;
  if (!act.next_hop.empty()) {
    one.routing_key = act.next_hop;
  } else if (act.local) {
    one.routing_key = envelope.routing_key;
  } else {
    one.routing_key = absl::AsciiStrToLower(envelope.dest.domain);
  }
  return one;
}

ActOnEnvelope BulkActs::Changed(const EnvelopeAct& act,
                                const Envelope& envelope) const {
  ActOnEnvelope one;
  one.envelope = envelope.id;
  one.act = ActOnEnvelope::Act::kSet;
  one.priority = act.priority;
  if (!act.expires_in.has_value() && !act.ttl.has_value()) return one;
  Envelope after = envelope;
  after.expires = act.ttl.has_value() ? envelope.Released() + *act.ttl
                                      : p_.loop->Now() + *act.expires_in;
  one.expires = after.expires;
  one.next_deadline = FirstDeadline(after, p_.config->bounce_warn);
  return one;
}

void BulkActs::OnDone(const EnvelopeAct& act, const Envelope& envelope) {
  const absl::Time now = p_.loop->Now();
  switch (act.kind) {
    case Kind::kRemove:
      ++removed_;
      return LogLine(
          LogLevel::kInfo,
          EndingLogLine(envelope, "Remove", "Removed by administrator", now));
    case Kind::kExpire:
    case Kind::kBounce: {
      ++expired_;
      const bool bounced = act.kind == Kind::kBounce;
      LogLine(LogLevel::kInfo,
              EndingLogLine(envelope, bounced ? "Bounce" : "Expire",
                            EndText(act), now));
      const absl::string_view warning = WarningOf(NoticeOfFailure(envelope));
      if (!warning.empty()) LogLine(LogLevel::kWarning, warning);
      return;
    }
    case Kind::kSet:
      if (!act.priority.has_value()) p_.note_deadline(now);
      return;
    // It may have expired while it was held.
    case Kind::kRelease:
      return p_.note_deadline(now);
    default:
      return;
  }
}

void BulkActs::AfterFlight(const FlyingEnvelope& envelope) {
  if (!envelope.remove) ActNext(envelope.id, envelope.acts);
}

void BulkActs::ActNext(EnvelopeId id,
                       std::vector<std::shared_ptr<const EnvelopeAct>> acts) {
  if (acts.empty()) return;
  const std::shared_ptr<const EnvelopeAct> first = acts.front();
  acts.erase(acts.begin());
  Act(first, EnvelopeFilter(), {id},
      guard_.Wrap([this, id, acts = std::move(acts)](ActCounts) mutable {
        ActNext(id, std::move(acts));
      }));
}

}  // namespace holdfast
