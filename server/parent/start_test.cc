// What parent opens at its start: spool, local sockets, listeners.
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/parent/instance.h"
#include "server/parent/listener_sockets.h"
#include "server/parent/spool_setup.h"
#include "server/parent/system_facts.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class StartTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/start_test.XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    paths_ = PathsBelow(folder_ + "/a/b");
  }
  void TearDown() override {
    const std::string command = "rm -rf " + folder_;
    ASSERT_EQ(system(command.c_str()), 0);
  }
  absl::Status SetUpNow() {
    problems_.clear();
    return SetUpSpool(paths_, {geteuid(), geteuid(), getegid()}, &problems_);
  }
  static mode_t ModeOf(const std::string& path) {
    struct stat st = {};
    stat(path.c_str(), &st);
    return st.st_mode & 07777;
  }

  std::string folder_;
  SpoolPaths paths_;
  std::vector<std::string> problems_;
};

TEST_F(StartTest, TheSpoolIsMadeAndThenAccepted) {
  umask(077);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(SetUpNow().ok()) << testing::PrintToString(problems_);
    EXPECT_EQ(ModeOf(paths_.root), 0711u);
    EXPECT_EQ(ModeOf(paths_.store), 0700u);
    EXPECT_EQ(ModeOf(paths_.offline), 03733u);
    EXPECT_EQ(ModeOf(EmptyFolder(paths_)), 0711u);
  }
}

TEST_F(StartTest, WrongModesAreNamed) {
  ASSERT_TRUE(SetUpNow().ok());
  ASSERT_EQ(chmod(paths_.root.c_str(), 0755), 0);
  EXPECT_EQ(SetUpNow().message(), "error in spool directory setup");
  EXPECT_THAT(problems_, ElementsAre(paths_.root + " must be rwx--x--x (711)"));
  ASSERT_EQ(chmod(paths_.root.c_str(), 0711), 0);
  ASSERT_EQ(chmod(paths_.offline.c_str(), 0777), 0);
  ASSERT_EQ(mkdir((paths_.offline + "/x").c_str(), 0700), 0);
  EXPECT_EQ(SetUpNow().message(), "error in offline directory setup");
  EXPECT_THAT(problems_,
              ElementsAre(paths_.offline + " must be rwx-wx-wt (3733)"));
}

TEST_F(StartTest, AnEmptyFolderMadeByHandIsAdopted) {
  ASSERT_EQ(mkdir((folder_ + "/a").c_str(), 0755), 0);
  ASSERT_EQ(mkdir(paths_.root.c_str(), 0755), 0);
  ASSERT_EQ(chmod(paths_.root.c_str(), 0755), 0);
  ASSERT_TRUE(SetUpNow().ok()) << testing::PrintToString(problems_);
  EXPECT_EQ(ModeOf(paths_.root), 0711u);
  // As the reference has it.
  ASSERT_EQ(chmod(paths_.offline.c_str(), 0770), 0);
  ASSERT_TRUE(SetUpNow().ok()) << testing::PrintToString(problems_);
  EXPECT_EQ(ModeOf(paths_.offline), 03733u);
}

TEST_F(StartTest, ALinkIsNoFolder) {
  ASSERT_TRUE(SetUpNow().ok());
  ASSERT_EQ(rmdir(paths_.store.c_str()), 0);
  ASSERT_EQ(symlink("/tmp", paths_.store.c_str()), 0);
  EXPECT_FALSE(SetUpNow().ok());
  EXPECT_THAT(problems_, ElementsAre(paths_.store + " is not a directory"));
}

TEST_F(StartTest, WrongOwnersAreNamedAsRoot) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_TRUE(SetUpNow().ok());
  ASSERT_EQ(chown(paths_.store.c_str(), 65534, 65534), 0);
  EXPECT_FALSE(SetUpNow().ok());
  EXPECT_THAT(problems_, ElementsAre(paths_.store + " is not owned by uid 0"));
  ASSERT_EQ(chown(paths_.store.c_str(), 0, 0), 0);
  ASSERT_EQ(chown(paths_.offline.c_str(), 0, 65534), 0);
  EXPECT_FALSE(SetUpNow().ok());
  EXPECT_THAT(problems_,
              ElementsAre(paths_.offline + " is not owned by gid 0"));
}

TEST_F(StartTest, OneInstanceForEachSpool) {
  ASSERT_TRUE(SetUpNow().ok());
  auto first = Instance::Begin(paths_);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(ModeOf(paths_.control_socket), 0666u);
  EXPECT_EQ(ModeOf(paths_.enqueue_socket), 0666u);
  auto second = Instance::Begin(paths_);
  EXPECT_EQ(second.status().message(), "control socket already listening");
  ASSERT_TRUE((*first)->WritePid().ok());
  std::ifstream pid_file(paths_.pid_file);
  int pid = 0;
  pid_file >> pid;
  EXPECT_EQ(pid, getpid());
  first->reset();
  for (const std::string& path :
       {paths_.control_socket, paths_.enqueue_socket, paths_.pid_file})
    EXPECT_NE(access(path.c_str(), F_OK), 0) << path;
  EXPECT_TRUE(Instance::Begin(paths_).ok());
}

TEST_F(StartTest, SomebodysSocketIsNotTakenAway) {
  ASSERT_TRUE(SetUpNow().ok());
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  paths_.control_socket.copy(address.sun_path, sizeof address.sun_path - 1);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  OwnedFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(bind(fd.get(), generic, sizeof address), 0);
  ASSERT_EQ(listen(fd.get(), 1), 0);
  EXPECT_EQ(Instance::Begin(paths_).status().message(),
            "control socket already listening");
  // What a killed instance left is.
  fd.Reset();
  EXPECT_TRUE(Instance::Begin(paths_).ok());
}

// ---- listeners

const std::vector<InterfaceAddress> kInterfaces = {
    {"lo", "127.0.0.1", false, 0},
    {"lo", "::1", true, 0},
    {"eth0", "192.0.2.7", false, 0}};

Listener On(const std::string& where,
            Listener::Family family = Listener::Family::kAny) {
  Listener listener;
  listener.where = where;
  listener.port = 2525;
  listener.family = family;
  return listener;
}
std::vector<std::string> Texts(const std::vector<Listener>& listeners) {
  std::vector<std::string> out;
  auto resolved = ResolveListeners(listeners, kInterfaces);
  if (!resolved.ok()) return {std::string(resolved.status().message())};
  for (const ListenAddress& one : *resolved)
    out.push_back(absl::StrCat(one.listener, " ", one.text, " ", one.port));
  return out;
}

TEST(Listeners, InterfacesThenAddresses) {
  EXPECT_THAT(Texts({On("lo"), On("192.0.2.1"), On("::")}),
              ElementsAre("0 127.0.0.1 2525", "0 [::1] 2525",
                          "1 192.0.2.1 2525", "2 [::] 2525"));
  EXPECT_THAT(Texts({On("lo", Listener::Family::kInet6)}),
              ElementsAre("0 [::1] 2525"));
  EXPECT_THAT(Texts({On("eth0", Listener::Family::kInet6)}),
              ElementsAre("invalid virtual ip or interface: eth0"));
  EXPECT_THAT(Texts({On("[::1]")}),
              ElementsAre("invalid virtual ip or interface: [::1]"));
  EXPECT_THAT(Texts({On("nosuchif.invalid")}),
              ElementsAre("invalid virtual ip or interface: nosuchif.invalid"));
}

TEST(Listeners, SharedAmongOursRefusedToOthers) {
  Listener listener = On("127.0.0.1");
  listener.port = 0;
  auto addresses = ResolveListeners({listener}, kInterfaces);
  ASSERT_TRUE(addresses.ok());
  auto first = ListenOn(&*addresses, true);
  ASSERT_TRUE(first.ok()) << first.status();
  sockaddr_in bound = {};
  socklen_t length = sizeof bound;
  ASSERT_EQ(getsockname(first->at(0).get(), reinterpret_cast<sockaddr*>(&bound),
                        &length),
            0);
  listener.port = ntohs(bound.sin_port);
  addresses = ResolveListeners({listener}, kInterfaces);
  ASSERT_TRUE(addresses.ok());
  auto second = ListenOn(&*addresses, true);
  EXPECT_TRUE(second.ok()) << second.status();
  auto alone = ListenOn(&*addresses, false);
  EXPECT_FALSE(alone.ok());
  EXPECT_THAT(std::string(alone.status().message()),
              testing::HasSubstr("Address already in use"));
}

TEST(Listeners, TooMany) {
  EXPECT_TRUE(ResolveListeners(
                  std::vector<Listener>(kMaxListenAddresses, On("127.0.0.1")),
                  kInterfaces)
                  .ok());
  EXPECT_FALSE(ResolveListeners(std::vector<Listener>(kMaxListenAddresses + 1,
                                                      On("127.0.0.1")),
                                kInterfaces)
                   .ok());
}

TEST(ReadWholeFile, SaysWhatTheSystemSays) {
  EXPECT_EQ(ReadWholeFile("/nowhere/at all").status().message(),
            "No such file or directory");
  EXPECT_EQ(ReadWholeFile("/tmp").status().message(), "Is a directory");
  EXPECT_FALSE(ReadWholeFile("/dev/zero").ok());
}

// As a shell gives `-f <(command)`.
TEST(ReadWholeFile, APipeIsReadToItsEnd) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (const char* piece : {"one\n", "two\n"}) {
      int left = 1;
      while (left != 0 && !done && ioctl(fds[0], FIONREAD, &left) == 0) {
        std::this_thread::yield();
      }
      EXPECT_EQ(write(fds[1], piece, 4), 4);
    }
    close(fds[1]);
  });
  const auto text = ReadWholeFile(absl::StrCat("/dev/fd/", fds[0]));
  done = true;
  writer.join();
  close(fds[0]);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text, "one\ntwo\n");
}

}  // namespace
}  // namespace holdfast
