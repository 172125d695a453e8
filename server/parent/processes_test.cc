#include "server/parent/processes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

ProgramStart Shell(const std::string& command) {
  ProgramStart start;
  start.path = "/bin/sh";
  start.arguments = {"-c", command};
  return start;
}

class ProcessesTest : public testing::Test {
 protected:
  // Runs it to its end; the status, and what it wrote on descriptor 3.
  int Run(ProgramStart start) {
    int out[2];
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    start.fds.emplace(start.fds.begin(), out[1]);
    int status = -1;
    auto pid = processes_.Start(std::move(start), [&](int s) {
      status = s;
      loop_->Stop();
    });
    EXPECT_TRUE(pid.ok());
    loop_->Run();
    char buffer[4096];
    ssize_t n;
    while ((n = read(out[0], buffer, sizeof buffer)) > 0)
      said_.append(buffer, static_cast<size_t>(n));
    close(out[0]);
    return status;
  }

  std::unique_ptr<EventLoop> loop_ = MakeUvEventLoop();
  SystemProcesses processes_{loop_.get()};
  std::string said_;
};

TEST_F(ProcessesTest, OnlyWhatIsGivenIsOpen) {
  // Not even what is not close-on-exec.
  OwnedFd other(open("/dev/null", O_RDONLY));
  ASSERT_EQ(dup2(other.get(), 30), 30);
  int extra[2];
  ASSERT_EQ(pipe2(extra, O_CLOEXEC), 0);
  ProgramStart start = Shell(
      "for n in 0 1 2 3 4 5 6 7 8 9 30; do"
      "  if [ -e /proc/$$/fd/$n ]; then echo $n; fi; "
      "done >&3; env >&3");
  start.fds.emplace_back(extra[0]);
  close(extra[1]);
  start.environment = {"A=b"};
  EXPECT_EQ(Run(std::move(start)), 0);
  close(30);
  EXPECT_EQ(said_.substr(0, 14), "0\n1\n2\n3\n4\nA=b\n");
  EXPECT_EQ(said_.find("HOME="), std::string::npos) << said_;
}

TEST_F(ProcessesTest, StandardInput) {
  int in[2];
  ASSERT_EQ(pipe2(in, O_CLOEXEC), 0);
  ASSERT_EQ(write(in[1], "hello", 5), 5);
  close(in[1]);
  ProgramStart start = Shell("cat >&3");
  start.standard_input.Reset(in[0]);
  EXPECT_EQ(Run(std::move(start)), 0);
  EXPECT_EQ(said_, "hello");
  said_.clear();
  EXPECT_EQ(Run(Shell("cat >&3")), 0);  // /dev/null
  EXPECT_EQ(said_, "");
}

TEST_F(ProcessesTest, SignalsAreAsTheyShouldBe) {
  signal(SIGPIPE, SIG_IGN);
  ProgramStart start =
      Shell("exec grep -E 'SigIgn|SigBlk' /proc/self/status >&3");
  EXPECT_EQ(Run(std::move(start)), 0);
  EXPECT_NE(said_.find("SigBlk:\t0000000000000000"), std::string::npos)
      << said_;
  // The two that libc keeps for itself are none of ours.
  const size_t at = said_.find("SigIgn:\t");
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(std::stoull(said_.substr(at + 8), nullptr, 16) & 0x7fffffff, 0u)
      << said_;
}

TEST_F(ProcessesTest, Ends) {
  EXPECT_EQ(HowItEnded(Run(Shell("exit 0"))), "exited okay");
  EXPECT_EQ(HowItEnded(Run(Shell("exit 3"))), "exited abnormally");
  EXPECT_EQ(HowItEnded(Run(Shell("kill -9 $$"))), "terminated; signal 9");
  EXPECT_EQ(HowItEnded(Run(Shell("kill -ALRM $$"))), "terminated; timeout");
}

TEST_F(ProcessesTest, WhatCantBeStartedIsSaid) {
  ProgramStart start;
  start.path = "/nowhere/program";
  auto pid = processes_.Start(std::move(start), [](int) { FAIL(); });
  EXPECT_EQ(pid.status().message(),
            "/nowhere/program: No such file or directory");
}

TEST_F(ProcessesTest, KillAllWaits) {
  auto pid = processes_.Start(Shell("while :; do sleep 10; done"), [](int) {});
  ASSERT_TRUE(pid.ok());
  processes_.KillAllAndWait();
  EXPECT_EQ(waitpid(*pid, nullptr, WNOHANG), -1);
}

TEST_F(ProcessesTest, AGroupOfItsOwnIsKilledAsAWhole) {
  // The shell waits for its child, which ignores the signal.
  ProgramStart start;
  start.path = "/usr/bin/setsid";
  start.arguments = {"/bin/sh", "-c",
                     "sh -c 'echo $$; exec sleep 1000' >&3 & wait"};
  start.own_group = true;
  int out[2];
  ASSERT_EQ(pipe2(out, O_CLOEXEC), 0);
  start.fds.emplace_back(out[1]);
  int status = -1;
  auto pid = processes_.Start(std::move(start), [&](int s) {
    status = s;
    loop_->Stop();
  });
  ASSERT_TRUE(pid.ok());
  char byte = 0;
  ASSERT_EQ(read(out[0], &byte, 1), 1);  // it runs
  processes_.Kill(*pid, SIGTERM);
  loop_->Run();
  EXPECT_EQ(HowItEnded(status), "terminated; signal 15");
  // The last of them has closed it.
  while (read(out[0], &byte, 1) > 0) {
  }
  close(out[0]);
}

}  // namespace
}  // namespace holdfast
