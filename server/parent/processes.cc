#include "server/parent/processes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/agent/nursery.h"
#include "server/parent/nursery_client.h"

namespace holdfast {
namespace {

// Descriptors are moved above those that the program will see, so that none is
// overwritten before it was used.
constexpr int kAside = 100;

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> out;
  for (const std::string& word : words)
    out.push_back(const_cast<char*>(word.c_str()));
  out.push_back(nullptr);
  return out;
}

// posix_spawn's two sets of instructions, freed with it.
struct Instructions {
  Instructions() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  ~Instructions() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
};

// The program starts with no signal blocked or ignored.
void ResetSignals(posix_spawnattr_t* attributes) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(attributes, &none);
  posix_spawnattr_setsigdefault(attributes, &all);
  posix_spawnattr_setflags(attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

}  // namespace

std::string HowItEnded(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    if (WTERMSIG(wait_status) == SIGALRM) return "terminated; timeout";
    return absl::StrCat("terminated; signal ", WTERMSIG(wait_status));
  }
  return WEXITSTATUS(wait_status) == 0 ? "exited okay" : "exited abnormally";
}

SystemProcesses::SystemProcesses(EventLoop* loop)
    : loop_(loop), on_child_(loop->OnSignal(SIGCHLD, [this] { Reap(); })) {}

absl::StatusOr<pid_t> SystemProcesses::Start(ProgramStart start,
                                             OnExit on_exit) {
  absl::StatusOr<pid_t> pid = absl::UnimplementedError("");
  if (start.nursery) pid = Fork(start);
  if (absl::IsUnimplemented(pid.status())) pid = Spawn(start);
  if (pid.ok())
    running_.emplace(*pid, Running{std::move(on_exit), start.own_group});
  return pid;
}

absl::StatusOr<pid_t> SystemProcesses::Fork(const ProgramStart& start) {
  Nursery& nursery = nurseries_[start.path];
  if (nursery.pid == 0) {
    NurserySockets sockets = MakeNurserySockets();
    if (!sockets.ours) return absl::UnimplementedError("no sockets");
    ProgramStart program;
    program.path = start.path;
    program.arguments = {kNurseryArgument};
    program.fds.push_back(std::move(sockets.theirs));
    absl::StatusOr<pid_t> pid = Spawn(program);
    if (!pid.ok()) return absl::UnimplementedError(pid.status().message());
    nursery.pid = *pid;
    nursery.socket = std::move(sockets.ours);
    running_.emplace(*pid, Running{[this, path = start.path](int) {
      nurseries_.erase(path);
    }});
  }
  // On a cold disk it may be loading for seconds: meanwhile others are started
  // as any program.
  if (!nursery.ready) nursery.ready = NurserySaidHello(nursery.socket.get());
  if (!nursery.ready) return absl::UnimplementedError("it is loading");
  absl::StatusOr<pid_t> pid =
      AskNursery(nursery.socket.get(), start.arguments, start.fds);
  // What it has forked without saying so ends when its descriptors' peers are
  // closed.
  if (absl::IsUnavailable(pid.status())) {
    nursery.socket.Reset();
    Kill(nursery.pid, SIGKILL);
  }
  return pid;
}

absl::StatusOr<pid_t> SystemProcesses::Spawn(const ProgramStart& start) {
  Instructions instructions;
  ResetSignals(&instructions.attributes);
  posix_spawn_file_actions_t* files = &instructions.files;
  std::vector<OwnedFd> aside;
  auto place = [&](int fd, int target) {
    aside.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, kAside));
    if (!aside.back()) return false;
    return posix_spawn_file_actions_adddup2(files, aside.back().get(),
                                            target) == 0;
  };
  bool placed = true;
  if (start.standard_input) {
    placed = place(start.standard_input.get(), STDIN_FILENO);
  } else {
    posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY,
                                     0);
  }
  if (start.quiet) {
    posix_spawn_file_actions_addopen(files, STDOUT_FILENO, "/dev/null",
                                     O_WRONLY, 0);
    posix_spawn_file_actions_addopen(files, STDERR_FILENO, "/dev/null",
                                     O_WRONLY, 0);
  }
  for (size_t i = 0; i < start.fds.size(); ++i)
    placed = placed && place(start.fds[i].get(), 3 + static_cast<int>(i));
  // What smtpd itself was started with, by whomever, goes no further.
  posix_spawn_file_actions_addclosefrom_np(
      files, 3 + static_cast<int>(start.fds.size()));
  if (!placed)
    return absl::UnavailableError(absl::StrCat("dup: ", strerror(errno)));

  std::vector<std::string> words = {start.path};
  words.insert(words.end(), start.arguments.begin(), start.arguments.end());
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, start.path.c_str(), files, &instructions.attributes,
                  Pointers(words).data(), Pointers(start.environment).data());
  if (error != 0)
    return absl::UnavailableError(
        absl::StrCat(start.path, ": ", strerror(error)));
  return pid;
}

void SystemProcesses::Signal(pid_t pid, const Running& running, int signal) {
  // One that has just begun may not have its group yet.
  if (!running.own_group || kill(-pid, signal) != 0) kill(pid, signal);
}

void SystemProcesses::Kill(pid_t pid, int signal) {
  // Only what was not reaped: another process may have the number by now.
  auto it = running_.find(pid);
  if (it != running_.end()) Signal(pid, it->second, signal);
}

void SystemProcesses::Reap() {
  siginfo_t ended = {};
  while (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         ended.si_pid != 0) {
    const pid_t pid = std::exchange(ended.si_pid, 0);
    auto it = running_.find(pid);
    // As long as it is not reaped, the number of its group is nobody else's.
    if (it != running_.end() && it->second.own_group) kill(-pid, SIGKILL);
    int status = 0;
    if (waitpid(pid, &status, WNOHANG) != pid) return;
    if (it == running_.end()) continue;
    OnExit on_exit = std::move(it->second.on_exit);
    running_.erase(it);
    on_exit(status);
  }
}

void SystemProcesses::KillAllAndWait() {
  on_child_.reset();
  for (const auto& [pid, running] : running_) Signal(pid, running, SIGKILL);
  for (const auto& [pid, running] : running_) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  running_.clear();
}

}  // namespace holdfast
