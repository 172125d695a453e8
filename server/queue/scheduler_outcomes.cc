// The scheduler's side towards what becomes of batches: what a destination has
// shown, when it is tried again (docs/ARCHITECTURE.md, scheduling).
#include <algorithm>

#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/queue/delivery_log.h"
#include "server/queue/outcomes.h"
#include "server/queue/retry_times.h"
#include "server/queue/scheduler.h"

namespace holdfast {
namespace {

// Entries of hurried_; beyond that it begins anew.
constexpr size_t kMaxHurried = 10000;

// Success of one such action says something about the others: they ask the same
// MX.
bool LooksUpMx(const Action& action) {
  return !action.IsLocal() && action.host == nullptr &&
         action.domain == nullptr;
}

}  // namespace

void Scheduler::OnAnswered(DestinationId id, size_t envelopes) {
  Active* a = Find(id);
  if (a == nullptr) return;
  SetFlying(a, a->flying - std::min(envelopes, a->flying));
  Enqueue(a);
}

void Scheduler::OnBatchOver(const FlyingBatch& batch, bool rest) {
  const DestinationId id = batch.destination;
  Active* a = Find(id);
  if (a == nullptr || a->batches == 0) return;
  --a->batches;
  if (a->row.kind == DeliveryKind::kMda) --mda_batches_;
  if (!batch.host.empty() && !batch.tried && !batch.failed) {
    p_.outlet->HostUntried(a->row, batch.host);
  }
  const bool fails_over =
      batch.failed && a->fail_overs > 0 && a->fail_overs < kMaxFailOvers;
  if (rest && !fails_over && a->postponed_until <= p_.loop->Now() && !a->rest) {
    a->fail_overs = 0;
    Rest(a);
  }
  Enqueue(a);
  RetireIfDone(id);
}

void Scheduler::OnWorks(DestinationId id, const std::string& host) {
  Active* a = Find(id);
  if (a == nullptr) return;
  if (!host.empty()) p_.outlet->HostWorks(a->row, host);
  a->fail_overs = 0;
  if (!a->proven) {
    unproven_flying_ -= a->flying;
    a->proven = true;
    HurrySisters(a->row);
  }
  if (a->row.failures > 0) {
    hurried_.erase(id);
    a->row.failures = 0;
    a->row.first_failure = absl::InfinitePast();
    a->postponed_until = absl::InfinitePast();
    RecordRow(a, absl::InfinitePast(), "");
  }
  Enqueue(a);
}

void Scheduler::OnFailed(DestinationId id, const std::string& error,
                         uint32_t round, const std::string& host) {
  Active* a = Find(id);
  if (a == nullptr) return;
  if (!host.empty() && p_.outlet->FailOver(a->row, host)) {
    ++a->fail_overs;
    return;
  }
  // Batches of one round find out the same thing; it counts once.
  if (round != a->row.failures || a->postponed_until > p_.loop->Now()) return;
  Postpone(a, error);
}

// From the first failure on by the formula; a try out of turn changes nothing
// in that.
void Scheduler::Postpone(Active* a, const std::string& error) {
  const absl::Time now = p_.loop->Now();
  if (a->row.failures == 0) a->row.first_failure = now;
  if (IsHurried(*a)) {
    hurried_[a->row.id].trying = false;
  } else {
    ++a->row.failures;
  }
  a->fail_overs = 0;
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

// ---- `mta max-deferred` (reference part 2, section 3.10): when mail for a
// domain goes out under one action, what another action has postponed for it is
// tried, once between two of its own tries.

bool Scheduler::IsHurried(const Active& a) const {
  const auto it = hurried_.find(a.row.id);
  return it != hurried_.end() && it->second.trying &&
         it->second.failures == a.row.failures;
}

void Scheduler::HurrySisters(const DestinationRow& row) {
  if (row.kind != DeliveryKind::kMta || p_.config->mta_max_deferred == 0) {
    return;
  }
  const auto own = p_.config->actions.find(row.action);
  if (own == p_.config->actions.end() || !LooksUpMx(own->second)) return;
  std::vector<Envelope> keys;
  for (const auto& [name, action] : p_.config->actions) {
    if (name == row.action || !LooksUpMx(action)) continue;
    Envelope& key = keys.emplace_back();
    key.kind = DeliveryKind::kMta;
    key.action = name;
    key.routing_key = row.routing_key;
  }
  if (keys.empty()) return;
  auto read = [keys = std::move(keys),
               now = p_.loop->Now()](const QueueView& view) {
    std::vector<DestinationRow> rows;
    for (const Envelope& key : keys) {
      absl::StatusOr<DestinationRow> found = view.DestinationOf(key);
      if (found.ok() && found->postponed_until > now) {
        rows.push_back(*std::move(found));
      }
    }
    return rows;
  };
  ReadThenPost(
      p_.loop, p_.store, std::move(read),
      guard_.Wrap([this](absl::StatusOr<std::vector<DestinationRow>> rows) {
        if (!rows.ok()) return;  // they have their own time
        for (const DestinationRow& one : *rows) Hurry(one);
      }));
}

void Scheduler::Hurry(const DestinationRow& row) {
  const auto last = hurried_.find(row.id);
  if (last != hurried_.end() && last->second.failures == row.failures) return;
  if (hurried_.size() >= kMaxHurried) hurried_.clear();
  hurried_[row.id] = {row.failures, true};
  // Not for now: that would say that it works.
  PostponeDestination record;
  record.destination = row.id;
  record.until = p_.loop->Now() + kRest;
  record.first_failure = row.first_failure;
  record.failures = row.failures;
  record.error = row.error;
  const absl::Time until = record.until;
  p_.committer->Commit({std::move(record)},
                       guard_.Wrap([this, id = row.id, until](BatchResult) {
                         if (Active* a = Find(id)) a->postponed_until = until;
                         WakeAt(until);
                       }));
}

}  // namespace holdfast
