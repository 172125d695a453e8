#include "server/parent/offline_runner.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"
#include "server/parent/fake_processes.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class OfflineTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/offline_test.XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    options_.folder = folder_;
    options_.max_message_size = 100000;
    options_.agent = "/x/smtpd-agent";
    options_.smtpctl = "/x/smtpctl";
    options_.spool = "/spool";
    options_.own_uid = geteuid();
  }
  void TearDown() override {
    runner_.reset();
    const std::string command = "rm -rf " + folder_;
    ASSERT_EQ(system(command.c_str()), 0);
  }
  std::string Path(const std::string& name) { return folder_ + "/" + name; }
  void Put(const std::string& name,
           const std::string& text =
               "smtpd-offline-1|-f|ann|bob@example.org\n"
               "A: b\n\nx\n") {
    std::ofstream(Path(name), std::ios::binary) << text;
    ASSERT_EQ(chmod(Path(name).c_str(), 0600), 0);
  }
  bool Exists(const std::string& name) {
    return access(Path(name).c_str(), F_OK) == 0;
  }
  void Begin() {
    runner_ = std::make_unique<OfflineRunner>(&loop_, &processes_, options_);
    runner_->Begin();
    loop_.Advance(kOfflineFirst);
  }
  // Whether the folder's `name` may be handed in.
  bool Opens(const std::string& name) {
    OwnedFd dir(open(folder_.c_str(), O_RDONLY | O_DIRECTORY));
    return OpenOffline(dir.get(), name, options_.max_message_size).ok();
  }

  std::string folder_;
  FakeEventLoop loop_;
  FakeProcesses processes_;
  OfflineRunner::Options options_;
  std::unique_ptr<OfflineRunner> runner_;
};

TEST_F(OfflineTest, AMessageIsHandedInAsItsOwnerAndRemoved) {
  Put("1795324000.a");
  Begin();
  ASSERT_EQ(processes_.children.size(), 1u);
  FakeProcesses::Child* child = processes_.children[0].get();
  EXPECT_EQ(child->start.path, "/x/smtpd-agent");
  EXPECT_THAT(
      child->start.arguments,
      ElementsAre(absl::StrCat("--exec-uid=", geteuid()), "--", "/x/smtpctl",
                  "sendmail", "-S", "-f", "ann", "bob@example.org"));
  EXPECT_THAT(child->start.environment,
              testing::Contains("SMTPD_SPOOL=/spool"));
  char text[64];
  const ssize_t n = read(child->start.standard_input.get(), text, sizeof text);
  EXPECT_EQ(std::string(text, static_cast<size_t>(n)), "A: b\n\nx\n");
  EXPECT_TRUE(Exists("1795324000.a"));
  processes_.End(child, kExitedOkay);
  EXPECT_FALSE(Exists("1795324000.a"));
}

TEST_F(OfflineTest, WhatIsRefusedStaysAndIsTriedAgainLater) {
  Put("m");
  Begin();
  processes_.End(processes_.children.at(0).get(), kExitedOne);
  EXPECT_TRUE(Exists("m"));
  loop_.Advance(absl::Minutes(5));
  EXPECT_EQ(processes_.children.size(), 1u);
  loop_.Advance(absl::Minutes(7));
  EXPECT_EQ(processes_.children.size(), 2u);
}

TEST_F(OfflineTest, FiveAtATime) {
  for (int i = 0; i < 8; ++i) Put(absl::StrCat("m", i));
  Begin();
  loop_.Advance(absl::Seconds(10));
  EXPECT_EQ(processes_.children.size(), kMaxOfflineRuns);
  processes_.End(processes_.children[0].get(), kExitedOkay);
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(processes_.children.size(), kMaxOfflineRuns + 1);
}

TEST_F(OfflineTest, OneThatHangsIsKilled) {
  Put("m");
  Begin();
  loop_.Advance(kOfflineDeadline);
  EXPECT_THAT(processes_.children.at(0)->signals, ElementsAre(SIGKILL));
}

TEST_F(OfflineTest, NewOnesAreFoundWhileItRuns) {
  Begin();
  EXPECT_THAT(processes_.children, IsEmpty());
  Put("m");
  loop_.Advance(kOfflineEvery + kOfflinePause);
  EXPECT_EQ(processes_.children.size(), 1u);
}

TEST_F(OfflineTest, AFileThatWasExchangedIsNotRemoved) {
  Put("m");
  Begin();
  Put("other");
  ASSERT_EQ(rename(Path("other").c_str(), Path("m").c_str()), 0);
  processes_.End(processes_.children.at(0).get(), kExitedOkay);
  EXPECT_TRUE(Exists("m"));
}

TEST_F(OfflineTest, AnOldEmptyFileIsRemoved) {
  Put("young", "");
  Put("old", "");
  // The virtual clock began long ago or is far ahead; files follow it.
  auto set = [&](const std::string& name, absl::Duration age) {
    const timespec t = absl::ToTimespec(loop_.Now() - age);
    const timespec times[2] = {t, t};
    ASSERT_EQ(utimensat(AT_FDCWD, Path(name).c_str(), times, 0), 0);
  };
  set("young", absl::Seconds(1));
  set("old", absl::Hours(1));
  Begin();
  EXPECT_TRUE(Exists("young"));
  EXPECT_FALSE(Exists("old"));
}

TEST_F(OfflineTest, OnlyAFileOfItsOwnIsOpened) {
  Put("good");
  EXPECT_TRUE(Opens("good"));
  ASSERT_EQ(symlink(Path("good").c_str(), Path("link").c_str()), 0);
  EXPECT_FALSE(Opens("link"));
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  EXPECT_FALSE(Opens("pipe"));
  ASSERT_EQ(mkdir(Path("folder").c_str(), 0700), 0);
  EXPECT_FALSE(Opens("folder"));
  ASSERT_EQ(link(Path("good").c_str(), Path("second").c_str()), 0);
  EXPECT_FALSE(Opens("second"));
  EXPECT_FALSE(Opens("good"));  // has two names now
  EXPECT_FALSE(Opens("gone"));
}

TEST_F(OfflineTest, OddContents) {
  Put("no-line", "smtpd-offline-1|just words");
  EXPECT_FALSE(Opens("no-line"));
  Put("long-line",
      "smtpd-offline-1|" + std::string(kMaxOfflineArguments + 1, 'x') + "\n");
  EXPECT_FALSE(Opens("long-line"));
  Put("nul", std::string("smtpd-offline-1|a\0b\nx", 21));
  EXPECT_FALSE(Opens("nul"));
  Put("large", "smtpd-offline-1|bob\n" + std::string(200000, 'x'));
  EXPECT_FALSE(Opens("large"));
  // Somebody's file, moved here by whoever may move it.
  Put("foreign", "evil@example.org\n\nx\n");
  EXPECT_FALSE(Opens("foreign"));
}

TEST_F(OfflineTest, OnlyWhatNobodyElseMayReadIsOpened) {
  Put("m");
  for (const mode_t mode : {0644, 0660, 0400, 04600}) {
    ASSERT_EQ(chmod(Path("m").c_str(), mode), 0);
    EXPECT_FALSE(Opens("m")) << mode;
  }
}

TEST_F(OfflineTest, OnlyWhatWasMadeInTheFolderIsOpened) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_EQ(chown(folder_.c_str(), 0, 4242), 0);
  ASSERT_EQ(chmod(folder_.c_str(), 03733), 0);
  Put("made");
  EXPECT_TRUE(Opens("made"));
  // As the attack has it: root's file, in a folder that a user may write.
  const std::string elsewhere = folder_ + ".elsewhere";
  std::ofstream(elsewhere) << "smtpd-offline-1|bob@example.org\n\nx\n";
  ASSERT_EQ(chmod(elsewhere.c_str(), 0600), 0);
  ASSERT_EQ(rename(elsewhere.c_str(), Path("moved").c_str()), 0);
  EXPECT_FALSE(Opens("moved"));
}

TEST_F(OfflineTest, WhatIsTooMuchGoes) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  options_.privileged = true;
  Begin();
  loop_.Advance(kOfflinePause);
  auto put = [&](const std::string& name, uid_t owner) {
    Put(name, "x");
    ASSERT_EQ(chown(Path(name).c_str(), owner, getegid()), 0);
  };
  for (uint32_t i = 0; i < kMaxOfflineFiles + 7; ++i) {
    put(absl::StrCat("many", i), 4242);
    put(absl::StrCat("own", i), geteuid());
  }
  put("one", 4243);
  loop_.Advance(2 * kOfflineEvery);
  uint32_t left = 0;
  for (uint32_t i = 0; i < kMaxOfflineFiles + 7; ++i) {
    left += Exists(absl::StrCat("many", i));
    EXPECT_TRUE(Exists(absl::StrCat("own", i)));
  }
  EXPECT_EQ(left, kMaxOfflineFiles);
  EXPECT_TRUE(Exists("one"));
}

TEST_F(OfflineTest, WhatCameWhileNobodyRanIsAllHandedIn) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  options_.privileged = true;
  const uint32_t count = kMaxOfflineFiles + 7;
  for (uint32_t i = 0; i < count; ++i) {
    Put(absl::StrCat("m", i));
    ASSERT_EQ(chown(Path(absl::StrCat("m", i)).c_str(), 4242, getegid()), 0);
  }
  Begin();
  for (uint32_t i = 0; i < count; ++i) {
    loop_.Advance(kOfflinePause);
    ASSERT_GT(processes_.children.size(), i);
    processes_.End(processes_.children[i].get(), kExitedOkay);
  }
  for (uint32_t i = 0; i < count; ++i)
    EXPECT_FALSE(Exists(absl::StrCat("m", i)));
}

TEST_F(OfflineTest, FoldersHideNothing) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  options_.privileged = true;
  Begin();
  loop_.Advance(kOfflinePause);
  for (const char* name : {".d", ".d/e"}) {
    ASSERT_EQ(mkdir(Path(name).c_str(), 0), 0);
    ASSERT_EQ(chown(Path(name).c_str(), 4242, 4242), 0);
  }
  Put(".d/e/file");
  Put(".d/roots");
  ASSERT_EQ(chown(Path(".d/e/file").c_str(), 4242, 4242), 0);
  const std::string outside = folder_ + ".outside";
  std::ofstream(outside) << "x";
  ASSERT_EQ(symlink(outside.c_str(), Path(".d/e/link").c_str()), 0);
  ASSERT_EQ(lchown(Path(".d/e/link").c_str(), 4242, 4242), 0);
  loop_.Advance(2 * kOfflineEvery);
  EXPECT_FALSE(Exists(".d/e"));
  EXPECT_TRUE(Exists(".d/roots"));  // not its owner's
  EXPECT_EQ(access(outside.c_str(), F_OK), 0);
  unlink(outside.c_str());
}

TEST(OfflineUsage, CountsAndBytesOfEach) {
  OfflineUsage usage;
  EXPECT_TRUE(usage.Add(1, kMaxOfflineBytes - 1));
  EXPECT_FALSE(usage.Add(1, 2));
  EXPECT_TRUE(usage.Add(1, 1));
  EXPECT_FALSE(usage.Add(1, UINT64_MAX));
  for (uint32_t i = 0; i < kMaxOfflineFiles; ++i)
    EXPECT_TRUE(usage.Add(std::nullopt, 0));
  EXPECT_FALSE(usage.Add(std::nullopt, 0));
  EXPECT_TRUE(usage.Add(2, 0));
  usage.Clear();
  EXPECT_TRUE(usage.Add(1, kMaxOfflineBytes));
}

TEST_F(OfflineTest, AMessageBeingWrittenIsLeftAlone) {
  Put("m");
  OwnedFd writer(open(Path("m").c_str(), O_WRONLY | O_APPEND));
  EXPECT_FALSE(Opens("m"));
  writer.Reset();
  EXPECT_TRUE(Opens("m"));
}

TEST_F(OfflineTest, OthersMessagesNeedRoot) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  Put("m");
  ASSERT_EQ(chown(Path("m").c_str(), 65534, getegid()), 0);
  Begin();
  EXPECT_THAT(processes_.children, IsEmpty());
  options_.privileged = true;
  Begin();
  ASSERT_EQ(processes_.children.size(), 1u);
  EXPECT_THAT(processes_.children[0]->start.arguments,
              testing::Contains("--exec-uid=65534"));
}

}  // namespace
}  // namespace holdfast
