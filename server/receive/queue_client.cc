#include "server/receive/queue_client.h"

#include <utility>

#include "server/log/log.h"

namespace holdfast {

QueueClient::QueueClient(std::function<void()> on_state,
                         std::function<void()> on_gone)
    : on_state_(std::move(on_state)), on_gone_(std::move(on_gone)) {}

void QueueClient::SetDoor(std::unique_ptr<Door> door) {
  if (door_ != nullptr) Lose();
  door_ = std::move(door);
  ++generation_;
  // An old door has nothing to say any more.
  const auto current = [this, generation = generation_] {
    return generation == generation_;
  };
  door_->SetCallbacks(
      [this, current](Frame& frame) {
        if (current()) OnFrame(frame);
      },
      [this, current](absl::Status) {
        if (current()) Lose();
      });
  RenewLease();
}

void QueueClient::OnFrame(Frame& frame) {
  const bool known = Dispatch<Accepted, ChunkStored, Lease, SmtpState>(
      frame, [this](const auto& message) { On(message); });
  if (known) return;
  LogWarn("warn: receive: malformed message of type %d from queue", frame.type);
  Lose();
}

// Everything that is open fails.
void QueueClient::Lose() {
  closed_door_ = std::move(door_);
  ++generation_;
  leases_.clear();
  leased_ = 0;
  lease_requested_ = false;
  waits_for_backlog_ = false;
  on_gone_();
  accepts_.GiveAll(Accepted{});
  chunks_.GiveAll(ChunkStored{});
  for (IdReady& ready : std::exchange(waiting_, {})) ready(std::nullopt);
}

void QueueClient::On(const Accepted& accepted) {
  accepts_.Give(accepted.question, accepted);
}
void QueueClient::On(const ChunkStored& stored) {
  chunks_.Give(stored.question, stored);
}
void QueueClient::On(const SmtpState& state) {
  state_ = state;
  on_state_();
}
void QueueClient::On(const Lease& lease) {
  lease_requested_ = false;
  leases_.push_back(lease);
  leased_ += lease.count;
  ServeWaiting();
  RenewLease();
}

void QueueClient::RenewLease() {
  if (lease_requested_ || leased_ >= kLeasedIds / 2) return;
  lease_requested_ = true;
  LeaseRequest request;
  request.count = kLeasedIds;
  door_->Send(request);
}

bool QueueClient::MayStart() const {
  return leased_ > 0 && door_->backlog() < kMaxQueueBacklog;
}

void QueueClient::RequestId(IdReady ready) {
  if (door_ == nullptr) return ready(std::nullopt);
  waiting_.push_back(std::move(ready));
  ServeWaiting();
}

void QueueClient::ServeWaiting() {
  while (!waiting_.empty() && door_ != nullptr && MayStart()) {
    while (leases_.front().count == 0) leases_.pop_front();
    Lease& lease = leases_.front();
    const MessageId id = lease.first;
    lease.first = MessageId(static_cast<uint32_t>(id) + 1);
    --lease.count;
    --leased_;
    RenewLease();
    IdReady ready = std::move(waiting_.front());
    waiting_.pop_front();
    ready(id);
  }
  if (waiting_.empty() || door_ == nullptr || leased_ == 0 ||
      waits_for_backlog_)
    return;
  waits_for_backlog_ = true;
  door_->WhenBelow(kMaxQueueBacklog, [this, generation = generation_] {
    if (generation != generation_) return;
    waits_for_backlog_ = false;
    ServeWaiting();
  });
}

void QueueClient::Accept(AcceptRequest request, ResultCallback done) {
  if (door_ == nullptr) return done(AcceptResult::kFailed);
  request.question =
      accepts_.Add([done = std::move(done)](const Accepted& accepted) mutable {
        done(accepted.result);
      });
  door_->Send(request);
}

void QueueClient::StoreChunk(ChunkRequest request, ResultCallback done) {
  if (door_ == nullptr) return done(AcceptResult::kFailed);
  request.question =
      chunks_.Add([done = std::move(done)](const ChunkStored& stored) mutable {
        done(stored.result);
      });
  door_->Send(request);
}

void QueueClient::Drop(MessageId message) {
  if (door_ == nullptr) return;
  DropBody drop;
  drop.message = message;
  door_->Send(drop);
}

void QueueClient::Tell(const SessionCounts& counts) {
  if (door_ != nullptr) door_->Send(counts);
}

}  // namespace holdfast
