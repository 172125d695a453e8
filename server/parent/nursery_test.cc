// Agents that the nursery of smtpd-agent has forked.
#include "server/agent/nursery.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/agent/agent_arguments.h"
#include "server/parent/nursery_client.h"
#include "server/parent/processes.h"

namespace holdfast {
namespace {

constexpr char kAgent[] = "server/smtpd-agent";

std::string ReadProc(pid_t pid, const char* what) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/", what));
  return std::string(std::istreambuf_iterator<char>(file), {});
}
// The number behind "PPid:" and the like.
int StatusOf(pid_t pid, const std::string& field) {
  const std::string status = ReadProc(pid, "status");
  const size_t at = status.find("\n" + field + ":\t");
  return at == std::string::npos ? -1 : atoi(&status[at + field.size() + 3]);
}

class NurseryTest : public testing::Test {
 protected:
  struct Agent {
    absl::StatusOr<pid_t> pid = absl::UnknownError("");
    OwnedFd door, status;
    int exit = -1;
  };

  void Start(Agent* agent, bool with_nursery = true) {
    auto [ours, theirs] = MakeDoorSockets();
    int pipe[2];
    ASSERT_EQ(pipe2(pipe, O_CLOEXEC), 0);
    agent->door = std::move(ours);
    agent->status.Reset(pipe[0]);
    AgentArguments arguments;
    arguments.user = "tester";
    arguments.known = AgentArguments::User{geteuid(), getegid(), "/tmp"};
    ProgramStart start;
    start.path = kAgent;
    start.arguments = ToArguments(arguments);
    start.fds.push_back(std::move(theirs));
    start.fds.emplace_back(pipe[1]);
    start.nursery = with_nursery;
    agent->pid = processes_.Start(std::move(start), [this, agent](int status) {
      agent->exit = status;
      loop_->Stop();
    });
  }
  // What it said on its status descriptor.
  static std::string Said(const Agent& agent) {
    std::string said;
    char c;
    while (read(agent.status.get(), &c, 1) == 1) said.push_back(c);
    return said;
  }
  void End(Agent* agent) {
    agent->door.Reset();
    loop_->Run();
  }
  static pid_t NurseryPid() {
    const std::string children = ReadProc(
        getpid(), absl::StrCat("task/", getpid(), "/children").c_str());
    for (size_t at = 0; at < children.size(); at = children.find(' ', at) + 1) {
      const pid_t pid = atoi(&children[at]);
      if (ReadProc(pid, "comm") == "smtpd-agents\n") return pid;
    }
    return 0;
  }

  // One that is loaded and waits to be asked.
  pid_t AwaitNursery() {
    Agent first;
    Start(&first);
    EXPECT_TRUE(first.pid.ok()) << first.pid.status();
    EXPECT_EQ(Said(first), "o");
    End(&first);
    pid_t pid = 0;
    while (pid == 0 ||
           ReadProc(pid, "status").find("\nState:\tS") == std::string::npos)
      pid = NurseryPid();
    return pid;
  }
  // Whether it was forked: nobody has told it its own words.
  static bool IsForked(pid_t pid) {
    return ReadProc(pid, "cmdline").find(kNurseryArgument) != std::string::npos;
  }

  std::unique_ptr<EventLoop> loop_ = MakeUvEventLoop();
  SystemProcesses processes_{loop_.get()};
};

TEST_F(NurseryTest, ItsAgentsAreChildrenOfOurs) {
  const pid_t nursery = AwaitNursery();
  Agent one, two;
  Start(&one);
  Start(&two);
  ASSERT_TRUE(one.pid.ok()) << one.pid.status();
  ASSERT_TRUE(two.pid.ok()) << two.pid.status();
  EXPECT_EQ(Said(one), "o");
  EXPECT_EQ(Said(two), "o");
  for (const Agent* agent : {&one, &two}) {
    EXPECT_EQ(StatusOf(*agent->pid, "PPid"), getpid());
    EXPECT_TRUE(geteuid() != 0 || IsForked(*agent->pid));
    EXPECT_EQ(ReadProc(*agent->pid, "comm"), "smtpd-agent\n");
    EXPECT_EQ(StatusOf(*agent->pid, "NoNewPrivs"), 1);
    // Its own two, and the standard streams: nothing of the nursery's.
    for (int fd = 4; fd < 100; ++fd) {
      EXPECT_NE(
          access(absl::StrCat("/proc/", *agent->pid, "/fd/", fd).c_str(), F_OK),
          0)
          << fd;
    }
  }
  End(&one);
  EXPECT_EQ(one.exit, 0);
  EXPECT_EQ(two.exit, -1);
  End(&two);
  EXPECT_EQ(two.exit, 0);
  processes_.KillAllAndWait();
  EXPECT_NE(kill(nursery, 0), 0);
}

// On a cold disk that may take longer than a delivery would wait.
TEST_F(NurseryTest, WhileItIsLoadingTheProgramIsStarted) {
  NurserySockets sockets = MakeNurserySockets();
  EXPECT_FALSE(NurserySaidHello(sockets.ours.get()));
  Agent one;
  Start(&one);
  const pid_t nursery = NurseryPid();
  ASSERT_TRUE(one.pid.ok()) << one.pid.status();
  EXPECT_NE(*one.pid, nursery);
  EXPECT_EQ(Said(one), "o");
  EXPECT_TRUE(geteuid() != 0 || !IsForked(*one.pid));
  End(&one);
  processes_.KillAllAndWait();
}

TEST_F(NurseryTest, WithoutItTheProgramIsStarted) {
  const pid_t nursery = AwaitNursery();
  Agent one, two, three;
  Start(&one);
  ASSERT_TRUE(one.pid.ok());
  EXPECT_EQ(Said(one), "o");
  ASSERT_EQ(kill(nursery, SIGKILL), 0);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(nursery), &info, WEXITED | WNOWAIT),
            0);
  Start(&two);  // before its end was heard of
  ASSERT_TRUE(two.pid.ok()) << two.pid.status();
  EXPECT_EQ(Said(two), "o");
  End(&one);
  End(&two);
  EXPECT_EQ(two.exit, 0);
  EXPECT_NE(AwaitNursery(), nursery);
  Start(&three);  // by a new one
  ASSERT_TRUE(three.pid.ok());
  EXPECT_EQ(Said(three), "o");
  End(&three);
  processes_.KillAllAndWait();
}

TEST_F(NurseryTest, OneThatHangsIsGivenUp) {
  const pid_t nursery = AwaitNursery();
  Agent one, two, three;
  Start(&one);
  ASSERT_TRUE(one.pid.ok());
  EXPECT_EQ(Said(one), "o");
  ASSERT_EQ(kill(nursery, SIGSTOP), 0);
  siginfo_t info;
  ASSERT_EQ(
      waitid(P_PID, static_cast<id_t>(nursery), &info, WSTOPPED | WNOWAIT), 0);
  Start(&two);
  EXPECT_TRUE(absl::IsUnavailable(two.pid.status()));
  Start(&three);
  ASSERT_TRUE(three.pid.ok()) << three.pid.status();
  EXPECT_EQ(Said(three), "o");
  End(&one);
  End(&three);
  EXPECT_EQ(three.exit, 0);
  processes_.KillAllAndWait();
}

TEST(AskNursery, WhatItCantTakeIsNotAsked) {
  NurserySockets sockets = MakeNurserySockets();
  std::vector<OwnedFd> fds;
  fds.emplace_back(open("/dev/null", O_RDONLY));
  const auto ask = [&](const std::vector<std::string>& words) {
    return AskNursery(sockets.ours.get(), words, fds).status();
  };
  EXPECT_TRUE(absl::IsUnimplemented(ask({std::string(70000, 'x')})));
  EXPECT_TRUE(absl::IsUnimplemented(ask({std::string("a\0b", 3)})));
  EXPECT_TRUE(absl::IsUnimplemented(ask({})));
  sockets.theirs.Reset();
  EXPECT_TRUE(absl::IsUnimplemented(ask({"--user=bob"})));
}

}  // namespace
}  // namespace holdfast
