// Processes that a test plays: each start is kept, its end is said by the test.
#ifndef HOLDFAST_SERVER_PARENT_FAKE_PROCESSES_H_
#define HOLDFAST_SERVER_PARENT_FAKE_PROCESSES_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/parent/processes.h"

namespace holdfast {

class FakeProcesses : public Processes {
 public:
  struct Child {
    pid_t pid = 0;
    ProgramStart start;
    OnExit on_exit;
    std::vector<int> signals;
    bool ended = false;
  };

  absl::StatusOr<pid_t> Start(ProgramStart start, OnExit on_exit) override {
    if (refuse) return absl::UnavailableError("no more processes");
    auto child = std::make_unique<Child>();
    child->pid = next_pid_++;
    child->start = std::move(start);
    child->on_exit = std::move(on_exit);
    children.push_back(std::move(child));
    return children.back()->pid;
  }
  void Kill(pid_t pid, int signal) override {
    for (auto& child : children) {
      if (child->pid == pid && !child->ended) child->signals.push_back(signal);
    }
  }

  // The process ends; what it had open is closed.
  void End(Child* child, int wait_status) {
    child->ended = true;
    child->start.fds.clear();
    OnExit on_exit = std::move(child->on_exit);
    on_exit(wait_status);
  }
  // Those that live.
  std::vector<Child*> Living() {
    std::vector<Child*> out;
    for (auto& child : children) {
      if (!child->ended) out.push_back(child.get());
    }
    return out;
  }

  bool refuse = false;
  std::vector<std::unique_ptr<Child>> children;

 private:
  pid_t next_pid_ = 1000;
};

// waitpid(2)'s statuses.
inline constexpr int kExitedOkay = 0;
inline constexpr int kExitedOne = 1 << 8;
inline constexpr int kKilled = 9;

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_FAKE_PROCESSES_H_
