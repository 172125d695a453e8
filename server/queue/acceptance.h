// Takes messages from `receive`: leases ids, keeps chunks of bodies, accepts.
// What `receive` says is checked: it is the room that faces the network.  One
// thread: the loop's.
#ifndef HOLDFAST_SERVER_QUEUE_ACCEPTANCE_H_
#define HOLDFAST_SERVER_QUEUE_ACCEPTANCE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "config/config.h"
#include "server/door/door.h"
#include "server/door/parent_messages.h"
#include "server/door/receive_messages.h"
#include "server/loop/event_loop.h"
#include "server/queue/command_seal.h"
#include "server/queue/committer.h"
#include "server/queue/store_calls.h"
#include "storage/queue_store.h"

namespace holdfast {

class Acceptance {
 public:
  // Ids one worker may have leased and not used; of more, the oldest that were
  // never heard of again are forgotten.
  static constexpr size_t kMaxLeased = 1 << 16;
  static constexpr uint32_t kMaxLease = 4096;
  // Bytes of one worker on their way to the disk: above it is not read.
  static constexpr size_t kMaxUncommitted = 32 << 20;
  // While there is no room, how often to look again.
  static constexpr absl::Duration kRoomPoll = absl::Seconds(1);

  // All outlive it.
  struct Parts {
    EventLoop* loop = nullptr;
    const Config* config = nullptr;
    const CommandSeals* seals = nullptr;
  };
  explicit Acceptance(const Parts& parts) : p_(parts) {}

  // Until the store is open all is answered 451, and leases wait.
  void OnStoreOpen(QueueStore* store, Committer* committer);
  // Nothing is accepted any more: 451.
  void Stop() { committer_ = nullptr; }

  void Add(const NewDoor& to, std::unique_ptr<Door> door);

  bool SetPaused(bool paused);
  bool paused() const { return paused_; }
  // An acceptance of somebody's has found no room.
  void OnNoRoom();

  // Over all workers.
  SessionCounts Sessions() const;

 private:
  // A leased id that is not used up.
  struct Id {
    uint32_t chunks = 0;  // stored or on their way
    uint64_t chunk_bytes = 0;
    bool submitted = false;  // its acceptance is on its way
  };
  struct Worker {
    WorkerId id{};
    std::unique_ptr<Door> door;
    absl::flat_hash_map<MessageId, Id> leased;
    std::deque<MessageId> oldest_first;  // of `leased`, and some used up
    uint32_t wants_ids = 0;              // a lease that waits for the store
    size_t uncommitted = 0;              // bytes
    bool paused_reading = false;
    SessionCounts sessions;
  };
  Worker* Find(WorkerId id);
  void OnFrame(WorkerId id, Frame& frame);
  void Close(WorkerId id, const absl::Status& why);
  void On(Worker* worker, const LeaseRequest& request);
  void On(Worker* worker, AcceptRequest& request);
  void On(Worker* worker, ChunkRequest& request);
  void On(Worker* worker, const DropBody& drop);
  void On(Worker* worker, const SessionCounts& counts);

  void LeaseIdsTo(Worker* worker);
  void OnLeased(WorkerId id, uint32_t count, const OperationResult& result);
  void ForgetOldIds(Worker* worker);
  void Submit(Worker* worker, AcceptRequest& request);
  void OnAccepted(WorkerId worker, uint64_t question, MessageId message,
                  const absl::Status& status);
  void Drop(MessageId message);
  void CountBytes(Worker* worker, int64_t bytes);
  AcceptResult ResultOf(const absl::Status& status);
  void Broadcast();
  SmtpState State() const;
  void PollRoom();

  const Parts p_;
  QueueStore* store_ = nullptr;
  Committer* committer_ = nullptr;
  std::map<uint32_t, Worker> workers_;  // by number
  bool paused_ = false;
  bool room_ = true;
  EventLoop::Timer poll_;
  // What workers that are gone had counted.
  SessionCounts past_sessions_;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_ACCEPTANCE_H_
