// Runs the programs of others: filters for `filters`, the processes of tables
// for `lookup`; each as its user, started again when it has ended.
#ifndef HOLDFAST_SERVER_PARENT_PROGRAM_STARTER_H_
#define HOLDFAST_SERVER_PARENT_PROGRAM_STARTER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "protocol/ids.h"
#include "server/door/door.h"
#include "server/door/program_messages.h"
#include "server/door/room.h"
#include "server/loop/event_loop.h"
#include "server/parent/processes.h"
#include "server/parent/programs.h"

namespace holdfast {

// The user database answers in this time, or the start has failed.
inline constexpr absl::Duration kProgramStartDeadline = absl::Seconds(30);
// A program that lived so long has earned a restart without delay.
inline constexpr absl::Duration kProgramGoodLife = absl::Seconds(30);
// Between SIGTERM and SIGKILL.
inline constexpr absl::Duration kProgramGrace = absl::Seconds(5);

// How long to wait before the (n+1)th start in a row, n counted from 0.
absl::Duration ProgramRestartDelay(int failures);

// Used on the loop's thread.
class ProgramStarter {
 public:
  struct Options {
    std::string agent;  // smtpd-agent
    std::vector<std::string> environment;
  };

  ProgramStarter(EventLoop* loop, Processes* processes, Options options,
                 const std::vector<ProgramSpec>& programs);

  // Those of this room are started; it hears of them through `door` until
  // OnRoomDied().
  void OnRoomReady(Room room, WorkerId worker, Door* door);
  // They are asked to end, and killed if they don't.
  void OnRoomDied(Room room, WorkerId worker);
  // Nothing happens if this start of it has ended, or is not that room's.
  void OnKill(WorkerId worker, const ProgramKill& kill);
  // All is about to end: whoever ends from now on is neither named nor started
  // again.
  void OnStopping() { stopping_ = true; }
  // No room is left: calls `done` once when no program is left either, which
  // takes kProgramGrace at most.
  void WhenGone(Task done);

 private:
  enum class State {
    kIdle,      // its room is not there
    kWaiting,   // for its next start
    kStarting,  // not yet itself
    kRunning,
    kEnding,  // nobody wants it any more
  };
  struct Program {
    ProgramSpec spec;
    State state = State::kIdle;
    WorkerId worker{};     // of its room
    Door* door = nullptr;  // null: its room is not there
    uint64_t number = 0;   // of this start
    pid_t pid = 0;
    int failures = 0;
    absl::Duration started;  // EventLoop::Elapsed()
    EventLoop::Timer timer;  // next start, deadline, or kill
    OwnedFd socket, error;   // the room's ends, until they are handed over
    OwnedFd status;          // what it says at its beginning
    std::string said;
    std::unique_ptr<EventLoop::Watch> watch;
  };

  void Launch(Program* program);
  absl::Status Spawn(Program* program);
  void LaunchLater(Program* program);
  void ReadStatus(Program* program);
  void OnStarted(Program* program);
  void OnExit(Program* program, int wait_status);
  void End(Program* program);

  EventLoop* const loop_;
  Processes* const processes_;
  const Options options_;
  uint64_t next_number_ = 1;
  bool stopping_ = false;
  std::vector<std::unique_ptr<Program>> programs_;
  Task when_gone_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_PROGRAM_STARTER_H_
