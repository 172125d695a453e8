// Programs as they really run: what such a process is and has, seen from
// inside.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "server/parent/program_starter.h"

namespace holdfast {
namespace {

using testing::HasSubstr;

constexpr WorkerId kWorker{3};

class ProgramProcessTest : public testing::Test {
 protected:
  // Runs a filter until it has ended once; what it said on its socket and on
  // standard error.
  void Run(const std::string& command, const std::string& user = "",
           const std::string& chroot = "") {
    ProgramSpec spec;
    spec.name = "f";
    spec.command = command;
    spec.user = user;
    spec.chroot = chroot;
    spec.folders = {"/nonexistent"};
    auto [parents, own] = MakeDoorPair(loop_.get());
    own->SetCallbacks([this](Frame& frame) { OnFrame(frame); },
                      [](absl::Status) {});
    SystemProcesses processes(loop_.get());
    char agent[4096] = "";
    ASSERT_NE(realpath("server/smtpd-agent", agent), nullptr);
    ProgramStarter starter(loop_.get(), &processes,
                           {agent, {"PATH=/usr/bin:/bin", "A=b"}}, {spec});
    starter.OnRoomReady(Room::kFilters, kWorker, parents.get());
    loop_->Run();
    processes.KillAllAndWait();
  }
  void OnFrame(Frame& frame) {
    if (frame.type == ProgramStarted::kType && fds_.empty())
      fds_ = std::move(frame.fds);
    if (frame.type != ProgramEnded::kType) return;
    loop_->Stop();
    said_ = Read(fds_.at(0).get());
    error_ = Read(fds_.at(1).get());
  }
  static std::string Read(int fd) {
    std::string out;
    char bytes[4096];
    ssize_t n;
    while ((n = read(fd, bytes, sizeof bytes)) > 0)
      out.append(bytes, static_cast<size_t>(n));
    return out;
  }

  std::unique_ptr<EventLoop> loop_ = MakeUvEventLoop();
  std::vector<OwnedFd> fds_;
  std::string said_, error_;
};

TEST_F(ProgramProcessTest, OnlyItsThreeDescriptorsAreOpen) {
  OwnedFd other(open("/dev/null", O_RDONLY));
  ASSERT_EQ(dup2(other.get(), 30), 30);
  Run("/bin/sh -c 'echo in; echo err >&2; n=0; "
      "while [ $n -lt 64 ]; do [ -e /proc/$$/fd/$n ] && printf %s. $n; "
      "n=$((n + 1)); done; echo; cd /proc/$$/fd; "
      "readlink 0; readlink 1; readlink 2; env; umask'");
  close(30);
  EXPECT_EQ(error_, "err\n");
  std::vector<std::string> lines;
  for (size_t at = 0, end; at < said_.size(); at = end + 1) {
    end = said_.find('\n', at);
    lines.push_back(said_.substr(at, end - at));
  }
  ASSERT_GT(lines.size(), 6u) << said_;
  EXPECT_EQ(lines[0], "in");
  EXPECT_EQ(lines[1], "0.1.2.");
  EXPECT_THAT(lines[2], HasSubstr("socket:"));
  EXPECT_EQ(lines[2], lines[3]);
  EXPECT_THAT(lines[4], HasSubstr("socket:"));
  EXPECT_NE(lines[2], lines[4]);
  EXPECT_THAT(said_, HasSubstr("\nA=b\n"));
  EXPECT_EQ(said_.find("HOME="), std::string::npos) << said_;
  EXPECT_THAT(said_, HasSubstr("\n0022\n"));
}

TEST_F(ProgramProcessTest, ItIsTheHeadOfASessionWithCleanSignals) {
  signal(SIGPIPE, SIG_IGN);
  Run("/bin/cat /proc/self/stat /proc/self/status");
  // pid (comm) state ppid pgrp session tty
  const size_t end = said_.find(") ");
  ASSERT_NE(end, std::string::npos) << said_;
  int parent = 0, group = 0, session = 0, terminal = 0;
  char state = 0;
  ASSERT_EQ(sscanf(said_.c_str() + end + 2, "%c %d %d %d %d", &state, &parent,
                   &group, &session, &terminal),
            5);
  EXPECT_EQ(group, atoi(said_.c_str()));
  EXPECT_EQ(session, group);
  EXPECT_EQ(terminal, 0);
  EXPECT_THAT(said_, HasSubstr("SigBlk:\t0000000000000000"));
  const size_t at = said_.find("SigIgn:\t");
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(std::stoull(said_.substr(at + 8), nullptr, 16) & 0x7fffffff, 0u);
  // A program of that user may do what it may do at his shell.
  EXPECT_THAT(said_, HasSubstr("NoNewPrivs:\t0"));
}

TEST_F(ProgramProcessTest, NothingIsLeftOfRoot) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  Run("/bin/sh -c 'id -u; id -g; id -G; grep Cap /proc/self/status'", "nobody");
  EXPECT_THAT(said_, HasSubstr("65534\n65534\n65534\n"));
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"})
    EXPECT_THAT(said_, HasSubstr(absl::StrCat(set, ":\t0000000000000000")));
}

TEST_F(ProgramProcessTest, WhatItLeavesBehindGoesWithIt) {
  Run("/bin/sh -c 'sleep 1000 & echo $!'");
  const pid_t left = atoi(said_.c_str());
  ASSERT_GT(left, 1);
  // Somebody reaps it sooner or later; it is dead.
  std::string state;
  for (int i = 0; i < 1000000 && kill(left, 0) == 0; ++i) {
    const OwnedFd stat(
        open(absl::StrCat("/proc/", left, "/stat").c_str(), O_RDONLY));
    if (!stat) break;
    state = Read(stat.get());
    if (state.find(") Z") != std::string::npos) break;
  }
  EXPECT_TRUE(kill(left, 0) != 0 || state.find(") Z") != std::string::npos)
      << state;
}

TEST_F(ProgramProcessTest, ACommandThatIsNotThereSaysSo) {
  Run("filter-of-nobody -x");
  EXPECT_THAT(error_, HasSubstr("/nonexistent/filter-of-nobody: not found"));
}

// The status is said by the agent, so nothing runs that could end.
TEST(ProgramProcess, WithoutItsUserOrChrootItIsNotStarted) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  struct Case {
    const char *user, *group, *chroot, *says;
  };
  for (const Case& c :
       {Case{"nobody-of-that-name", "", "", "no user nobody-of-that-name"},
        Case{"nobody", "no-such-group", "", "no group no-such-group"},
        Case{"nobody", "", "/nonexistent", "chroot /nonexistent: No such file"},
        Case{"nobody", "", "/var/empty-of-nobody", "chroot /var/empty"}}) {
    SCOPED_TRACE(c.says);
    std::unique_ptr<EventLoop> loop = MakeUvEventLoop();
    SystemProcesses processes(loop.get());
    ProgramArguments arguments;
    arguments.user = c.user;
    arguments.group = c.group;
    arguments.chroot = c.chroot;
    arguments.path = "/bin/true";
    arguments.words = {"true"};
    ProgramStart start;
    start.path = "server/smtpd-agent";
    start.arguments = ToArguments(arguments);
    int status[2];
    ASSERT_EQ(pipe2(status, O_CLOEXEC), 0);
    for (int i = 0; i < 2; ++i)
      start.fds.emplace_back(open("/dev/null", O_RDWR | O_CLOEXEC));
    start.fds.emplace_back(status[1]);
    int ended = -1;
    ASSERT_TRUE(processes
                    .Start(std::move(start),
                           [&](int how) {
                             ended = how;
                             loop->Stop();
                           })
                    .ok());
    loop->Run();
    char text[256];
    const ssize_t n = read(status[0], text, sizeof text);
    close(status[0]);
    ASSERT_GT(n, 0);
    EXPECT_THAT(std::string(text, static_cast<size_t>(n)), HasSubstr(c.says));
    EXPECT_TRUE(WIFEXITED(ended) && WEXITSTATUS(ended) == 75) << ended;
  }
}

}  // namespace
}  // namespace holdfast
