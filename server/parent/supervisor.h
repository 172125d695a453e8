// Keeps the rooms running: starts them, gives them doors to each other, starts
// again what dies, stops all in good order (docs/ARCHITECTURE.md).
#ifndef HOLDFAST_SERVER_PARENT_SUPERVISOR_H_
#define HOLDFAST_SERVER_PARENT_SUPERVISOR_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "server/door/door.h"
#include "server/door/parent_messages.h"
#include "server/loop/event_loop.h"
#include "server/parent/processes.h"

namespace holdfast {

// A room that lived so long has earned a restart without delay.
inline constexpr absl::Duration kGoodLife = absl::Seconds(30);
// A room that does not take its answers is not heard until it has taken them.
inline constexpr size_t kMaxUnreadAnswers = 4 << 20;
// All of an orderly stop.
inline constexpr absl::Duration kStopTime = absl::Seconds(30);

// How long to wait before the (n+1)th start in a row, n counted from 0.
absl::Duration RestartDelay(int failures);

// What a room needs that only the rest of parent knows.
class SupervisorHost {
 public:
  virtual ~SupervisorHost() = default;
  // All of Start but `room`, `number`, `worker`; the descriptors of it.
  virtual Start MakeStart(Room room, uint32_t number,
                          std::vector<OwnedFd>* fds) = 0;
  // What is to be sent before it.
  virtual void BeforeStart(Room /*room*/, Door* /*door*/) {}
  // It has begun, and hears of its peers next.
  virtual void OnRoomReady(Room /*room*/, WorkerId /*worker*/, Door* /*door*/) {
  }
  // What a room asks of parent, other than Ready and SetVerbose.  False: it
  // must not say that, or not so; it is killed.
  virtual bool OnRoomFrame(Room room, WorkerId worker, Door* door,
                           Frame& frame) = 0;
  // The room has died (or stopped): answers for it have nowhere to go.  Returns
  // whether something it started lives on, so that its claims are not yet in
  // doubt; Supervisor::OnLastEnded() says when that is over.
  virtual bool OnRoomDied(Room room, WorkerId worker) = 0;
  virtual void OnVerbose(bool verbose) = 0;
  // After Stop(): no room is left.
  virtual void OnStopped() = 0;
};

// Used on the loop's thread.
class Supervisor {
 public:
  struct Options {
    std::string folder;  // of the executables "smtpd-..."
    std::vector<std::string> environment;
    uint32_t receivers = 1;
    uint32_t relays = 1;
    bool filters = false;     // whether there is a room for them
    WorkerId first_worker{};  // unique in the life of this machine's queue
  };

  Supervisor(EventLoop* loop, Processes* processes, SupervisorHost* host,
             Options options);
  ~Supervisor();

  void Begin();
  void Stop();
  // A room had no hope, and so all were stopped.
  bool gave_up() const { return gave_up_; }
  // See OnRoomDied().
  void OnLastEnded(WorkerId worker);
  // Every room of this kind that was sent its Start.
  void ForEach(Room room, absl::FunctionRef<void(Door*)> tell);

 private:
  enum class State { kWaiting, kStarting, kReady, kEnded };
  struct Slot {
    Room room = Room::kParent;
    uint32_t number = 0;
    State state = State::kWaiting;
    WorkerId worker{};
    pid_t pid = 0;
    std::unique_ptr<Door> door;
    int failures = 0;
    absl::Duration started;  // EventLoop::Elapsed()
    EventLoop::Timer timer;  // restart, or kill of one without a door
  };

  void Launch(Slot* slot);
  void LaunchLater(Slot* slot);
  void OnExit(Slot* slot, int wait_status);
  void OnFrame(Slot* slot, Frame& frame);
  // False: it must not say that, or not so, or not now.
  bool Understand(Slot* slot, Frame& frame);
  void OnDoorClosed(Slot* slot, const absl::Status& why);
  void OnReady(Slot* slot);
  void Connect(Slot* a, Slot* b);
  void SendWorkers();
  void SetVerboseEverywhere(bool verbose);
  void Kill(Slot* slot);
  Slot* ReadyQueue();

  // Stopping, phase after phase.
  void EnterPhase(size_t phase);
  void CheckPhase();

  EventLoop* const loop_;
  Processes* const processes_;
  SupervisorHost* const host_;
  const Options options_;
  uint64_t next_worker_;
  std::vector<std::unique_ptr<Slot>> slots_;
  // Workers that died while something they started lives on.
  std::set<WorkerId> lingering_;

  static constexpr size_t kNotStopping = SIZE_MAX;
  size_t phase_ = kNotStopping;
  bool gave_up_ = false;
  absl::Duration stop_began_;
  EventLoop::Timer phase_timer_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_SUPERVISOR_H_
