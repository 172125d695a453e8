#include "server/queue/acceptance.h"

#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>

#include "protocol/vis.h"
#include "server/log/log.h"
#include "server/queue/accept_check.h"
#include "server/queue/profile.h"
#include "storage/body_codec.h"

namespace holdfast {

// ---- Doors

Acceptance::Worker* Acceptance::Find(WorkerId id) {
  for (auto& [number, worker] : workers_) {
    if (worker.id == id) return &worker;
  }
  return nullptr;
}

void Acceptance::Add(const NewDoor& to, std::unique_ptr<Door> door) {
  const auto old = workers_.find(to.number);
  if (old != workers_.end()) Close(old->second.id, absl::OkStatus());
  Worker& w = workers_[to.number];
  w.id = to.worker;
  w.door = std::move(door);
  w.door->SetCallbacks(
      [this, id = to.worker](Frame& frame) { OnFrame(id, frame); },
      [this, id = to.worker](absl::Status why) { Close(id, why); });
  w.door->Send(State());
}

// Its bodies in progress are given up; what it asked to accept is accepted all
// the same, with nobody to tell.
void Acceptance::Close(WorkerId id, const absl::Status& why) {
  Worker* w = Find(id);
  if (w == nullptr) return;
  if (!why.ok()) {
    LogWarn("warn: queue: door to receive: %s", std::string(why.message()));
  }
  const std::unique_ptr<Door> door = std::move(w->door);
  for (const auto& [message, state] : w->leased) {
    if (state.chunks > 0 && !state.submitted) Drop(message);
  }
  past_sessions_.Add(w->sessions, false);
  past_sessions_.closed += w->sessions.now;
  for (auto it = workers_.begin(); it != workers_.end(); ++it) {
    if (it->second.id != id) continue;
    workers_.erase(it);
    return;
  }
}

void Acceptance::OnFrame(WorkerId id, Frame& frame) {
  const ProfiledWork work("receive", frame.type, frame.payload.size());
  Worker* worker = Find(id);
  const bool understood =
      Dispatch<AcceptRequest, ChunkRequest, DropBody, LeaseRequest,
               SessionCounts>(frame, [&](auto& m) { On(worker, m); });
  if (!understood) Close(id, absl::DataLossError("malformed frame"));
}

void Acceptance::CountBytes(Worker* worker, int64_t bytes) {
  worker->uncommitted += bytes;
  if (!worker->paused_reading && worker->uncommitted > kMaxUncommitted) {
    worker->paused_reading = true;
    worker->door->PauseReading();
  } else if (worker->paused_reading &&
             worker->uncommitted < kMaxUncommitted / 2) {
    worker->paused_reading = false;
    worker->door->ResumeReading();
  }
}

// ---- Leases

void Acceptance::On(Worker* worker, const LeaseRequest& request) {
  worker->wants_ids = std::clamp<uint32_t>(request.count, 1, kMaxLease);
  LeaseIdsTo(worker);
}

void Acceptance::LeaseIdsTo(Worker* worker) {
  if (committer_ == nullptr || worker->wants_ids == 0) return;
  LeaseIds lease;
  lease.count = std::exchange(worker->wants_ids, 0);
  committer_->Commit({lease},
                     guard_.Wrap([this, id = worker->id,
                                  count = lease.count](BatchResult result) {
                       OnLeased(id, count, result.operations[0]);
                     }));
}

void Acceptance::OnLeased(WorkerId id, uint32_t count,
                          const OperationResult& result) {
  Worker* worker = Find(id);
  if (worker == nullptr) return;
  if (!result.status.ok()) {
    LogWarn("warn: queue: no message ids: %s",
            std::string(result.status.message()));
    worker->wants_ids = count;  // again when there is room
    return OnNoRoom();
  }
  Lease lease;
  lease.first = result.first_id;
  lease.count = count;
  for (uint32_t i = 0; i < count; ++i) {
    const auto message = MessageId(static_cast<uint32_t>(lease.first) + i);
    worker->leased[message] = Id();
    worker->oldest_first.push_back(message);
  }
  ForgetOldIds(worker);
  worker->door->Send(lease);
}

// Messages that were begun and never finished leave their ids behind.
void Acceptance::ForgetOldIds(Worker* worker) {
  for (size_t looks = worker->oldest_first.size();
       looks > 0 && worker->oldest_first.size() > kMaxLeased; --looks) {
    const MessageId id = worker->oldest_first.front();
    worker->oldest_first.pop_front();
    const auto it = worker->leased.find(id);
    if (it == worker->leased.end()) continue;
    if (it->second.chunks > 0 || it->second.submitted) {
      worker->oldest_first.push_back(id);
    } else {
      worker->leased.erase(it);
    }
  }
}

// ---- Bodies in pieces

void Acceptance::On(Worker* worker, ChunkRequest& request) {
  ChunkStored answer;
  answer.question = request.question;
  const auto id = worker->leased.find(request.message);
  const bool fits =
      committer_ != nullptr && id != worker->leased.end() &&
      !id->second.submitted && request.index == id->second.chunks &&
      !request.bytes.empty() && request.bytes.size() <= kMaxChunkBytes;
  if (!fits) {
    worker->door->Send(answer);
    return;
  }
  ++id->second.chunks;
  id->second.chunk_bytes += request.bytes.size();
  const int64_t bytes = static_cast<int64_t>(request.bytes.size());
  CountBytes(worker, bytes);
  StoreChunk chunk;
  chunk.message = request.message;
  chunk.session = static_cast<uint64_t>(request.session);
  chunk.index = request.index;
  chunk.bytes = std::move(request.bytes);
  committer_->CommitAlone(
      {std::move(chunk)}, guard_.Wrap([this, worker_id = worker->id, answer,
                                       bytes](BatchResult result) mutable {
        answer.result = ResultOf(result.operations[0].status);
        Worker* worker = Find(worker_id);
        if (worker == nullptr) return;
        worker->door->Send(answer);
        CountBytes(worker, -bytes);
      }));
}

void Acceptance::On(Worker* worker, const DropBody& drop) {
  const auto id = worker->leased.find(drop.message);
  if (id == worker->leased.end() || id->second.submitted) return;
  if (id->second.chunks > 0) Drop(drop.message);
  worker->leased.erase(id);
}

void Acceptance::Drop(MessageId message) {
  if (committer_ == nullptr) return;
  DropIncoming drop;
  drop.message = message;
  committer_->Commit({drop}, nullptr);
}

// ---- Messages

void Acceptance::On(Worker* worker, AcceptRequest& request) {
  Accepted refused;
  refused.question = request.question;
  const auto id = worker->leased.find(request.message);
  if (committer_ == nullptr || id == worker->leased.end() ||
      id->second.submitted) {
    worker->door->Send(refused);
    return;
  }
  ChunksSeen seen;
  seen.chunks = id->second.chunks;
  seen.bytes = id->second.chunk_bytes;
  absl::Status status;
  for (Envelope& e : request.envelopes) {
    if (status.ok()) status = p_.seals->Open(&e);
  }
  if (status.ok()) {
    status = CheckAccept(request, seen, *p_.config, p_.loop->Now());
  }
  if (!status.ok()) {
    LogWarn("warn: queue: message %s refused: %s", ToString(request.message),
            VisEncode(std::string(status.message())));
    worker->door->Send(refused);
    return;
  }
  id->second.submitted = true;
  Submit(worker, request);
}

void Acceptance::Submit(Worker* worker, AcceptRequest& request) {
  const int64_t bytes = static_cast<int64_t>(request.stored.size());
  const MessageId message = request.message;
  CountBytes(worker, bytes);
  AcceptMessage accept;
  accept.message = message;
  accept.body = request.body;
  accept.stored = std::move(request.stored);
  accept.created = request.created;
  accept.envelopes = std::move(request.envelopes);
  for (Envelope& e : accept.envelopes) ResetQueueFields(&e);
  committer_->Commit(
      {std::move(accept)},
      guard_.Wrap([this, worker_id = worker->id, question = request.question,
                   message, bytes](BatchResult result) {
        OnAccepted(worker_id, question, message, result.operations[0].status);
        if (Worker* w = Find(worker_id)) CountBytes(w, -bytes);
      }));
}

void Acceptance::OnAccepted(WorkerId worker, uint64_t question,
                            MessageId message, const absl::Status& status) {
  const AcceptResult result = ResultOf(status);
  Worker* w = Find(worker);
  if (w == nullptr) {
    // Nobody waits; a body in pieces that was not accepted is garbage.
    if (!status.ok()) Drop(message);
    return;
  }
  const auto id = w->leased.find(message);
  if (id != w->leased.end()) {
    if (status.ok()) {
      w->leased.erase(id);
    } else {
      id->second.submitted = false;  // it may be tried again, or dropped
    }
  }
  Accepted answer;
  answer.question = question;
  answer.result = result;
  w->door->Send(answer);
}

AcceptResult Acceptance::ResultOf(const absl::Status& status) {
  if (status.ok()) return AcceptResult::kOk;
  if (absl::IsResourceExhausted(status)) {
    OnNoRoom();
    return AcceptResult::kNoRoom;
  }
  LogWarn("warn: queue: not accepted: %s",
          VisEncode(std::string(status.message())));
  return AcceptResult::kFailed;
}

// ---- The state of the store

void Acceptance::OnStoreOpen(QueueStore* store, Committer* committer) {
  store_ = store;
  committer_ = committer;
  for (auto& [number, worker] : workers_) LeaseIdsTo(&worker);
}

SmtpState Acceptance::State() const {
  SmtpState state;
  state.paused = paused_;
  state.room = room_;
  return state;
}

void Acceptance::Broadcast() {
  for (auto& [number, worker] : workers_) worker.door->Send(State());
}

bool Acceptance::SetPaused(bool paused) {
  if (paused_ == paused) return false;
  paused_ = paused;
  Broadcast();
  return true;
}

void Acceptance::OnNoRoom() {
  if (!room_) return;
  room_ = false;
  LogWarn("warn: queue: no room in the store: not accepting");
  Broadcast();
  PollRoom();
}

void Acceptance::PollRoom() {
  poll_ = p_.loop->RunAfter(kRoomPoll, [this] {
    ReadThenPost(
        p_.loop, store_,
        [](const QueueView& view) { return view.Stats().accepting; },
        guard_.Wrap([this](absl::StatusOr<bool> accepting) {
          if (!accepting.ok() || !*accepting) return PollRoom();
          room_ = true;
          LogInfo("info: queue: room in the store: accepting again");
          Broadcast();
          for (auto& [number, worker] : workers_) LeaseIdsTo(&worker);
        }));
  });
}

// ---- Sessions

void Acceptance::On(Worker* worker, const SessionCounts& counts) {
  worker->sessions = counts;
}

SessionCounts Acceptance::Sessions() const {
  SessionCounts sum = past_sessions_;
  for (const auto& [number, worker] : workers_) sum.Add(worker.sessions, true);
  return sum;
}

}  // namespace holdfast
