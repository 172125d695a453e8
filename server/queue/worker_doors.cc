#include "server/queue/worker_doors.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "absl/hash/hash.h"
#include "server/log/log.h"
#include "server/queue/profile.h"

namespace holdfast {
namespace {

Room RoomOf(DeliveryKind kind) {
  return kind == DeliveryKind::kMta ? Room::kRelay : Room::kDeliver;
}

// Batches by which the usual worker may be ahead of the idlest one.
constexpr int kMaxLead = 4;

}  // namespace

WorkerDoors::Worker* WorkerDoors::Find(WorkerId id) {
  for (auto& [key, worker] : workers_) {
    if (worker.id == id) return &worker;
  }
  return nullptr;
}

void WorkerDoors::Add(const NewDoor& to, std::unique_ptr<Door> door) {
  const auto old = workers_.find({to.peer, to.number});
  if (old != workers_.end()) Close(old->second.id, absl::OkStatus());
  Worker& w = workers_[{to.peer, to.number}];
  w.room = to.peer;
  w.number = to.number;
  w.id = to.worker;
  w.door = std::move(door);
  w.door->SetCallbacks(
      [this, id = to.worker](Frame& frame) { OnFrame(id, frame); },
      [this, id = to.worker](absl::Status why) { Close(id, why); });
  if (!reading_) w.door->PauseReading();
  handlers_.on_room();
}

void WorkerDoors::StartReading() {
  if (reading_) return;
  reading_ = true;
  for (auto& [key, worker] : workers_) worker.door->ResumeReading();
}

void WorkerDoors::Close(WorkerId id, const absl::Status& why) {
  Worker* w = Find(id);
  if (w == nullptr) return;
  if (!why.ok()) {
    LogWarn("warn: queue: door to %s %d: %s", RoomName(w->room), w->number,
            std::string(why.message()));
  }
  // The door lives until the end of the call that may be its own.
  const std::unique_ptr<Door> door = std::move(w->door);
  workers_.erase({w->room, w->number});
  handlers_.on_gone(id);
}

void WorkerDoors::OnFrame(WorkerId id, Frame& frame) {
  const ProfiledWork work("worker", frame.type, frame.payload.size());
  const bool understood =
      Dispatch<BatchOutcomes, WorkerState, BodyRequest, SlotRequest,
               SlotReport>(frame, [&](auto& message) {
        using Message = std::decay_t<decltype(message)>;
        if constexpr (std::is_same_v<Message, BatchOutcomes>) {
          handlers_.on_outcomes(id, std::move(message));
        } else if constexpr (std::is_same_v<Message, WorkerState>) {
          handlers_.on_state(id, std::move(message));
        } else if constexpr (std::is_same_v<Message, BodyRequest>) {
          handlers_.on_body(id, message);
        } else if constexpr (std::is_same_v<Message, SlotRequest>) {
          handlers_.on_slot(id, message);
        } else {
          handlers_.on_slot_report(id, message);
        }
      });
  if (!understood) Close(id, absl::DataLossError("malformed frame"));
}

bool WorkerDoors::CanTake(DeliveryKind kind) const {
  return Choose(kind, "") != WorkerId(0);
}

WorkerId WorkerDoors::Choose(DeliveryKind kind, absl::string_view key) const {
  std::vector<const Worker*> able;
  for (auto it = workers_.lower_bound({RoomOf(kind), 0});
       it != workers_.end() && it->second.room == RoomOf(kind); ++it) {
    if (!it->second.behind) able.push_back(&it->second);
  }
  if (able.empty()) return WorkerId(0);
  const Worker* idlest = *std::min_element(
      able.begin(), able.end(),
      [](const Worker* a, const Worker* b) { return a->batches < b->batches; });
  const Worker* usual =
      able[absl::Hash<absl::string_view>()(key) % able.size()];
  return usual->batches > idlest->batches + kMaxLead ? idlest->id : usual->id;
}

void WorkerDoors::CountBatch(WorkerId worker, int by) {
  if (Worker* w = Find(worker)) w->batches += by;
}

void WorkerDoors::WatchBacklog(Worker* worker) {
  if (worker->behind || worker->door->backlog() < kMaxBacklog) return;
  worker->behind = true;
  worker->door->WhenBelow(kLowBacklog, guard_.Wrap([this, id = worker->id] {
    if (Worker* w = Find(id)) {
      w->behind = false;
      handlers_.on_room();
    }
  }));
}

size_t WorkerDoors::backlog(WorkerId worker) const {
  for (const auto& [key, w] : workers_) {
    if (w.id == worker) return w.door->backlog();
  }
  return 0;
}

}  // namespace holdfast
