#include "server/parent/program_starter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

constexpr size_t kMaxStatusBytes = 4096;

// What a socket of a program holds in each direction: a message passes in few
// turns.  The kernel may give less.
constexpr int kSocketBytes = 256 << 10;

// Ours, which does not block, and the program's, which does.
std::pair<OwnedFd, OwnedFd> MakeStream() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return {};
  std::pair<OwnedFd, OwnedFd> out{OwnedFd(fds[0]), OwnedFd(fds[1])};
  for (int fd : fds) {
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof kSocketBytes);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kSocketBytes, sizeof kSocketBytes);
  }
  if (fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) return {};
  return out;
}

// A filter must not end at all, so the reference makes no difference.
std::string HowProgramEnded(int wait_status) {
  if (WIFSIGNALED(wait_status))
    return absl::StrCat("terminated; signal ", WTERMSIG(wait_status));
  return "exited abnormally";
}

}  // namespace

absl::Duration ProgramRestartDelay(int failures) {
  static constexpr int kMilliseconds[] = {0,    100,   500,  1000,
                                          3000, 10000, 30000};
  constexpr int kLast = std::size(kMilliseconds) - 1;
  return absl::Milliseconds(kMilliseconds[std::clamp(failures, 0, kLast)]);
}

ProgramStarter::ProgramStarter(EventLoop* loop, Processes* processes,
                               Options options,
                               const std::vector<ProgramSpec>& programs)
    : loop_(loop), processes_(processes), options_(std::move(options)) {
  for (const ProgramSpec& spec : programs) {
    programs_.push_back(std::make_unique<Program>());
    programs_.back()->spec = spec;
  }
}

void ProgramStarter::OnRoomReady(Room room, WorkerId worker, Door* door) {
  for (const auto& program : programs_) {
    if (program->spec.room != room) continue;
    program->worker = worker;
    program->door = door;
    program->failures = 0;
    // One that is ending is started again when it has.
    if (program->state == State::kIdle) Launch(program.get());
  }
}

void ProgramStarter::OnRoomDied(Room room, WorkerId worker) {
  for (const auto& program : programs_) {
    if (program->spec.room != room || program->worker != worker) continue;
    program->door = nullptr;
    if (program->pid != 0) {
      End(program.get());
    } else {
      program->timer.reset();
      program->state = State::kIdle;
    }
  }
}

void ProgramStarter::End(Program* program) {
  if (program->state == State::kEnding) return;
  program->state = State::kEnding;
  program->socket.Reset();
  program->error.Reset();
  processes_->Kill(program->pid, SIGTERM);
  program->timer = loop_->RunAfter(kProgramGrace, [this, program] {
    processes_->Kill(program->pid, SIGKILL);
  });
}

void ProgramStarter::OnKill(WorkerId worker, const ProgramKill& kill) {
  for (const auto& program : programs_) {
    if (program->worker == worker && program->door != nullptr &&
        program->spec.name == kill.name && program->number == kill.number &&
        program->state == State::kRunning)
      return processes_->Kill(program->pid, SIGKILL);
  }
}

void ProgramStarter::Launch(Program* program) {
  program->started = loop_->Elapsed();
  const absl::Status spawned = Spawn(program);
  if (spawned.ok()) return;
  LogWarn("warn: %s: %s", VisEncode(program->spec.name), spawned.message());
  LaunchLater(program);
}

absl::Status ProgramStarter::Spawn(Program* program) {
  auto [socket, their_socket] = MakeStream();
  auto [error, their_error] = MakeStream();
  int status[2] = {-1, -1};
  if (!socket || !error || pipe2(status, O_CLOEXEC) != 0)
    return absl::UnavailableError("no descriptors for a program");
  program->status.Reset(status[0]);
  ProgramStart start;
  start.path = options_.agent;
  start.arguments = ToArguments(program->spec.Arguments());
  start.environment = options_.environment;
  start.own_group = true;
  start.fds.push_back(std::move(their_socket));
  start.fds.push_back(std::move(their_error));
  start.fds.emplace_back(status[1]);
  fcntl(status[0], F_SETFL, O_NONBLOCK);
  absl::StatusOr<pid_t> pid = processes_->Start(
      std::move(start), [this, program](int how) { OnExit(program, how); });
  if (!pid.ok()) return pid.status();
  program->pid = *pid;
  program->number = next_number_++;
  program->state = State::kStarting;
  program->socket = std::move(socket);
  program->error = std::move(error);
  program->said.clear();
  program->watch = loop_->WatchDescriptor(
      program->status.get(), [this, program] { ReadStatus(program); }, [] {});
  program->watch->Want(true, false);
  program->timer = loop_->RunAfter(kProgramStartDeadline, [this, program] {
    LogWarn("warn: %s: no answer from the user database",
            VisEncode(program->spec.name));
    // Its end is not its beginning.
    program->watch.reset();
    program->status.Reset();
    processes_->Kill(program->pid, SIGKILL);
  });
  return absl::OkStatus();
}

void ProgramStarter::LaunchLater(Program* program) {
  program->state = State::kWaiting;
  program->timer = loop_->RunAfter(ProgramRestartDelay(program->failures++),
                                   [this, program] { Launch(program); });
}

// Nothing said, and the end: it has become the program (or has died, which
// OnExit() hears of).
void ProgramStarter::ReadStatus(Program* program) {
  char bytes[512];
  ssize_t n;
  while ((n = read(program->status.get(), bytes, sizeof bytes)) > 0) {
    const size_t room = kMaxStatusBytes - program->said.size();
    program->said.append(bytes, std::min(room, static_cast<size_t>(n)));
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  program->watch.reset();
  program->status.Reset();
  if (program->said.empty()) OnStarted(program);
}

void ProgramStarter::OnStarted(Program* program) {
  if (program->state != State::kStarting) return;
  program->timer.reset();
  program->state = State::kRunning;
  ProgramStarted started;
  started.name = program->spec.name;
  started.number = program->number;
  std::vector<OwnedFd> fds;
  fds.push_back(std::move(program->socket));
  fds.push_back(std::move(program->error));
  program->door->Send(started, std::move(fds));
}

void ProgramStarter::OnExit(Program* program, int wait_status) {
  // What it said last may not have been read yet.
  if (program->watch != nullptr) ReadStatus(program);
  program->watch.reset();
  program->status.Reset();
  program->socket.Reset();
  program->error.Reset();
  program->timer.reset();
  program->pid = 0;
  const State state = std::exchange(program->state, State::kIdle);
  if (state == State::kEnding) {
    if (program->door != nullptr) return Launch(program);
    const bool gone =
        std::none_of(programs_.begin(), programs_.end(),
                     [](const auto& one) { return one->pid != 0; });
    if (gone && when_gone_) std::exchange(when_gone_, nullptr)();
    return;
  }
  const std::string name = VisEncode(program->spec.name);
  const std::string how = HowProgramEnded(wait_status);
  if (!program->said.empty()) {
    LogWarn("warn: %s: cannot be started: %s", name, VisEncode(program->said));
  } else if (!stopping_) {
    LogWarn("warn: lost processor: %s %s", name, how);
  }
  if (state == State::kRunning) {
    ProgramEnded ended;
    ended.name = program->spec.name;
    ended.number = program->number;
    ended.how = how;
    program->door->Send(ended);
    if (loop_->Elapsed() - program->started >= kProgramGoodLife)
      program->failures = 0;
  }
  if (!stopping_) LaunchLater(program);
}

void ProgramStarter::WhenGone(Task done) {
  bool any = false;
  for (const auto& program : programs_) {
    program->door = nullptr;
    program->failures = 0;
    if (program->pid != 0) {
      any = true;
      End(program.get());
    } else {
      program->timer.reset();
      program->state = State::kIdle;
    }
  }
  if (!any) return done();
  when_gone_ = std::move(done);
}

}  // namespace holdfast
