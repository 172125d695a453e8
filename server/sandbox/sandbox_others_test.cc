// What a room can do to another process of the same user: nothing.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <string>

#include "server/sandbox/sandbox_probe.h"

namespace holdfast {
namespace {

constexpr Room kRooms[] = {Room::kQueue,   Room::kLookup, Room::kKeys,
                           Room::kReceive, Room::kRelay,  Room::kDeliver,
                           Room::kFilters};

// Lives until it is killed; of the user of InSandbox(), not dumpable.
class Victim {
 public:
  Victim() {
    int ready[2];
    if (pipe(ready) != 0) abort();
    pid_ = fork();
    if (pid_ == 0) {
      if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(1);
      prctl(PR_SET_DUMPABLE, dumpable_, 0, 0, 0);
      if (write(ready[1], "x", 1) != 1) _exit(1);
      for (;;) pause();
    }
    char c;
    if (read(ready[0], &c, 1) != 1) abort();
    close(ready[0]);
    close(ready[1]);
  }
  ~Victim() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  // Neither dead nor stopped.
  bool IsWell() const {
    int status = 0;
    return waitpid(pid_, &status, WNOHANG | WUNTRACED) == 0;
  }

 private:
  static constexpr int dumpable_ = 1;  // the worst case
  pid_t pid_ = 0;
};

using Attempt = std::function<long(pid_t victim)>;

long ReadMemory(pid_t victim) {
  static char bytes[8];
  const iovec ours = {bytes, sizeof bytes};
  const iovec theirs = {bytes, sizeof bytes};
  return syscall(SYS_process_vm_readv, victim, &ours, 1, &theirs, 1, 0);
}

long SignalByOwner(pid_t victim) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return -1;
  if (fcntl(pair[0], F_SETOWN, victim) != 0) return -1;
  if (fcntl(pair[0], F_SETSIG, SIGKILL) != 0) return -1;
  if (fcntl(pair[0], F_SETFL, O_ASYNC) != 0) return -1;
  return write(pair[1], "x", 1);
}

long SignalByIoctl(pid_t victim) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return -1;
  const int owner = victim;
  return ioctl(pair[0], FIOSETOWN, &owner);
}

long SignalWithInfo(pid_t victim) {
  siginfo_t info = {};
  info.si_code = SI_QUEUE;
  return syscall(SYS_rt_sigqueueinfo, victim, SIGKILL, &info);
}

long SignalThreadWithInfo(pid_t victim) {
  siginfo_t info = {};
  info.si_code = SI_QUEUE;
  return syscall(SYS_rt_tgsigqueueinfo, victim, victim, SIGKILL, &info);
}

long Limit(pid_t victim) {
  const rlimit limit = {0, 0};
  return prlimit(victim, RLIMIT_CPU, &limit, nullptr);
}

long OpenMemory(pid_t victim) {
  return open(("/proc/" + std::to_string(victim) + "/mem").c_str(), O_RDWR);
}

// Opened outside, as if it had been left open.
int inherited_pidfd = -1;

const std::map<std::string, Attempt>& Attempts() {
  static const auto* attempts = new std::map<std::string, Attempt>{
      {"kill 0", [](pid_t v) -> long { return kill(v, 0); }},
      {"kill", [](pid_t v) -> long { return kill(v, SIGKILL); }},
      {"kill -1", [](pid_t) -> long { return kill(-1, SIGKILL); }},
      {"kill group", [](pid_t) -> long { return kill(0, SIGTERM); }},
      {"tkill", [](pid_t v) { return syscall(SYS_tkill, v, SIGKILL); }},
      {"tgkill", [](pid_t v) { return syscall(SYS_tgkill, v, v, SIGKILL); }},
      {"sigqueue", SignalWithInfo},
      {"tgsigqueue", SignalThreadWithInfo},
      {"pidfd_open", [](pid_t v) { return syscall(SYS_pidfd_open, v, 0); }},
      {"pidfd_send_signal",
       [](pid_t) {
         return syscall(SYS_pidfd_send_signal, inherited_pidfd, SIGKILL,
                        nullptr, 0);
       }},
      {"pidfd_getfd",
       [](pid_t) { return syscall(SYS_pidfd_getfd, inherited_pidfd, 0, 0); }},
      {"ptrace attach",
       [](pid_t v) { return ptrace(PTRACE_ATTACH, v, nullptr, nullptr); }},
      {"ptrace seize",
       [](pid_t v) { return ptrace(PTRACE_SEIZE, v, nullptr, nullptr); }},
      {"process_vm_readv", ReadMemory},
      {"/proc/PID/mem", OpenMemory},
      {"F_SETOWN", SignalByOwner},
      {"FIOSETOWN", SignalByIoctl},
      {"prlimit", Limit},
      {"setpriority",
       [](pid_t v) -> long {
         return setpriority(PRIO_PROCESS, static_cast<id_t>(v), 19);
       }},
  };
  return *attempts;
}

class SandboxOthersTest : public testing::TestWithParam<Room> {};

TEST_P(SandboxOthersTest, CanDoNothingToAnotherProcess) {
  // What lookup may open is up to the other: rooms are not dumpable.
  for (const auto& [name, attempt] : Attempts()) {
    if (GetParam() == Room::kLookup && name == "/proc/PID/mem") continue;
    Victim victim;
    inherited_pidfd =
        static_cast<int>(syscall(SYS_pidfd_open, victim.pid(), 0));
    const int error = InSandbox(RulesOf(GetParam(), "/nonexistent"), [&] {
      return attempt(victim.pid()) < 0 ? errno : 0;
    });
    close(inherited_pidfd);
    EXPECT_TRUE(error == EPERM || error == EACCES) << name << ": " << error;
    EXPECT_TRUE(victim.IsWell()) << name;
  }
}

TEST_P(SandboxOthersTest, CanStillAbort) {
  EXPECT_EQ(
      InSandbox(RulesOf(GetParam(), "/nonexistent"), []() -> int { abort(); }),
      kKilledInSandbox);
}

INSTANTIATE_TEST_SUITE_P(Rooms, SandboxOthersTest, testing::ValuesIn(kRooms),
                         [](const auto& info) {
                           return std::string(RoomName(info.param));
                         });

// That the attempts are any: outside they succeed.
TEST(OutsideTheSandbox, TheSameAttemptsSucceed) {
  for (const char* name : {"kill 0", "kill", "tkill", "tgkill", "sigqueue",
                           "pidfd_send_signal", "F_SETOWN"}) {
    Victim victim;
    inherited_pidfd =
        static_cast<int>(syscall(SYS_pidfd_open, victim.pid(), 0));
    EXPECT_GE(Attempts().at(name)(victim.pid()), 0) << name;
    close(inherited_pidfd);
  }
}

}  // namespace
}  // namespace holdfast
