#include "server/deliver/deliver_room.h"

#include <sys/resource.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "server/deliver/split_batch.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

// What the machine has room for: memory, and a descriptor for each door.
size_t IdleAgents() {
  constexpr uint64_t kMin = 50;
  constexpr uint64_t kOtherDescriptors = 400;
  struct sysinfo machine = {};
  rlimit descriptors = {};
  if (sysinfo(&machine) != 0 || getrlimit(RLIMIT_NOFILE, &descriptors) != 0)
    return kMin;
  const uint64_t memory = uint64_t{machine.totalram} * machine.mem_unit;
  const uint64_t doors =
      descriptors.rlim_cur -
      std::min<uint64_t>(descriptors.rlim_cur, kOtherDescriptors);
  return std::clamp<uint64_t>(std::min(memory / 16 / kIdleAgentBytes, doors),
                              kMin, kMaxIdleAgents);
}

}  // namespace

DeliverRoom::DeliverRoom(RoomContext context)
    : context_(std::move(context)),
      pool_(context_.loop, context_.parent, context_.random,
            {context_.config->mda_limits.max_session,
             context_.config->mda_limits.max_session_per_user, IdleAgents()}) {}

// Runs refer to the pool and go before it.
DeliverRoom::~DeliverRoom() { batches_.clear(); }

void DeliverRoom::OnDoor(const NewDoor& to, std::unique_ptr<Door> door) {
  if (to.peer != Room::kQueue) return;
  if (queue_ != nullptr) OnQueueClosed();
  queue_ = std::move(door);
  queue_->SetCallbacks([this](Frame& frame) { OnQueueFrame(frame); },
                       [this](absl::Status) { OnQueueClosed(); });
  WorkerState state;
  for (const auto& [batch, entry] : batches_) state.batches.push_back(batch);
  queue_->Send(state);
  for (const auto& [batch, entry] : batches_) {
    for (const auto& [sequence, outcomes] : entry.told) queue_->Send(outcomes);
  }
}

bool DeliverRoom::OnParentFrame(Frame& frame) {
  if (frame.type == AgentReady::kType) {
    OwnedFd fd;
    if (!frame.fds.empty()) fd = std::move(frame.fds[0]);
    return Dispatch<AgentReady>(
        frame, [&](AgentReady& ready) { pool_.OnReady(ready, std::move(fd)); });
  }
  return Dispatch<AgentEnded>(frame,
                              [&](AgentEnded& ended) { pool_.OnEnded(ended); });
}

void DeliverRoom::OnQueueFrame(Frame& frame) {
  if (Dispatch<DeliverBatch, BatchClaimed, OutcomesRecorded, BodyPart>(
          frame, [this](auto& message) { On(message); }))
    return;
  // queue is not as it should be: the same as if it had died.
  LogWarn("warn: deliver: malformed message from queue");
  OnQueueClosed();
}

// What has not reached its commit is given up; the rest is told to the next
// queue.
void DeliverRoom::OnQueueClosed() {
  queue_.reset();
  questions_.clear();
  for (auto& [batch, entry] : batches_) {
    for (auto& run : entry.runs) {
      if (run != nullptr) run->Abort();
    }
  }
}

void DeliverRoom::On(DeliverBatch& batch) {
  const BatchId id = batch.batch;
  if (batches_.count(id) != 0) return;
  std::vector<DeliverBatch> parts =
      SplitBatch(std::move(batch), *context_.config);
  Entry& entry = batches_[id];
  entry.runs.resize(parts.size());
  entry.running = parts.size();
  for (size_t i = 0; i < parts.size(); ++i)
    StartRun({id, i}, std::move(parts[i]));
}

void DeliverRoom::StartRun(RunKey key, DeliverBatch batch) {
  BatchRun::Callbacks callbacks;
  callbacks.on_done = [this, key](BatchOutcomes outcomes) {
    OnDone(key, std::move(outcomes));
  };
  callbacks.ask = [this, key](MessageId message, uint32_t first,
                              uint32_t count) {
    AskForBody(key, message, first, count);
  };
  std::unique_ptr<BatchRun>& run = batches_[key.first].runs[key.second];
  run = std::make_unique<BatchRun>(context_.loop, &pool_, context_.config.get(),
                                   std::move(batch), std::move(callbacks));
  if (stopping_)
    run->Abort();
  else
    run->Start();
}

BatchRun* DeliverRoom::FindRun(RunKey key) {
  auto it = batches_.find(key.first);
  return it == batches_.end() ? nullptr : it->second.runs[key.second].get();
}

void DeliverRoom::On(const BatchClaimed& claimed) {
  auto it = batches_.find(claimed.batch);
  if (it == batches_.end()) return;
  Entry& entry = it->second;
  if (!claimed.ok) entry.forgotten = true;
  if (entry.finished() && !claimed.ok) {
    batches_.erase(it);
    return ExitIfEmpty();
  }
  for (auto& run : entry.runs) {
    if (run != nullptr) run->OnClaimed(claimed.ok);
  }
}

void DeliverRoom::On(const OutcomesRecorded& recorded) {
  auto it = batches_.find(recorded.batch);
  if (it == batches_.end()) return;
  it->second.told.erase(recorded.sequence);
  if (!it->second.finished() || !it->second.told.empty()) return;
  batches_.erase(it);
  ExitIfEmpty();
}

void DeliverRoom::AskForBody(RunKey run, MessageId message, uint32_t first,
                             uint32_t count) {
  if (queue_ == nullptr) return;  // the batch is being given up
  BodyRequest request;
  request.question = next_question_++;
  request.message = message;
  request.first = first;
  request.count = count;
  questions_[request.question] = run;
  queue_->Send(request);
}

void DeliverRoom::On(BodyPart& part) {
  auto question = questions_.find(part.question);
  if (question == questions_.end()) return;
  BatchRun* run = FindRun(question->second);
  questions_.erase(question);
  if (run != nullptr) run->OnBodyPart(std::move(part));
}

void DeliverRoom::OnDone(RunKey key, BatchOutcomes outcomes) {
  auto it = batches_.find(key.first);
  Entry& entry = it->second;
  // The run called this; it goes when that call is over.
  context_.loop->AtTurnEnd(
      [run = std::shared_ptr<BatchRun>(std::move(entry.runs[key.second]))] {});
  --entry.running;
  if (entry.forgotten) {
    if (entry.finished()) batches_.erase(it);
    return ExitIfEmpty();
  }
  outcomes.sequence = ++entry.last_sequence;
  outcomes.finished = entry.finished();
  const BatchOutcomes& kept =
      entry.told.emplace(outcomes.sequence, std::move(outcomes)).first->second;
  if (queue_ != nullptr) queue_->Send(kept);
  ExitIfEmpty();
}

void DeliverRoom::OnStop(absl::Duration grace) {
  if (stopping_) return;
  stopping_ = true;
  // A little less than we are given: the end itself takes time.
  grace_ = context_.loop->RunAfter(grace * 0.9, [this] { context_.exit(0); });
  for (auto& [batch, entry] : batches_) {
    for (auto& run : entry.runs) {
      if (run != nullptr) run->Abort();
    }
  }
  ExitIfEmpty();
}

void DeliverRoom::ExitIfEmpty() {
  if (!stopping_ || exit_ != nullptr) return;
  for (const auto& [batch, entry] : batches_) {
    // Without queue nobody records outcomes; its claims are in doubt.
    if (!entry.finished() || queue_ != nullptr) return;
  }
  exit_ = context_.loop->RunAfter(absl::ZeroDuration(),
                                  [this] { context_.exit(0); });
}

}  // namespace holdfast
