#include "server/queue/committer.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "server/queue/deadline_times.h"
#include "server/queue/profile.h"

namespace holdfast {
namespace {

// Rough: what an operation makes the store write.
size_t BytesOf(const QueueOperation& operation) {
  constexpr size_t kEnvelopeBytes = 512;
  if (const auto* accept = std::get_if<AcceptMessage>(&operation)) {
    return accept->stored.size() + kEnvelopeBytes * accept->envelopes.size();
  }
  if (const auto* chunk = std::get_if<StoreChunk>(&operation)) {
    return chunk->bytes.size();
  }
  if (const auto* outcomes = std::get_if<RecordOutcomes>(&operation)) {
    return kEnvelopeBytes * outcomes->outcomes.size();
  }
  return kEnvelopeBytes;
}

}  // namespace

Committer::Committer(EventLoop* loop, QueueStore* store, const Config* config,
                     Hooks hooks)
    : loop_(loop), store_(store), config_(config), hooks_(std::move(hooks)) {}

Committer::Effect Committer::Prepare(QueueOperation* operation) const {
  Effect effect;
  if (auto* accept = std::get_if<AcceptMessage>(operation)) {
    // An import may find that it has some already: see OnResult().
    effect.imports = accept->origin.has_value();
    if (!effect.imports) effect.adds.enqueued = accept->envelopes.size();
    if (accept->first_deadlines.empty()) {
      for (const Envelope& e : accept->envelopes) {
        accept->first_deadlines.push_back(
            FirstDeadline(e, config_->bounce_warn));
      }
    }
    for (absl::Time t : accept->first_deadlines) {
      effect.deadline = std::min(effect.deadline, t);
    }
  } else if (const auto* record = std::get_if<RecordOutcomes>(operation)) {
    for (const EnvelopeOutcome& o : record->outcomes) {
      effect.adds.dequeued += o.result == EnvelopeOutcome::Result::kEnded;
      effect.adds.updated += o.result == EnvelopeOutcome::Result::kRetry;
      effect.adds.reports += o.report;
    }
  } else if (const auto* act = std::get_if<ActOnEnvelope>(operation)) {
    effect.adds.dequeued = act->act == ActOnEnvelope::Act::kRemove ||
                           act->act == ActOnEnvelope::Act::kExpire ||
                           act->act == ActOnEnvelope::Act::kMoved;
    effect.adds.reports = act->report;
  }
  return effect;
}

void Committer::Add(QueueBatch batch, Done done) {
  gathered_.parts.push_back({batch.size(), std::move(done)});
  for (QueueOperation& operation : batch) {
    gathered_.effects.push_back(Prepare(&operation));
    gathered_.bytes += BytesOf(operation);
    gathered_.batch.push_back(std::move(operation));
  }
}

void Committer::Commit(QueueBatch batch, Done done) {
  Add(std::move(batch), std::move(done));
  if (gathered_.bytes >= kMaxGathered) return Flush();
  if (flush_planned_) return;
  flush_planned_ = true;
  loop_->AtTurnEnd(guard_.Wrap([this] {
    flush_planned_ = false;
    Flush();
  }));
}

void Committer::CommitAlone(QueueBatch batch, Done done) {
  Flush();
  Add(std::move(batch), std::move(done));
  Flush();
}

void Committer::Flush() {
  if (gathered_.parts.empty() || failed_) return;
  Gathered gathered = std::exchange(gathered_, {});
  ++outstanding_;
  auto on_loop = guard_.Wrap(
      [this, work = ProfiledWork(gathered.batch.size()),
       effects = std::move(gathered.effects),
       parts = std::move(gathered.parts)](BatchResult& result) mutable {
        work.End();
        OnResult(std::move(effects), std::move(parts), std::move(result));
      });
  store_->Submit(
      std::move(gathered.batch),
      [loop = loop_, on_loop = std::move(on_loop)](BatchResult result) mutable {
        loop->Post([on_loop = std::move(on_loop),
                    result = std::move(result)]() mutable { on_loop(result); });
      });
}

void Committer::OnResult(std::vector<Effect> effects, std::vector<Part> parts,
                         BatchResult result) {
  --outstanding_;
  if (failed_) return;
  if (!result.status.ok()) {
    failed_ = true;
    return hooks_.on_failure(result.status);
  }
  absl::Time deadline = absl::InfiniteFuture();
  for (size_t i = 0; i < effects.size(); ++i) {
    if (!result.operations[i].status.ok()) continue;
    totals_.enqueued += effects[i].imports
                            ? result.operations[i].envelopes.size()
                            : effects[i].adds.enqueued;
    totals_.dequeued += effects[i].adds.dequeued;
    totals_.updated += effects[i].adds.updated;
    totals_.reports += effects[i].adds.reports;
    deadline = std::min(deadline, effects[i].deadline);
  }
  if (deadline != absl::InfiniteFuture()) hooks_.on_deadline(deadline);
  if (!result.lanes.empty()) hooks_.on_lanes(result.lanes);
  if (result.reports_added) hooks_.on_reports();
  const bool alone = parts.size() == 1;
  auto operation = result.operations.begin();
  for (Part& part : parts) {
    BatchResult one;
    one.reports_added = result.reports_added;
    if (alone) one.lanes = std::move(result.lanes);
    one.operations.assign(std::make_move_iterator(operation),
                          std::make_move_iterator(operation + part.operations));
    operation += part.operations;
    if (part.done) part.done(std::move(one));
  }
}

}  // namespace holdfast
