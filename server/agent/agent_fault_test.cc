// What a disk that is full or broken does to deliveries: the system's error in
// the log, another try, and nothing twice.
#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/agent/agent_process_for_test.h"

namespace holdfast {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

const std::string Large(char c) { return std::string(20000, c) + "\n"; }

size_t CountOf(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

// ---- a quota: write(2) says so, or, on file servers, fsync(2)

class QuotaTest : public AgentTest, public testing::WithParamInterface<int> {
 protected:
  // write: of so many octets at least, so that a test can tell the copy into
  // the mailbox (all of a letter) from what comes before (half of it).
  static std::vector<Fault> Full(uint32_t at_least) {
    return {{GetParam(), EDQUOT, GetParam() == SYS_write ? at_least : 0}};
  }
  // That of one message that does not fit.
  static void ExpectTooMuch(const AgentResults::One& one) {
    EXPECT_FALSE(one.ok);
    EXPECT_FALSE(one.permanent);
    EXPECT_FALSE(one.in_doubt);
    EXPECT_THAT(one.text, EndsWith("Disk quota exceeded"));
    EXPECT_THAT(one.text, StartsWith("/tmp/agent_test."));
  }
};

TEST_P(QuotaTest, OfAMaildir) {
  for (const char* folder : {"", "/tmp", "/new", "/cur"})
    ASSERT_EQ(mkdir((home_ + "/Maildir" + folder).c_str(), 0700), 0);
  AgentProcess agent(Maildir(), 0, Full(5000));
  agent.Deliver(Delivery(1), Large('x'));
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 1u);
  ExpectTooMuch(results[0]);
  EXPECT_THAT(List(home_ + "/Maildir/tmp"), IsEmpty());
  EXPECT_THAT(List(home_ + "/Maildir/new"), IsEmpty());
}

TEST_P(QuotaTest, OfAnMbox) {
  const std::string old = "From x now\n\nold\n\n";
  WriteFile(home_ + "/bob", old);
  AgentProcess agent(Mbox(), 0, Full(15000));
  agent.Deliver(MboxDelivery(1), Large('x'));
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 1u);
  ExpectTooMuch(results[0]);
  EXPECT_EQ(ReadFile(home_ + "/bob"), old);
}

TEST_P(QuotaTest, OfAFileOfTheUsers) {
  AgentArguments arguments = Maildir();
  arguments.commands = true;
  AgentProcess agent(arguments, 0, Full(15000));
  AgentDelivery delivery = Delivery(1);
  delivery.method = AgentDelivery::Method::kCommand;
  delivery.exec = home_ + "/box";
  delivery.from = "ann@example.org";
  agent.Deliver(delivery, Large('x'));
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 1u);
  ExpectTooMuch(results[0]);
  EXPECT_THAT(ReadFile(home_ + "/box"), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Quota, QuotaTest,
                         testing::Values(SYS_write, SYS_fsync),
                         [](const auto& info) {
                           return info.param == SYS_write ? "Write" : "Sync";
                         });

TEST_F(AgentTest, AQuotaOfFilesIsATemporaryFailure) {
  AgentProcess first(Maildir());
  first.Deliver(Delivery(1), "x\n");
  EXPECT_TRUE(first.Commit().at(0).ok);
  // The rename needs a block more for the folder.
  AgentProcess agent(Maildir(), 0, {{SYS_renameat2, EDQUOT, 0}});
  agent.Deliver(Delivery(2), "y\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_FALSE(results[0].permanent);
  EXPECT_THAT(results[0].text, EndsWith("Disk quota exceeded"));
  EXPECT_EQ(List(home_ + "/Maildir/new").size(), 1u);
  EXPECT_THAT(List(home_ + "/Maildir/tmp"), IsEmpty());
}

// ---- an mbox that can't be synced or cut

TEST_F(AgentTest, AnMboxThatCannotBeSyncedIsAsBefore) {
  const std::string old = "From x now\n\nold\n\n";
  WriteFile(home_ + "/bob", old);
  AgentProcess agent(Mbox(), 0, {{SYS_fsync, EIO, 0}});
  agent.Deliver(MboxDelivery(1), "one\n");
  agent.Deliver(MboxDelivery(2), "two\n");
  for (const auto& one : agent.Commit()) {
    EXPECT_FALSE(one.ok);
    EXPECT_FALSE(one.in_doubt);
    EXPECT_THAT(one.text, EndsWith("/bob: Input/output error"));
  }
  EXPECT_EQ(ReadFile(home_ + "/bob"), old);
}

TEST_F(AgentTest, AnMboxThatCanNeitherBeSyncedNorCutLeavesDoubtAndNoCopy) {
  WriteFile(home_ + "/bob", "");  // a new one needs a sync of its folder
  {
    AgentProcess agent(Mbox(), 0,
                       {{SYS_fsync, EIO, 0}, {SYS_ftruncate, EPERM, 0}});
    agent.Deliver(MboxDelivery(1), "one\n");
    agent.Deliver(MboxDelivery(2), Large('z'));
    const auto results = agent.Commit();
    ASSERT_EQ(results.size(), 2u);
    for (const auto& one : results) {
      EXPECT_FALSE(one.ok);
      EXPECT_TRUE(one.in_doubt);
      EXPECT_THAT(one.text,
                  EndsWith("/bob: Input/output error; what was written can't "
                           "be cut off: " +
                           home_ + "/bob: Operation not permitted"));
    }
  }
  // The next attempt finds them, behind others that have come meanwhile.
  AgentProcess agent(Mbox());
  agent.Deliver(MboxDelivery(3), "three\n");
  EXPECT_TRUE(agent.Commit().at(0).ok);
  AgentDelivery again = MboxDelivery(1);
  again.in_doubt = true;
  agent.Deliver(again, "one\n");
  again = MboxDelivery(2);
  again.in_doubt = true;
  agent.Deliver(again, Large('z'));
  again = MboxDelivery(4);
  again.in_doubt = true;
  agent.Deliver(again, "four\n");
  for (const auto& one : agent.Commit()) EXPECT_TRUE(one.ok) << one.text;
  const std::string mbox = ReadFile(home_ + "/bob");
  for (const char* text : {"\n\none\n\n", "\n\nthree\n\n", "\n\nfour\n\n"})
    EXPECT_EQ(CountOf(mbox, std::string(text).substr(1)), 1u) << text;
  EXPECT_EQ(CountOf(mbox, Large('z')), 1u);
  EXPECT_EQ(CountOf(mbox, "From ann@example.org "), 4u);
}

TEST_F(AgentTest, InDoubtHalfALetterIsNotTheLetter) {
  WriteFile(home_ + "/bob", "From ann@example.org now\nA: b\n\nhal");
  AgentProcess agent(Mbox());
  AgentDelivery again = MboxDelivery(1);
  again.in_doubt = true;
  agent.Deliver(again, "A: b\n\nhalf of it\n");
  EXPECT_TRUE(agent.Commit().at(0).ok);
  EXPECT_THAT(ReadFile(home_ + "/bob"), EndsWith("\nA: b\n\nhalf of it\n\n"));
}

// Only what did not come to its end is tried again; nothing more is appended.
TEST_F(AgentTest, AnMboxThatCannotBeCutTakesNoMore) {
  const std::string old = "From x now\n\n" + std::string(5000, 'y') + "\n\n";
  WriteFile(home_ + "/bob", old);
  AgentProcess agent(Mbox(), /*file_limit=*/old.size() + 500,
                     {{SYS_ftruncate, EPERM, 0}});
  agent.Deliver(MboxDelivery(1), "one\n");
  agent.Deliver(MboxDelivery(2), std::string(1000, 'z') + "\n");
  agent.Deliver(MboxDelivery(3), "three\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 3u);
  EXPECT_TRUE(results[0].ok) << results[0].text;
  for (int i : {1, 2}) {
    EXPECT_FALSE(results[i].ok);
    EXPECT_FALSE(results[i].in_doubt);
    EXPECT_THAT(results[i].text, HasSubstr("File too large; what was written"));
  }
  const std::string mbox = ReadFile(home_ + "/bob");
  EXPECT_THAT(mbox, StartsWith(old + "From ann@example.org "));
  EXPECT_THAT(mbox, Not(HasSubstr("three")));
}

TEST_F(AgentTest, AFileThatCanNeitherBeSyncedNorCutLeavesDoubt) {
  AgentArguments arguments = Maildir();
  arguments.commands = true;
  AgentProcess agent(arguments, 0,
                     {{SYS_fsync, EIO, 0}, {SYS_ftruncate, EPERM, 0}});
  AgentDelivery delivery = Delivery(1);
  delivery.method = AgentDelivery::Method::kCommand;
  delivery.exec = home_ + "/box";
  delivery.from = "ann@example.org";
  agent.Deliver(delivery, "one\n");
  const auto results = agent.Commit();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_FALSE(results[0].ok);
  EXPECT_TRUE(results[0].in_doubt);
  EXPECT_THAT(results[0].text, HasSubstr("can't be cut off"));
}

}  // namespace
}  // namespace holdfast
