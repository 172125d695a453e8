#include "server/queue/operator_acts.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "server/log/log.h"
#include "server/queue/delivery_log.h"
#include "server/queue/move_sweep.h"

namespace holdfast {
namespace {

bool IsHeldInDoubt(const Envelope& envelope) {
  constexpr uint32_t kBoth = kFlagHeld | kFlagInDoubt;
  return (envelope.flags & kBoth) == kBoth;
}

// What resumes is a suspension, or else the hold of an attempt in doubt.
ActOnEnvelope::Act StoreAct(OperatorAct act, const Envelope& envelope) {
  switch (act) {
    case OperatorAct::kSchedule:
      return ActOnEnvelope::Act::kSchedule;
    case OperatorAct::kRemove:
      return MayEndMove(envelope) ? ActOnEnvelope::Act::kMoved
                                  : ActOnEnvelope::Act::kRemove;
    case OperatorAct::kPause:
      return ActOnEnvelope::Act::kSuspend;
    case OperatorAct::kResume:
      break;
  }
  if (MayEndMove(envelope)) return ActOnEnvelope::Act::kMoveBack;
  return (envelope.flags & kFlagSuspended) != 0 ? ActOnEnvelope::Act::kResume
                                                : ActOnEnvelope::Act::kRelease;
}

}  // namespace

void OperatorActs::Act(OperatorAct act, std::vector<EnvelopeId> envelopes,
                       absl::AnyInvocable<void(uint64_t)> done) {
  if (act == OperatorAct::kSchedule && !envelopes.empty()) p_.enable_routes();
  auto job = std::make_shared<Job>();
  job->act = act;
  job->envelopes = std::move(envelopes);
  job->done = std::move(done);
  p_.loop->Post(guard_.Wrap([this, job] { NextSlice(job); }));
}

void OperatorActs::NextSlice(JobRef job) {
  std::vector<EnvelopeId> rest;
  while (job->next < job->envelopes.size() && rest.size() < kSlice) {
    const EnvelopeId id = job->envelopes[job->next++];
    if (p_.in_flight->Contains(id)) {
      job->count += ActInFlight(job->act, id);
    } else {
      rest.push_back(id);
    }
  }
  if (!rest.empty()) return ReadSlice(job, std::move(rest));
  if (job->done) job->done(job->count);
}

// A running attempt goes on; the act waits for its outcome.
bool OperatorActs::ActInFlight(OperatorAct act, EnvelopeId id) {
  FlyingEnvelope* e = p_.in_flight->Find(id);
  switch (act) {
    case OperatorAct::kSchedule:
      return false;
    case OperatorAct::kRemove:
      return !std::exchange(e->remove, true);
    case OperatorAct::kPause:
      return !std::exchange(e->suspend, true);
    case OperatorAct::kResume:
      return std::exchange(e->suspend, false);
  }
  return false;
}

void OperatorActs::ReadSlice(JobRef job, std::vector<EnvelopeId> ids) {
  auto read = [ids = std::move(ids),
               schedule =
                   job->act == OperatorAct::kSchedule](const QueueView& view) {
    std::vector<Found> found;
    for (EnvelopeId id : ids) {
      absl::StatusOr<Envelope> e = view.FindEnvelope(id);
      if (!e.ok()) continue;
      Found& one = found.emplace_back();
      one.envelope = *std::move(e);
      if (!schedule) continue;
      absl::StatusOr<DestinationRow> row = view.DestinationOf(one.envelope);
      if (row.ok()) one.destination = *std::move(row);
    }
    return found;
  };
  ReadThenPost(
      p_.loop, p_.store, std::move(read),
      guard_.Wrap([this, job](absl::StatusOr<std::vector<Found>> found) {
        if (found.ok()) return CommitSlice(job, *std::move(found));
        LogWarn("warn: queue: cannot read the store: %s",
                std::string(found.status().message()));
        if (job->done) job->done(job->count);
      }));
}

bool OperatorActs::Wanted(OperatorAct act, const Envelope& envelope) const {
  const bool suspended = (envelope.flags & kFlagSuspended) != 0;
  if (act == OperatorAct::kPause) return !suspended;
  if (act == OperatorAct::kResume)
    return suspended || IsHeldInDoubt(envelope) || MayEndMove(envelope);
  return true;
}

void OperatorActs::CommitSlice(JobRef job, std::vector<Found> found) {
  const OperatorAct act = job->act;
  found.erase(
      std::remove_if(found.begin(), found.end(),
                     [&](const Found& f) { return !Wanted(act, f.envelope); }),
      found.end());
  QueueBatch batch;
  std::set<DestinationId> hurried;
  for (const Found& f : found) {
    ActOnEnvelope one;
    one.envelope = f.envelope.id;
    one.act = StoreAct(act, f.envelope);
    one.due = p_.loop->Now();
    batch.push_back(std::move(one));
  }
  for (const Found& f : found) {
    if (hurried.insert(f.destination.id).second) Hurry(f.destination, &batch);
  }
  p_.committer->Commit(
      std::move(batch),
      guard_.Wrap([this, job, found = std::move(found)](BatchResult result) {
        for (size_t i = 0; i < found.size(); ++i) {
          const EnvelopeId id = found[i].envelope.id;
          if (result.operations[i].status.ok()) {
            ++job->count;
            OnDone(job->act, found[i]);
          } else if (p_.in_flight->Contains(id)) {
            // Went in flight since we looked.
            job->count += ActInFlight(job->act, id);
          }
        }
        p_.scheduler->Pump();
        NextSlice(job);
      }));
}

// Scheduling by hand goes before the postponement of the destination, and
// begins its count of failures anew.
void OperatorActs::Hurry(const DestinationRow& destination, QueueBatch* batch) {
  if (destination.id == DestinationId(0) ||
      destination.postponed_until <= p_.loop->Now()) {
    return;
  }
  PostponeDestination now;
  now.destination = destination.id;
  now.until = absl::UnixEpoch();
  now.error = destination.error;
  batch->push_back(std::move(now));
}

void OperatorActs::OnDone(OperatorAct act, const Found& found) {
  switch (act) {
    case OperatorAct::kSchedule:
      p_.scheduler->ForgetPostponement(found.destination.id);
      break;
    case OperatorAct::kRemove:
      ++removed_;
      LogLine(LogLevel::kInfo,
              EndingLogLine(found.envelope, "Remove",
                            "Removed by administrator", p_.loop->Now()));
      break;
    case OperatorAct::kResume:
      p_.look_at_deadline(found.envelope.id);
      break;
    case OperatorAct::kPause:
      break;
  }
}

void OperatorActs::AfterFlight(const FlyingEnvelope& envelope) {
  if (envelope.remove) {
    return Act(OperatorAct::kRemove, {envelope.id}, nullptr);
  }
  if (envelope.suspend) Act(OperatorAct::kPause, {envelope.id}, nullptr);
}

}  // namespace holdfast
