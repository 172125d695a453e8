#include "server/deliver/deliver_room.h"

#include <utility>
#include <vector>

#include "server/log/log.h"

namespace holdfast {

DeliverRoom::DeliverRoom(RoomContext context)
    : context_(std::move(context)),
      pool_(context_.loop, context_.parent, context_.random,
            context_.config->mda_limits.max_session,
            context_.config->mda_limits.max_session_per_user) {}

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
    if (entry.run == nullptr) queue_->Send(entry.outcomes);
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
    if (entry.run != nullptr) entry.run->Abort();
  }
}

void DeliverRoom::On(DeliverBatch& batch) {
  const BatchId id = batch.batch;
  if (batches_.count(id) != 0) return;
  BatchRun::Callbacks callbacks;
  callbacks.on_done = [this, id](BatchOutcomes outcomes) {
    OnDone(id, std::move(outcomes));
  };
  callbacks.ask = [this, id](MessageId message, uint32_t first,
                             uint32_t count) {
    AskForBody(id, message, first, count);
  };
  Entry& entry = batches_[id];
  entry.run =
      std::make_unique<BatchRun>(context_.loop, &pool_, context_.config.get(),
                                 std::move(batch), std::move(callbacks));
  if (stopping_)
    entry.run->Abort();
  else
    entry.run->Start();
}

void DeliverRoom::On(const BatchClaimed& claimed) {
  auto it = batches_.find(claimed.batch);
  if (it == batches_.end()) return;
  if (!claimed.ok) it->second.forgotten = true;
  if (it->second.run != nullptr) {
    it->second.run->OnClaimed(claimed.ok);
  } else if (!claimed.ok) {
    batches_.erase(it);
    ExitIfEmpty();
  }
}

void DeliverRoom::On(const OutcomesRecorded& recorded) {
  auto it = batches_.find(recorded.batch);
  if (it == batches_.end() || it->second.run != nullptr ||
      it->second.outcomes.sequence != recorded.sequence)
    return;
  batches_.erase(it);
  ExitIfEmpty();
}

void DeliverRoom::AskForBody(BatchId batch, MessageId message, uint32_t first,
                             uint32_t count) {
  if (queue_ == nullptr) return;  // the batch is being given up
  BodyRequest request;
  request.question = next_question_++;
  request.message = message;
  request.first = first;
  request.count = count;
  questions_[request.question] = batch;
  queue_->Send(request);
}

void DeliverRoom::On(BodyPart& part) {
  auto question = questions_.find(part.question);
  if (question == questions_.end()) return;
  auto it = batches_.find(question->second);
  questions_.erase(question);
  if (it != batches_.end() && it->second.run != nullptr)
    it->second.run->OnBodyPart(std::move(part));
}

void DeliverRoom::OnDone(BatchId batch, BatchOutcomes outcomes) {
  auto it = batches_.find(batch);
  Entry& entry = it->second;
  // The run called this; it goes when that call is over.
  context_.loop->AtTurnEnd(
      [run = std::shared_ptr<BatchRun>(std::move(entry.run))] {});
  if (entry.forgotten) {
    batches_.erase(it);
    return ExitIfEmpty();
  }
  entry.outcomes = std::move(outcomes);
  if (queue_ != nullptr) queue_->Send(entry.outcomes);
  ExitIfEmpty();
}

void DeliverRoom::OnStop(absl::Duration grace) {
  if (stopping_) return;
  stopping_ = true;
  // A little less than we are given: the end itself takes time.
  grace_ = context_.loop->RunAfter(grace * 0.9, [this] { context_.exit(0); });
  for (auto& [batch, entry] : batches_) {
    if (entry.run != nullptr) entry.run->Abort();
  }
  ExitIfEmpty();
}

void DeliverRoom::ExitIfEmpty() {
  if (!stopping_ || exit_ != nullptr) return;
  for (const auto& [batch, entry] : batches_) {
    // Without queue nobody records outcomes; its claims are in doubt.
    if (entry.run != nullptr || queue_ != nullptr) return;
  }
  exit_ = context_.loop->RunAfter(absl::ZeroDuration(),
                                  [this] { context_.exit(0); });
}

}  // namespace holdfast
