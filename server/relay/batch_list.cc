#include "server/relay/batch_list.h"

#include <utility>

#include "server/relay/route_policy.h"

namespace holdfast {

std::shared_ptr<BatchWork> BatchList::Begin(RelayBatch batch) {
  const BatchId id = batch.batch;
  if (batches_.count(id) > 0) return nullptr;
  auto work = std::make_shared<BatchWork>(std::move(batch));
  batches_[id] = work;
  book_.Begin(id);
  return work;
}

std::shared_ptr<BatchWork> BatchList::Find(BatchId batch) const {
  const auto it = batches_.find(batch);
  return it == batches_.end() ? nullptr : it->second;
}

void BatchList::Decide(BatchWork* work, size_t message, size_t recipient,
                       const RelayVia& via, WorkerOutcome outcome) {
  if (work->decided[message][recipient]) return;
  work->decided[message][recipient] = true;
  const BatchId id = work->batch.batch;
  book_.Add(id, via, std::move(outcome));
  if (--work->undecided > 0) return;
  book_.Finish(id, "");
  batches_.erase(id);
}

void BatchList::DecideAll(BatchWork* work, size_t keep,
                          const WorkerOutcome& outcome,
                          const std::string& failure) {
  const std::shared_ptr<BatchWork> held = Find(work->batch.batch);
  if (held == nullptr) return;
  RelayVia via;
  via.relay = TargetDomain(work->batch.target);
  for (size_t m = 0; m < work->batch.messages.size(); ++m) {
    if (m == keep) continue;
    const BatchMessage& message = work->batch.messages[m];
    for (size_t r = 0; r < message.recipients.size(); ++r) {
      if (work->decided[m][r]) continue;
      work->decided[m][r] = true;
      --work->undecided;
      WorkerOutcome one = outcome;
      one.envelope = message.recipients[r].envelope;
      book_.Add(work->batch.batch, via, std::move(one));
    }
  }
  if (work->undecided > 0) return;
  book_.Finish(work->batch.batch, failure);
  batches_.erase(work->batch.batch);
}

void BatchList::Return(BatchWork* work, size_t keep) {
  work->stopped = true;
  WorkerOutcome outcome;
  outcome.result = WorkerOutcome::Result::kReturned;
  DecideAll(work, keep, outcome, "");
}

void BatchList::Forget(BatchWork* work) {
  work->stopped = true;
  Forget(work->batch.batch);
}

void BatchList::Forget(BatchId batch) {
  book_.Forget(batch);
  batches_.erase(batch);
}

}  // namespace holdfast
