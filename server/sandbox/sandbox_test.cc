#include "server/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

namespace holdfast {
namespace {

// Runs `what` in a child inside the sandbox; its value is the exit status.
// The sandbox can't be left, so the test itself must not enter it.
int InSandbox(const SandboxRules& rules, const std::function<int()>& what) {
  const pid_t child = fork();
  if (child == 0) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(100);
    const auto missing = EnterSandbox(rules);
    if (!missing.ok()) _exit(101);
    if (!missing->empty()) _exit(102);
    _exit(what());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

int OpenError(const char* path, int flags) {
  return open(path, flags, 0600) >= 0 ? 0 : errno;
}

TEST(SandboxTest, TheQueueWritesInItsFolderOnly) {
  char folder[] = "/tmp/sandbox_test.XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const SandboxRules rules = RulesOf(Room::kQueue, folder);
  const std::string inside = std::string(folder) + "/data";
  EXPECT_EQ(
      InSandbox(rules,
                [&] { return OpenError(inside.c_str(), O_CREAT | O_RDWR); }),
      0);
  EXPECT_EQ(InSandbox(rules, [] { return OpenError("/etc/passwd", O_RDONLY); }),
            EACCES);
  unlink(inside.c_str());
  rmdir(folder);
}

TEST(SandboxTest, RoomsOnTheNetworkSeeNoFiles) {
  for (Room room : {Room::kReceive, Room::kRelay}) {
    const SandboxRules rules = RulesOf(room, "/nonexistent");
    EXPECT_EQ(
        InSandbox(rules, [] { return OpenError("/etc/passwd", O_RDONLY); }),
        EACCES);
    EXPECT_EQ(
        InSandbox(
            rules,
            [] { return socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 0 : errno; }),
        0);
  }
}

TEST(SandboxTest, RoomsOffTheNetworkMakeNoInternetSockets) {
  for (Room room : {Room::kQueue, Room::kLookup, Room::kDeliver}) {
    const SandboxRules rules = RulesOf(room, "/nonexistent");
    EXPECT_EQ(
        InSandbox(
            rules,
            [] { return socket(AF_INET6, SOCK_STREAM, 0) >= 0 ? 0 : errno; }),
        EPERM);
  }
}

TEST(SandboxTest, NoRoomRunsPrograms) {
  EXPECT_EQ(InSandbox(RulesOf(Room::kLookup, "/nonexistent"),
                      [] {
                        execl("/bin/true", "true", nullptr);
                        return errno;
                      }),
            EPERM);
}

}  // namespace
}  // namespace holdfast
