// The event loop every process of smtpd runs on: time, timers, descriptors.
//
// All of it is used on the loop's own thread, but for Post().  Two
// implementations: UvEventLoop (libuv) and FakeEventLoop, whose clock moves
// when a test tells it to.
//
// Habits that hold everywhere: a callback never runs inside the call that
// takes it; what is handed out (Timer, Watch) cancels when dropped, and after
// that its callback will not run; a callback may destroy anything, its own
// Timer or Watch included.
#ifndef HOLDFAST_SERVER_LOOP_EVENT_LOOP_H_
#define HOLDFAST_SERVER_LOOP_EVENT_LOOP_H_

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"

namespace holdfast {

using Task = absl::AnyInvocable<void()>;

class EventLoop {
 public:
  // Something the loop does for you until you drop it.
  class Registration {
   public:
    virtual ~Registration() = default;
  };
  using Timer = std::unique_ptr<Registration>;

  // A watched descriptor.  Level-triggered.  The descriptor stays its owner's,
  // who must drop the Watch before closing it.
  class Watch {
   public:
    virtual ~Watch() = default;
    // Which of the two callbacks are wanted.  Starts with neither.
    virtual void Want(bool readable, bool writable) = 0;
  };

  virtual ~EventLoop() = default;

  // Wall-clock time: for people, for the queue, for log lines.  Read once a
  // turn, so that all of a turn agrees.
  virtual absl::Time Now() const = 0;
  // Time that only moves forward: for time-outs.  Since an arbitrary start.
  virtual absl::Duration Elapsed() const = 0;

  // Runs `task` once, `delay` from now at the earliest.
  [[nodiscard]] virtual Timer RunAfter(absl::Duration delay, Task task) = 0;

  // Runs `task` at the end of the present turn, after all callbacks of this
  // turn: where output gathered over a turn is flushed.  A task deferred by a
  // deferred task runs in the same phase.
  virtual void AtTurnEnd(Task task) = 0;
  // Runs `task` at every turn's end, after those of AtTurnEnd(), as long as the
  // loop lives.
  virtual void OnEveryTurnEnd(Task task) = 0;

  // Runs `task` in a coming turn.  Safe from any thread.
  virtual void Post(Task task) = 0;

  // Errors and hang-ups of the descriptor are reported as readable and
  // writable, whichever is wanted.
  [[nodiscard]] virtual std::unique_ptr<Watch> WatchDescriptor(
      int fd, Task on_readable, Task on_writable) = 0;

  // Runs `task` whenever the process gets `signal`, until dropped.
  [[nodiscard]] virtual Timer OnSignal(int signal, Task task) = 0;

  // Runs until Stop(); then returns after the present turn.
  virtual void Run() = 0;
  virtual void Stop() = 0;
};

// The real one.  One for each thread that wants one.
std::unique_ptr<EventLoop> MakeUvEventLoop();

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOP_EVENT_LOOP_H_
