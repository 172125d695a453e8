// smtpd-agent as a process of its own, over a socket pair; and the mbox locks.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/agent/agent_process_for_test.h"
#include "server/agent/mbox.h"
#include "server/door/door.h"
#include "server/door/worker_messages.h"
#include "storage/mailbox/mbox_lock.h"

namespace holdfast {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr uint32_t kNobody = 65534;

TEST_F(AgentTest, AGroupBecomesVisibleAtItsCommit) {
  AgentArguments arguments = Maildir();
  arguments.mailbox_user = "bob";
  arguments.mailbox_home = "/home/bob";
  AgentProcess agent(arguments);
  EXPECT_EQ(agent.said(), "o/home/bob");
  for (uint64_t id = 1; id <= 3; ++id)
    agent.Deliver(Delivery(id), absl::StrCat("A: b\n\nmessage ", id, "\n"));
  const std::string maildir = home_ + "/Maildir";
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 3u);
  for (uint64_t id = 1; id <= 3; ++id) {
    EXPECT_EQ(results[id - 1].envelope, EnvelopeId(id));
    EXPECT_TRUE(results[id - 1].ok) << results[id - 1].text;
  }
  EXPECT_THAT(List(maildir + "/tmp"), IsEmpty());
  EXPECT_EQ(List(maildir + "/new").size(), 3u);
  const std::string file = maildir + "/new/1795324000.uuid.2.host";
  EXPECT_EQ(ReadFile(file), "A: b\n\nmessage 2\n");
  EXPECT_EQ(ModeOf(file), 0600u);
  for (const char* folder : {"", "/new", "/cur", "/tmp"})
    EXPECT_EQ(ModeOf(maildir + folder), 0700u) << folder;
  // It goes on with the next group.
  agent.Deliver(Delivery(4), "x\n");
  EXPECT_EQ(agent.Commit(2).size(), 1u);
  EXPECT_EQ(List(maildir + "/new").size(), 4u);
  EXPECT_EQ(agent.End(), 0);
}

TEST_F(AgentTest, GivenUpBeforeTheCommitNothingIsLeft) {
  AgentProcess agent(Maildir());
  agent.Deliver(Delivery(1), "x\n");
  ASSERT_TRUE(agent.door().Send(Delivery(2)).ok());
  EXPECT_EQ(agent.End(), 0);
  EXPECT_THAT(List(home_ + "/Maildir/tmp"), IsEmpty());
  EXPECT_THAT(List(home_ + "/Maildir/new"), IsEmpty());
}

TEST_F(AgentTest, WhatAKilledAgentLeftIsReplaced) {
  ASSERT_EQ(mkdir((home_ + "/Maildir").c_str(), 0700), 0);
  ASSERT_EQ(mkdir((home_ + "/Maildir/tmp").c_str(), 0700), 0);
  WriteFile(home_ + "/Maildir/tmp/" + Delivery(1).file_name, "half a mess");
  AgentProcess agent(Maildir());
  agent.Deliver(Delivery(1), "whole\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_TRUE(results[0].ok) << results[0].text;
  EXPECT_THAT(List(home_ + "/Maildir/tmp"), IsEmpty());
  EXPECT_EQ(ReadFile(home_ + "/Maildir/new/" + Delivery(1).file_name),
            "whole\n");
}

TEST_F(AgentTest, InDoubtLooksForTheFileFirst) {
  AgentProcess agent(Maildir());
  agent.Settle();
  agent.Deliver(Delivery(1), "mine\n");
  agent.Deliver(Delivery(2), "mine\n");
  ASSERT_EQ(agent.Commit().size(), 2u);
  const std::string maildir = home_ + "/Maildir";
  const std::string name = Delivery(1).file_name;
  // A reader has seen the first.
  ASSERT_EQ(rename((maildir + "/new/" + name).c_str(),
                   (maildir + "/cur/" + name + ":2,RS").c_str()),
            0);
  for (uint64_t id : {1, 2, 3}) {
    AgentDelivery again = Delivery(id);
    again.in_doubt = true;
    agent.Deliver(again, "mine\n");
  }
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 3u);
  for (const auto& one : results) EXPECT_TRUE(one.ok) << one.text;
  EXPECT_EQ(List(maildir + "/cur").size(), 1u);
  EXPECT_EQ(List(maildir + "/new").size(),
            2u);  // 2, and 3, which was not there
  EXPECT_THAT(List(maildir + "/tmp"), IsEmpty());
}

TEST_F(AgentTest, InDoubtAFileOfAnotherLengthIsAnother) {
  AgentProcess agent(Maildir());
  agent.Deliver(Delivery(1), "other\n");
  ASSERT_EQ(agent.Commit().size(), 1u);
  const std::string maildir = home_ + "/Maildir";
  const std::string name = Delivery(1).file_name;
  ASSERT_EQ(rename((maildir + "/new/" + name).c_str(),
                   (maildir + "/cur/" + name + ":2,").c_str()),
            0);
  AgentDelivery again = Delivery(1);
  again.in_doubt = true;
  agent.Deliver(again, "mine, which is longer\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_TRUE(results[0].ok);
  EXPECT_EQ(ReadFile(maildir + "/new/" + name), "mine, which is longer\n");
}

TEST_F(AgentTest, InDoubtWhatCannotBeOpenedIsPassedOver) {
  const std::string maildir = home_ + "/Maildir";
  AgentProcess agent(Maildir());
  agent.Deliver(Delivery(1), "first\n");
  ASSERT_EQ(agent.Commit().size(), 1u);
  const std::string link = maildir + "/cur/" + Delivery(2).file_name + ":2,S";
  ASSERT_EQ(symlink("nowhere", link.c_str()), 0);
  AgentDelivery again = Delivery(2);
  again.in_doubt = true;
  agent.Deliver(again, "second\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_TRUE(results[0].ok) << results[0].text;
  EXPECT_EQ(ReadFile(maildir + "/new/" + Delivery(2).file_name), "second\n");
}

TEST_F(AgentTest, NothingIsOverwritten) {
  AgentProcess agent(Maildir());
  agent.Deliver(Delivery(1), "first\n");
  ASSERT_TRUE(agent.Commit().at(0).ok);
  agent.Deliver(Delivery(1), "second\n");
  agent.Deliver(Delivery(2), "third\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_FALSE(results[0].ok);
  EXPECT_FALSE(results[0].permanent);
  EXPECT_THAT(results[0].text, EndsWith("File exists"));
  EXPECT_TRUE(results[1].ok);
  EXPECT_EQ(ReadFile(home_ + "/Maildir/new/" + Delivery(1).file_name),
            "first\n");
  EXPECT_THAT(List(home_ + "/Maildir/tmp"), IsEmpty());
}

TEST_F(AgentTest, SubfoldersAndJunk) {
  const std::string maildir = home_ + "/M";
  ASSERT_EQ(mkdir(maildir.c_str(), 0700), 0);
  ASSERT_EQ(mkdir((maildir + "/.lists:x").c_str(), 0700), 0);
  AgentProcess agent(Maildir());
  AgentDelivery delivery = Delivery(1);
  delivery.path = maildir;
  delivery.subaddress = "lists/x";  // '/' becomes ':'
  agent.Deliver(delivery, "a\n");
  delivery = Delivery(2);
  delivery.path = maildir;
  delivery.subaddress = "unknown";
  agent.Deliver(delivery, "a\n");
  delivery = Delivery(3);
  delivery.path = maildir;
  delivery.subaddress = "..";
  agent.Deliver(delivery, "a\n");
  delivery = Delivery(4);
  delivery.path = maildir;
  delivery.junk = true;
  agent.Deliver(delivery, "A: b\nX-Spam: Yes\n\ntext\n");
  delivery = Delivery(5);
  delivery.path = maildir;
  delivery.junk = true;
  agent.Deliver(delivery, "A: b\n\nX-Spam: yes\n");
  for (const auto& one : agent.Commit()) EXPECT_TRUE(one.ok) << one.text;
  EXPECT_EQ(List(maildir + "/.lists:x/new"),
            std::vector<std::string>{Delivery(1).file_name});
  EXPECT_EQ(List(maildir + "/.Junk/new"),
            std::vector<std::string>{Delivery(4).file_name});
  EXPECT_EQ(List(maildir + "/new").size(), 3u);
}

TEST_F(AgentTest, OneFailureIsItsOwn) {
  AgentProcess agent(Maildir(), /*file_limit=*/1000);
  agent.Deliver(Delivery(1), "small\n");
  agent.Deliver(Delivery(2), std::string(5000, 'x'));
  AgentDelivery relative = Delivery(3);
  relative.path = "Maildir";
  agent.Deliver(relative, "x\n");
  AgentDelivery odd = Delivery(4);
  odd.file_name = "../x";
  agent.Deliver(odd, "x\n");
  agent.Deliver(Delivery(5), "cut of", /*cancel=*/true);
  agent.Deliver(Delivery(6), "small\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 6u);
  EXPECT_TRUE(results[0].ok);
  EXPECT_FALSE(results[1].ok);
  EXPECT_FALSE(results[1].permanent);
  EXPECT_THAT(results[1].text, EndsWith("File too large"));
  EXPECT_TRUE(results[2].permanent);
  EXPECT_TRUE(results[3].permanent);
  EXPECT_FALSE(results[4].ok);
  EXPECT_FALSE(results[4].permanent);
  EXPECT_TRUE(results[5].ok);
  EXPECT_EQ(List(home_ + "/Maildir/new").size(), 2u);
  EXPECT_THAT(List(home_ + "/Maildir/tmp"), IsEmpty());
}

TEST_F(AgentTest, AFileInTheWayIsATemporaryFailure) {
  WriteFile(home_ + "/Maildir", "not a folder");
  AgentProcess agent(Maildir());
  agent.Deliver(Delivery(1), "x\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_FALSE(results[0].ok);
  EXPECT_FALSE(results[0].permanent);
  EXPECT_THAT(results[0].text, HasSubstr("Not a directory"));
}

TEST_F(AgentTest, ALargeGroup) {
  AgentProcess agent(Maildir());
  for (uint64_t id = 1; id <= 200; ++id) agent.Deliver(Delivery(id), "x\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 200u);
  for (const auto& one : results) EXPECT_TRUE(one.ok) << one.text;
  EXPECT_EQ(List(home_ + "/Maildir/new").size(), 200u);
}

TEST_F(AgentTest, ABrokenPeerEndsIt) {
  AgentProcess agent(Maildir());
  ASSERT_TRUE(agent.door().Send(AgentText{}).ok());
  const int status = agent.Wait();
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
  // The other method than the one it was started for.
  AgentProcess other(Maildir());
  ASSERT_TRUE(other.door().Send(MboxDelivery(1)).ok());
  EXPECT_EQ(WEXITSTATUS(other.Wait()), 1);
}

// ---- mbox

TEST_F(AgentTest, MboxAppends) {
  AgentProcess agent(Mbox());
  agent.Deliver(MboxDelivery(1), "A: b\n\nFrom me\nhello");
  agent.Deliver(MboxDelivery(2), "C: d\n\nworld\n");
  for (const auto& one : agent.Commit()) EXPECT_TRUE(one.ok) << one.text;
  const std::string mbox = ReadFile(home_ + "/bob");
  EXPECT_THAT(mbox, StartsWith("From ann@example.org "));
  EXPECT_THAT(mbox, HasSubstr("\nA: b\n\n>From me\nhello\n\nFrom ann@"));
  EXPECT_THAT(mbox, EndsWith("\nC: d\n\nworld\n\n"));
  EXPECT_EQ(ModeOf(home_ + "/bob"), 0660u);
  EXPECT_EQ(List(home_), std::vector<std::string>{"bob"});
  agent.Deliver(MboxDelivery(3), "E: f\n\nagain\n");
  EXPECT_TRUE(agent.Commit().at(0).ok);
  EXPECT_THAT(ReadFile(home_ + "/bob"), StartsWith(mbox));
}

TEST_F(AgentTest, MboxIsAsBeforeWhenAWriteFails) {
  const std::string old = "From x now\n\n" + std::string(5000, 'y') + "\n\n";
  WriteFile(home_ + "/bob", old);
  AgentProcess agent(Mbox(), /*file_limit=*/old.size() + 300);
  agent.Deliver(MboxDelivery(1), std::string(1000, 'z'));
  agent.Deliver(MboxDelivery(2), "small\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_FALSE(results[0].ok);
  EXPECT_FALSE(results[0].permanent);
  EXPECT_THAT(results[0].text, EndsWith("File too large"));
  EXPECT_TRUE(results[1].ok) << results[1].text;
  const std::string mbox = ReadFile(home_ + "/bob");
  EXPECT_THAT(mbox, StartsWith(old + "From ann@example.org "));
  EXPECT_THAT(mbox, EndsWith("\nsmall\n\n"));
  EXPECT_THAT(mbox, testing::Not(HasSubstr("z")));
}

TEST_F(AgentTest, MboxCutOffByACrashIsEndedFirst) {
  WriteFile(home_ + "/bob", "From x now\nhalf a li");
  AgentProcess agent(Mbox());
  agent.Deliver(MboxDelivery(1), "A: b\n\nc\n");
  EXPECT_TRUE(agent.Commit().at(0).ok);
  EXPECT_THAT(ReadFile(home_ + "/bob"),
              StartsWith("From x now\nhalf a li\n\nFrom ann@"));
}

TEST_F(AgentTest, MboxMustBeAFileOfItsOwn) {
  WriteFile(home_ + "/target", "precious\n");
  const std::string mbox = home_ + "/bob";
  auto refused = [&](const char* what) {
    AgentProcess agent(Mbox());
    agent.Deliver(MboxDelivery(1), "x\n");
    const auto results = agent.Commit();
    ASSERT_EQ(results.size(), 1u) << what;
    EXPECT_FALSE(results[0].ok) << what;
    EXPECT_FALSE(results[0].permanent) << what;
    EXPECT_EQ(ReadFile(home_ + "/target"), "precious\n") << what;
    EXPECT_NE(access((mbox + ".lock").c_str(), F_OK), 0) << what;
    unlink(mbox.c_str());
  };
  ASSERT_EQ(symlink((home_ + "/target").c_str(), mbox.c_str()), 0);
  refused("link");
  ASSERT_EQ(link((home_ + "/target").c_str(), mbox.c_str()), 0);
  refused("hard link");
  ASSERT_EQ(mkfifo(mbox.c_str(), 0600), 0);
  refused("pipe");
}

TEST_F(AgentTest, MboxOfAStrangeNameIsNoUsers) {
  AgentProcess agent(Mbox());
  AgentDelivery delivery = MboxDelivery(1);
  delivery.mailbox_user = "../bob";
  agent.Deliver(delivery, "x\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_TRUE(results[0].permanent);
}

class MboxLockTest : public AgentTest {
 protected:
  AgentResults::One DeliverNow() {
    MboxOptions options;
    options.mail_dir = home_;
    options.owner = geteuid();
    options.lock_wait = absl::ZeroDuration();
    MboxGroup group(options);
    group.Begin(MboxDelivery(1));
    group.Write("x\n");
    group.End();
    return group.Commit().at(0);
  }
  void MakeLock(const std::string& content, int age_seconds) {
    const std::string lock = home_ + "/bob.lock";
    WriteFile(lock, content);
    timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= age_seconds;
    times[1] = times[0];
    ASSERT_EQ(utimensat(AT_FDCWD, lock.c_str(), times, 0), 0);
  }
  // A process that does not live any more.
  std::string DeadPid() {
    const pid_t pid = fork();
    if (pid == 0) _exit(0);
    waitpid(pid, nullptr, 0);
    return absl::StrCat(pid, "\n");
  }
};

TEST_F(MboxLockTest, SomebodysLockIsRespected) {
  MakeLock(DeadPid(), 10);  // young
  EXPECT_THAT(DeliverNow().text, EndsWith("mailbox is locked"));
  MakeLock(absl::StrCat(getpid(), "\n"), 3600);  // old, but he lives
  EXPECT_FALSE(DeliverNow().ok);
  EXPECT_EQ(List(home_), std::vector<std::string>{"bob.lock"});
}

TEST_F(MboxLockTest, AStaleLockIsBroken) {
  MakeLock(DeadPid(), 3600);
  MboxOptions options;
  // The first look breaks it; the second takes it.
  options.mail_dir = home_;
  options.owner = geteuid();
  options.lock_wait = absl::Seconds(20);
  MboxGroup group(options);
  group.Begin(MboxDelivery(1));
  group.End();
  EXPECT_TRUE(group.Commit().at(0).ok);
  EXPECT_EQ(List(home_), std::vector<std::string>{"bob"});
}

TEST_F(MboxLockTest, AnotherProcesssFcntlLockIsRespected) {
  WriteFile(home_ + "/bob", "");
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    const int fd = open((home_ + "/bob").c_str(), O_RDWR);
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    if (fcntl(fd, F_SETLK, &lock) != 0 || write(ready[1], "x", 1) != 1)
      _exit(1);
    pause();
    _exit(0);
  }
  char c;
  ASSERT_EQ(read(ready[0], &c, 1), 1);
  EXPECT_THAT(DeliverNow().text, EndsWith("mailbox is locked"));
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  EXPECT_TRUE(DeliverNow().ok);
  close(ready[0]);
  close(ready[1]);
}

// ---- who it works as

TEST_F(AgentTest, AnUnknownUserIsAPermanentFailure) {
  AgentArguments arguments;
  arguments.user = "no-such-user-here";
  AgentProcess agent(arguments);
  EXPECT_EQ(agent.said(), "pdelivery user 'no-such-user-here' does not exist");
}

TEST_F(AgentTest, AnOrdinaryUserServesOnlyHimself) {
  AgentArguments arguments;
  arguments.user = "other";
  arguments.known = AgentArguments::User{geteuid() + 1, getegid(), "/"};
  AgentProcess agent(arguments);
  EXPECT_EQ(agent.said(),
            "tsmtpd runs as an ordinary user and can't deliver as other");
}

class AgentAsRootTest : public AgentTest {
 protected:
  void SetUp() override {
    AgentTest::SetUp();
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    ASSERT_EQ(chmod(home_.c_str(), 0755), 0);
    ASSERT_EQ(chown(home_.c_str(), kNobody, kNobody), 0);
  }
  AgentArguments AsNobody() const {
    AgentArguments arguments;
    arguments.privileged = true;
    arguments.user = "nobody";
    arguments.known = AgentArguments::User{kNobody, kNobody, home_};
    return arguments;
  }
};

TEST_F(AgentAsRootTest, FilesAreTheUsers) {
  AgentProcess agent(AsNobody());
  EXPECT_EQ(agent.said(), "o");
  agent.Deliver(Delivery(1), "x\n");
  EXPECT_TRUE(agent.Commit().at(0).ok);
  struct stat st;
  ASSERT_EQ(
      stat((home_ + "/Maildir/new/" + Delivery(1).file_name).c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, kNobody);
  EXPECT_EQ(st.st_gid, kNobody);
  // Supplementary groups, capabilities and new privileges are gone.
  const std::string status =
      ReadFile(absl::StrCat("/proc/", agent.pid(), "/status"));
  EXPECT_THAT(status, HasSubstr("Uid:\t65534\t65534\t65534\t65534\n"));
  EXPECT_THAT(status, HasSubstr("Groups:\t65534 \n"));
  EXPECT_THAT(status, HasSubstr("CapEff:\t0000000000000000\n"));
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1\n"));
}

TEST_F(AgentAsRootTest, AnothersFolderIsClosed) {
  ASSERT_EQ(chown(home_.c_str(), 0, 0), 0);
  AgentProcess agent(AsNobody());
  agent.Deliver(Delivery(1), "x\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_THAT(results[0].text, EndsWith("Permission denied"));
}

TEST_F(AgentAsRootTest, RootIsRefusedButForMbox) {
  AgentArguments arguments;
  arguments.privileged = true;
  arguments.user = "root";
  EXPECT_EQ(AgentProcess(arguments).said(),
            "pMDA not allowed to deliver to: root");
  arguments.mbox = true;
  arguments.mail_dir = home_;
  EXPECT_EQ(AgentProcess(arguments).said(), "o");
}

TEST_F(AgentAsRootTest, MboxHasTheGroupOfTheFolder) {
  constexpr gid_t kMail = 8;
  ASSERT_EQ(chown(home_.c_str(), 0, kMail), 0);
  ASSERT_EQ(chmod(home_.c_str(), 0775), 0);
  AgentArguments arguments = AsNobody();
  arguments.mbox = true;
  arguments.mail_dir = home_;
  AgentProcess agent(arguments);
  agent.Deliver(MboxDelivery(1), "x\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_TRUE(results[0].ok) << results[0].text;
  struct stat st;
  ASSERT_EQ(stat((home_ + "/bob").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, kNobody);
  EXPECT_EQ(st.st_gid, kMail);
  EXPECT_EQ(st.st_mode & 07777, 0660u);
}

TEST_F(AgentAsRootTest, ExecBecomesTheOwner) {
  AgentArguments arguments;
  arguments.privileged = true;
  arguments.exec_uid = kNobody;
  arguments.exec = {
      "/bin/sh", "-c",
      absl::StrCat("id -u > ", home_, "/who; id -G >> ", home_, "/who")};
  AgentProcess program(arguments);
  EXPECT_EQ(program.Wait(), 0);
  EXPECT_EQ(ReadFile(home_ + "/who"), "65534\n65534\n");
}

}  // namespace
}  // namespace holdfast
