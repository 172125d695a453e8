#include "server/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "server/sandbox/sandbox_probe.h"

namespace holdfast {
namespace {

constexpr Room kRooms[] = {Room::kQueue,   Room::kLookup, Room::kKeys,
                           Room::kReceive, Room::kRelay,  Room::kDeliver,
                           Room::kFilters};

int OpenError(const std::string& path, int flags) {
  return open(path.c_str(), flags, 0600) >= 0 ? 0 : errno;
}
int SocketError(long family) {
  return syscall(SYS_socket, family, SOCK_STREAM, 0) >= 0 ? 0 : errno;
}

// A folder of everybody's with a file of everybody's in it.
class SandboxTest : public testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/sandbox_test.XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    file_ = folder_ + "/data";
    ASSERT_EQ(chmod(folder, 0777), 0);
    ASSERT_EQ(OpenError(file_, O_CREAT | O_RDWR), 0);
    ASSERT_EQ(chmod(file_.c_str(), 0666), 0);
    if (geteuid() == 0) {
      ASSERT_EQ(chown(file_.c_str(), 65534, 65534), 0);
    }
  }
  void TearDown() override {
    for (const char* name : {"/data", "/new", "/link"})
      unlink((folder_ + name).c_str());
    rmdir(folder_.c_str());
  }

  std::string folder_, file_;
};

TEST_F(SandboxTest, TheQueueWritesInItsFolderOnly) {
  const SandboxRules rules = RulesOf(Room::kQueue, folder_);
  EXPECT_EQ(InSandbox(rules,
                      [&] {
                        return OpenError(folder_ + "/new",
                                         O_CREAT | O_RDWR | O_TRUNC);
                      }),
            0);
  EXPECT_EQ(InSandbox(rules, [] { return OpenError("/etc/passwd", O_RDONLY); }),
            EACCES);
}

// Messages on their way through milters: files without a name.
TEST_F(SandboxTest, FiltersWriteInTheirFolderOnly) {
  const SandboxRules rules = RulesOf(Room::kFilters, folder_);
  EXPECT_EQ(
      InSandbox(rules, [&] { return OpenError(folder_, O_TMPFILE | O_RDWR); }),
      0);
  EXPECT_EQ(
      InSandbox(rules, [] { return OpenError("/tmp", O_TMPFILE | O_RDWR); }),
      EACCES);
  EXPECT_EQ(InSandbox(rules, [] { return OpenError("/etc/passwd", O_RDONLY); }),
            EACCES);
}

TEST_F(SandboxTest, OnlyLookupReadsFiles) {
  for (Room room : kRooms) {
    EXPECT_EQ(InSandbox(RulesOf(room, "/nonexistent"),
                        [] { return OpenError("/etc/passwd", O_RDONLY); }),
              room == Room::kLookup ? 0 : EACCES)
        << RoomName(room);
  }
}

TEST_F(SandboxTest, NobodyElseWritesOrChangesAFile) {
  for (Room room : kRooms) {
    const SandboxRules rules = RulesOf(room, "/nonexistent");
    const char* file = file_.c_str();
    EXPECT_EQ(InSandbox(rules, [&] { return OpenError(file_, O_WRONLY); }),
              EACCES);
    auto refused = [&](const std::function<int()>& call) {
      const int error =
          InSandbox(rules, [&] { return call() == 0 ? 0 : errno; });
      EXPECT_TRUE(error == EPERM || error == EACCES)
          << RoomName(room) << ' ' << error;
    };
    refused([&] { return truncate(file, 0); });
    refused([&] { return chmod(file, 0777); });
    refused([&] { return chown(file, 65534, 65534); });
    refused([&] { return unlink(file); });
    refused([&] { return rename(file, (folder_ + "/new").c_str()); });
    refused([&] { return link(file, (folder_ + "/new").c_str()); });
    refused([&] { return symlink(file, (folder_ + "/new").c_str()); });
    refused([&] { return mkfifo((folder_ + "/new").c_str(), 0600); });
    refused([&] { return mkdir((folder_ + "/new").c_str(), 0700); });
    refused([&] { return utimensat(AT_FDCWD, file, nullptr, 0); });
    refused([&] { return chroot("/"); });
  }
}

TEST_F(SandboxTest, SocketsAreForThoseWhoNeedThem) {
  for (Room room : kRooms) {
    const SandboxRules rules = RulesOf(room, "/nonexistent");
    const int internet = room == Room::kRelay ? 0 : EPERM;
    const bool chrooted = room == Room::kReceive || room == Room::kRelay ||
                          room == Room::kDeliver;
    EXPECT_EQ(InSandbox(rules, [] { return SocketError(AF_INET); }), internet);
    EXPECT_EQ(InSandbox(rules, [] { return SocketError(AF_INET6); }), internet);
    // The kernel looks at the lower half of the argument only.
    EXPECT_EQ(InSandbox(rules, [] { return SocketError(AF_INET6 | 1L << 32); }),
              EPERM);
    EXPECT_EQ(InSandbox(rules, [] { return SocketError(AF_UNIX); }),
              chrooted ? EPERM : 0);
    for (int family : {AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG})
      EXPECT_EQ(InSandbox(rules, [&] { return SocketError(family); }), EPERM);
  }
}

TEST_F(SandboxTest, AThreadMayOnlyStepBehindTheOthers) {
  for (Room room : kRooms) {
    const SandboxRules rules = RulesOf(room, "/nonexistent");
    auto error = [&](pid_t whose, int policy) {
      return InSandbox(rules, [=] {
        sched_param none = {};
        none.sched_priority = policy == SCHED_FIFO ? 1 : 0;
        return sched_setscheduler(whose, policy, &none) == 0 ? 0 : errno;
      });
    };
    EXPECT_EQ(error(0, SCHED_IDLE), 0);
    EXPECT_EQ(error(0, SCHED_FIFO), EPERM);
    EXPECT_EQ(error(0, SCHED_OTHER), EPERM);
    EXPECT_EQ(error(getppid(), SCHED_IDLE), EPERM);
    auto disk = [&](int who, int whose, int priority) {
      return InSandbox(rules, [=] {
        return syscall(SYS_ioprio_set, who, whose, priority) == 0 ? 0 : errno;
      });
    };
    EXPECT_EQ(disk(1, 0, 2 << 13 | 7), 0);
    EXPECT_EQ(disk(1, 0, 2 << 13 | 0), EPERM);
    EXPECT_EQ(disk(2, 0, 2 << 13 | 7), EPERM) << "a process group";
    EXPECT_EQ(disk(1, getppid(), 2 << 13 | 7), EPERM);
  }
}

TEST_F(SandboxTest, NoRoomStartsProgramsOrProcesses) {
  for (Room room : kRooms) {
    const SandboxRules rules = RulesOf(room, "/nonexistent");
    EXPECT_EQ(InSandbox(rules,
                        [] {
                          execl("/bin/true", "true", nullptr);
                          return errno;
                        }),
              EPERM);
    EXPECT_EQ(InSandbox(rules, [] { return fork() < 0 ? errno : 0; }), EPERM);
    EXPECT_EQ(InSandbox(rules,
                        [] {
                          return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0,
                                         0, 0, 0) < 0
                                     ? errno
                                     : 0;
                        }),
              EPERM);
    EXPECT_EQ(InSandbox(rules,
                        [] { return unshare(CLONE_NEWUSER) != 0 ? errno : 0; }),
              EPERM)
        << "unshare";
  }
}

TEST_F(SandboxTest, ThreadsWorkAndAreInsideToo) {
  for (Room room : kRooms) {
    EXPECT_EQ(InSandbox(RulesOf(room, "/nonexistent"),
                        [&] {
                          int error = 0;
                          std::thread([&] {
                            error = OpenError(file_, O_WRONLY);
                          }).join();
                          return error;
                        }),
              EACCES);
  }
}

// A kernel without Landlock and seccomp, played by an outer filter.
TEST_F(SandboxTest, WhatTheKernelLacksIsSaid) {
  for (const bool landlock : {false, true}) {
    const pid_t child = fork();
    if (child == 0) {
      if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(100);
      scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
      if (!landlock)
        seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS),
                         SCMP_SYS(landlock_create_ruleset), 0);
      seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(seccomp), 0);
      seccomp_rule_add(filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1,
                       SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP));
      if (seccomp_load(filter) != 0) _exit(101);
      const auto missing = EnterSandbox(RulesOf(Room::kRelay, "/x"));
      if (!missing.ok()) _exit(102);
      const std::vector<std::string> wanted =
          landlock ? std::vector<std::string>{"seccomp"}
                   : std::vector<std::string>{"Landlock", "seccomp"};
      _exit(*missing == wanted ? 0 : 103);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << WEXITSTATUS(status);
  }
}

}  // namespace
}  // namespace holdfast
