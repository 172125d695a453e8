// Starting programs, and hearing of their end.
#ifndef HOLDFAST_SERVER_PARENT_PROCESSES_H_
#define HOLDFAST_SERVER_PARENT_PROCESSES_H_

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "server/door/door.h"
#include "server/loop/event_loop.h"

namespace holdfast {

struct ProgramStart {
  std::string path;
  std::vector<std::string> arguments;  // without the program's name
  std::vector<std::string> environment = {"PATH=/usr/bin:/bin"};
  std::vector<OwnedFd> fds;  // become 3, 4, ...; nothing else stays open
  OwnedFd standard_input;    // none: /dev/null
  bool quiet = false;        // stdout and stderr go to /dev/null
  // The program has a nursery (server/agent/nursery.h), which may fork this
  // one.  Standard streams and environment are the nursery's then.
  bool nursery = false;
  // It makes a process group of its own, named like it.  All of it gets the
  // signals, and nothing of it outlives the program.
  bool own_group = false;
};

// Used on the loop's thread.
class Processes {
 public:
  // Gets the status of waitpid(2).
  using OnExit = absl::AnyInvocable<void(int wait_status)>;

  virtual ~Processes() = default;
  // Never waits for the program.  `on_exit` is called once, in a later turn.
  virtual absl::StatusOr<pid_t> Start(ProgramStart start, OnExit on_exit) = 0;
  virtual void Kill(pid_t pid, int signal) = 0;
};

// The real ones: posix_spawn(3), or a nursery, and SIGCHLD.
class SystemProcesses : public Processes {
 public:
  explicit SystemProcesses(EventLoop* loop);

  absl::StatusOr<pid_t> Start(ProgramStart start, OnExit on_exit) override;
  void Kill(pid_t pid, int signal) override;

  // For the end of parent: kills what is left and waits for it.
  void KillAllAndWait();

 private:
  struct Nursery {
    pid_t pid = 0;
    OwnedFd socket;
    bool ready = false;  // it has said so
  };

  absl::StatusOr<pid_t> Spawn(const ProgramStart& start);
  // kUnimplemented: another way may be tried.
  absl::StatusOr<pid_t> Fork(const ProgramStart& start);
  void Reap();

  EventLoop* const loop_;
  std::map<std::string, Nursery> nurseries_;  // by the program's path
  struct Running {
    OnExit on_exit;
    bool own_group = false;
  };

  static void Signal(pid_t pid, const Running& running, int signal);

  std::map<pid_t, Running> running_;
  EventLoop::Timer on_child_;
};

// As the reference says it: "exited okay", "exited abnormally", "terminated;
// timeout" (SIGALRM), "terminated; signal 9".
std::string HowItEnded(int wait_status);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_PROCESSES_H_
