// The doors to `relay` and `deliver` workers: who is there, who keeps up.  One
// thread: the loop's.
#ifndef HOLDFAST_SERVER_QUEUE_WORKER_DOORS_H_
#define HOLDFAST_SERVER_QUEUE_WORKER_DOORS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "protocol/envelope.h"
#include "protocol/ids.h"
#include "server/door/door.h"
#include "server/door/parent_messages.h"
#include "server/door/worker_messages.h"
#include "server/queue/store_calls.h"

namespace holdfast {

class WorkerDoors {
 public:
  // A worker that has not taken this much is given nothing more.
  static constexpr size_t kMaxBacklog = 8 << 20;
  static constexpr size_t kLowBacklog = 2 << 20;

  struct Handlers {
    std::function<void(WorkerId, BatchOutcomes)> on_outcomes;
    std::function<void(WorkerId, WorkerState)> on_state;
    std::function<void(WorkerId, const BodyRequest&)> on_body;
    std::function<void(WorkerId, const SlotRequest&)> on_slot;
    std::function<void(WorkerId, const SlotReport&)> on_slot_report;
    std::function<void(WorkerId)> on_gone;  // its door is closed
    std::function<void()> on_room;  // there is one more, or it keeps up again
  };
  explicit WorkerDoors(Handlers handlers) : handlers_(std::move(handlers)) {}

  // Takes a door to Room::kRelay or Room::kDeliver.
  void Add(const NewDoor& to, std::unique_ptr<Door> door);
  // Frames are not read before this: first it must be known which claims the
  // workers hold.
  void StartReading();

  bool CanTake(DeliveryKind kind) const;
  // A worker of this kind that can take a batch: the one that `key` always
  // falls to, so that what goes to one place shares sessions, unless it has
  // much more to do than another.  WorkerId(0): none.
  WorkerId Choose(DeliveryKind kind, absl::string_view key) const;
  // For Choose(): batches this worker has.
  void CountBatch(WorkerId worker, int by);

  // Nothing happens if the worker has no door (any more).
  template <class Message>
  void Send(WorkerId worker, const Message& message) {
    if (Worker* w = Find(worker)) {
      w->door->Send(message);
      WatchBacklog(w);
    }
  }
  size_t backlog(WorkerId worker) const;
  size_t size() const { return workers_.size(); }

 private:
  struct Worker {
    Room room = Room::kRelay;
    uint32_t number = 0;
    WorkerId id{};
    std::unique_ptr<Door> door;
    int batches = 0;
    bool behind = false;  // above kMaxBacklog; on_room will be called
  };
  Worker* Find(WorkerId id);
  void WatchBacklog(Worker* worker);
  void OnFrame(WorkerId id, Frame& frame);
  void Close(WorkerId id, const absl::Status& why);

  Handlers handlers_;
  std::map<std::pair<Room, uint32_t>, Worker> workers_;
  bool reading_ = false;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_WORKER_DOORS_H_
