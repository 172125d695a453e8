#include "server/queue/outcome_recorder.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "server/log/log.h"
#include "server/queue/delivery_log.h"

namespace holdfast {
namespace {

using Result = WorkerOutcome::Result;

constexpr char kNoAnswer[] = "Worker gave no answer";
// How long an outcome waits for room on a full disk before it is offered again.
constexpr absl::Duration kRecordRetry = absl::Seconds(1);

}  // namespace

void OutcomeRecorder::OnOutcomes(WorkerId worker, BatchOutcomes outcomes) {
  const BatchKey key(worker, outcomes.batch);
  FlyingBatch* batch = p_.in_flight->FindBatch(key);
  if (batch == nullptr) {
    // Told again by a worker that had not heard that it is on the disk.
    OutcomesRecorded recorded;
    recorded.batch = outcomes.batch;
    recorded.sequence = outcomes.sequence;
    return p_.doors->Send(worker, recorded);
  }
  if (batch->kept) return LoadKept(worker, std::move(outcomes));
  Record(key, outcomes);
}

// Claims of an earlier start come without envelopes.
void OutcomeRecorder::LoadKept(WorkerId worker, BatchOutcomes outcomes) {
  const BatchKey key(worker, outcomes.batch);
  auto read =
      [ids = p_.in_flight->FindBatch(key)->envelopes](const QueueView& view) {
        std::vector<Envelope> envelopes;
        for (EnvelopeId id : ids) {
          absl::StatusOr<Envelope> e = view.FindEnvelope(id);
          if (e.ok()) envelopes.push_back(*std::move(e));
        }
        return envelopes;
      };
  ReadThenPost(p_.loop, p_.store, std::move(read),
               guard_.Wrap([this, key, outcomes = std::move(outcomes)](
                               absl::StatusOr<std::vector<Envelope>> loaded) {
                 if (!loaded.ok()) {
                   LogWarn("warn: queue: cannot read the store: %s",
                           std::string(loaded.status().message()));
                   return;  // the worker keeps them; the claim stays
                 }
                 for (Envelope& e : *loaded) {
                   if (FlyingEnvelope* f = p_.in_flight->Find(e.id)) {
                     f->envelope = std::move(e);
                   }
                 }
                 if (p_.in_flight->FindBatch(key) != nullptr) {
                   Record(key, outcomes);
                 }
               }));
}

void OutcomeRecorder::Take(const WorkerOutcome& outcome,
                           FlyingEnvelope* envelope, Recording* recording) {
  Envelope unknown;  // its record can't be read: nothing can be said of it
  unknown.id = envelope->id;
  unknown.kind = recording->kind;
  Recording::Item item;
  item.said = outcome.result;
  const Envelope& known = envelope->envelope ? *envelope->envelope : unknown;
  item.verdict = Judge(known, outcome, envelope->remove, p_.loop->Now());
  item.verdict.record.attempt = AttemptOf(
      known, outcome, {recording->source, recording->relay, recording->tls});
  if (p_.config->hold_doubts && HoldDoubt(&item.verdict)) {
    LogWarn("warn: queue: envelope %s is in doubt and held",
            ToString(envelope->id));
  }
  p_.in_flight->SetRecording(envelope);
  recording->items.push_back(std::move(item));
}

// The worker says that it has nothing more, but has not told of all.
void OutcomeRecorder::TakeUnanswered(FlyingBatch* batch, Recording* recording) {
  for (EnvelopeId id : batch->envelopes) {
    FlyingEnvelope* e = p_.in_flight->Find(id);
    if (e->state != FlyingEnvelope::State::kWithWorker) continue;
    WorkerOutcome outcome;
    outcome.envelope = id;
    outcome.result = batch->told ? Result::kInDoubt : Result::kReturned;
    outcome.text = kNoAnswer;
    outcome.began = e->since;
    outcome.took = p_.loop->Now() - e->since;
    Take(outcome, e, recording);
  }
}

void OutcomeRecorder::Record(const BatchKey& key,
                             const BatchOutcomes& outcomes) {
  FlyingBatch* batch = p_.in_flight->FindBatch(key);
  Recording r;
  r.key = key;
  r.destination = batch->destination;
  r.kind = batch->kind;
  r.session = outcomes.session;
  r.source = outcomes.source;
  r.relay = outcomes.relay;
  r.tls = outcomes.tls;
  r.sequence = outcomes.sequence;
  for (const WorkerOutcome& outcome : outcomes.outcomes) {
    FlyingEnvelope* e = p_.in_flight->Find(outcome.envelope);
    const bool fits = e != nullptr && e->batch == key &&
                      e->state == FlyingEnvelope::State::kWithWorker;
    if (fits) Take(outcome, e, &r);
  }
  if (outcomes.finished) TakeUnanswered(batch, &r);
  TellScheduler(batch, outcomes, r);

  const auto recording = std::make_shared<Recording>(std::move(r));
  CommitUntilRecorded(
      [recording] {
        RecordOutcomes record;
        record.worker = recording->key.first;
        record.batch = recording->key.second;
        for (const Recording::Item& item : recording->items) {
          record.outcomes.push_back(item.verdict.record);
        }
        return QueueBatch{std::move(record)};
      },
      [this, recording](const BatchResult& result) {
        if (!result.operations[0].status.ok()) {
          LogWarn("warn: queue: outcomes: %s",
                  std::string(result.operations[0].status.message()));
        }
        OnRecorded(std::move(*recording));
      });
  p_.scheduler->Pump();
}

// At once: the next batch need not wait for the commit.
void OutcomeRecorder::TellScheduler(FlyingBatch* batch,
                                    const BatchOutcomes& outcomes,
                                    const Recording& recording) {
  for (const Recording::Item& item : recording.items) {
    if (item.said != Result::kReturned) batch->tried = true;
  }
  if (!batch->kept) {
    p_.scheduler->OnAnswered(batch->destination, recording.items.size());
    if (!outcomes.destination_failure.empty()) {
      batch->failed = true;
      p_.scheduler->OnFailed(batch->destination, outcomes.destination_failure,
                             batch->round, batch->host);
    } else if (batch->tried) {
      p_.scheduler->OnWorks(batch->destination, batch->host);
    }
  }
  if (batch->with_worker == 0) EndBatch(batch, !batch->tried);
}

void OutcomeRecorder::EndBatch(FlyingBatch* batch, bool untried) {
  if (batch->over) return;
  batch->over = true;
  if (batch->kept) return;
  p_.doors->CountBatch(batch->key.first, -1);
  p_.scheduler->OnBatchOver(*batch, untried);
}

void OutcomeRecorder::OnRecorded(Recording r) {
  bool returned = false;
  for (const Recording::Item& item : r.items) {
    const FlyingEnvelope* e = p_.in_flight->Find(item.verdict.record.envelope);
    // Gone: its claim had failed, so this was never recorded.
    if (e == nullptr || e->batch != r.key) continue;
    if (e->envelope) LogAndCount(*e->envelope, r, item);
    const bool queued =
        item.verdict.record.result != EnvelopeOutcome::Result::kEnded;
    returned |= queued;
    Leave(item.verdict.record.envelope, queued);
  }
  OutcomesRecorded recorded;
  recorded.batch = r.key.second;
  recorded.sequence = r.sequence;
  p_.doors->Send(r.key.first, recorded);
  if (returned) LookAgain(r.destination, r.kind);
  p_.scheduler->Pump();
}

void OutcomeRecorder::LogAndCount(const Envelope& envelope, const Recording& r,
                                  const Recording::Item& item) {
  const Verdict& v = item.verdict;
  if (!v.result.empty()) {
    DeliveryLine line;
    line.session = r.session;
    line.source = r.source;
    line.relay = r.relay;
    line.result = v.result;
    line.stat = v.stat;
    LogLine(LogLevel::kInfo, DeliveryLogLine(envelope, line, p_.loop->Now()));
  }
  if (!v.warning.empty()) LogLine(LogLevel::kWarning, v.warning);
  counts_.ok += item.said == Result::kOk;
  counts_.tempfail +=
      item.said == Result::kTempFail || item.said == Result::kInDoubt;
  counts_.permfail += item.said == Result::kPermFail;
  counts_.loop += item.said == Result::kLoop;
  if (v.record.result == EnvelopeOutcome::Result::kEnded &&
      v.record.ending == Ending::kRemoved) {
    ++counts_.removed;
    LogLine(LogLevel::kInfo,
            EndingLogLine(envelope, "Remove", "Removed by administrator",
                          p_.loop->Now()));
  }
}

void OutcomeRecorder::Leave(EnvelopeId id, bool queued) {
  const FlyingEnvelope e = *p_.in_flight->Find(id);
  p_.in_flight->Remove(id);
  const bool waits = e.remove || e.suspend || e.deadline || !e.acts.empty();
  if (queued && waits) p_.on_still_queued(e);
}

void OutcomeRecorder::LookAgain(DestinationId destination, DeliveryKind kind) {
  if (destination == DestinationId(0)) {
    p_.scheduler->Scan();  // of an earlier start: not known whose
  } else {
    p_.scheduler->Touch(destination, kind);
  }
}

void OutcomeRecorder::Release(const BatchKey& key) {
  FlyingBatch* batch = p_.in_flight->FindBatch(key);
  if (batch == nullptr) return;
  ReleaseClaim release;
  release.worker = key.first;
  release.batch = key.second;
  // Without "claimed" the worker cannot have sent the final dot.
  release.in_doubt = batch->told;
  release.hold = p_.config->hold_doubts;
  std::vector<EnvelopeId> ids;
  for (EnvelopeId id : batch->envelopes) {
    FlyingEnvelope* e = p_.in_flight->Find(id);
    if (e->state != FlyingEnvelope::State::kWithWorker) continue;
    ids.push_back(id);
    p_.in_flight->SetRecording(e);
  }
  if (ids.empty()) return;
  if (batch->told) {
    LogWarn("warn: queue: a worker is gone: %d envelopes are in doubt%s",
            ids.size(), release.hold ? " and held" : "");
  }
  if (!batch->kept) p_.scheduler->OnAnswered(batch->destination, ids.size());
  EndBatch(batch, false);
  CommitUntilRecorded(
      [release] { return QueueBatch{release}; },
      [this, ids = std::move(ids), destination = batch->destination,
       kind = batch->kind](const BatchResult&) {
        for (EnvelopeId id : ids) {
          if (p_.in_flight->Contains(id)) Leave(id, true);
        }
        LookAgain(destination, kind);
        p_.scheduler->Pump();
      });
}

void OutcomeRecorder::CommitUntilRecorded(
    std::function<QueueBatch()> make,
    std::function<void(const BatchResult&)> done) {
  QueueBatch batch = make();
  p_.committer->Commit(
      std::move(batch),
      guard_.Wrap([this, make = std::move(make),
                   done = std::move(done)](BatchResult result) mutable {
        if (!absl::IsResourceExhausted(result.operations[0].status)) {
          done(result);
          return;
        }
        const uint64_t retry = ++next_retry_;
        retries_[retry] = p_.loop->RunAfter(
            kRecordRetry, [this, retry, make = std::move(make),
                           done = std::move(done)]() mutable {
              const EventLoop::Timer spent = std::move(retries_[retry]);
              retries_.erase(retry);
              CommitUntilRecorded(std::move(make), std::move(done));
            });
      }));
}

void OutcomeRecorder::OnClaimFailed(const FlyingBatch& batch, bool no_room) {
  if (!batch.over) {
    p_.scheduler->OnAnswered(batch.destination, batch.with_worker);
    // Without room it rests a moment, lest a full disk that takes no claim be
    // asked without end.
    p_.scheduler->OnBatchOver(batch, /*rest=*/no_room);
  }
  p_.scheduler->Touch(batch.destination, batch.kind);
  p_.scheduler->Pump();
}

}  // namespace holdfast
