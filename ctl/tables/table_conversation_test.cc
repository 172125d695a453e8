#include "ctl/tables/table_conversation.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

// Says what it was asked; knows nothing but "joe".
TableAnswer Echo(const TableRequest& request) {
  if (request.op == TableOp::kUpdate) return TableError("f:3: x:\nbroken");
  if (request.key == "boom") return TableError("the server is away");
  if (request.op == TableOp::kFetch) return TableFound("10.0.0.1");
  if (request.key != "joe") return TableNotFound();
  return TableFound(request.service + " of " + request.key);
}

class TableConversationTest : public testing::Test {
 protected:
  std::string Say(absl::string_view line) {
    const absl::StatusOr<std::string> answer = conversation_.OnLine(line);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *answer : "";
  }

  absl::Time now_ = absl::FromUnixSeconds(1000000);
  TableConversation conversation_{{{"alias", "domain"},
                                   Echo,
                                   [this] { return now_; },
                                   [] { return absl::Seconds(4); }}};
};

TEST_F(TableConversationTest, GreetingThenQuestionsInOrder) {
  EXPECT_EQ(Say("config|smtpd-version|7.8.0-portable"), "");
  EXPECT_EQ(Say("config|protocol|0.1"), "");
  EXPECT_EQ(Say("config|tablename|t"), "");
  EXPECT_EQ(Say("config|ready"),
            "register|alias\nregister|domain\nregister|ready\n");
  EXPECT_EQ(Say("table|0.1|1.000000|t|lookup|alias|00000001|joe"),
            "lookup-result|00000001|found|alias of joe\n");
  EXPECT_EQ(Say("table|0.1|1.000000|t|check|domain|00000002|joe"),
            "check-result|00000002|found\n");
  EXPECT_EQ(Say("table|0.1|1.000000|t|lookup|alias|00000003|eve"),
            "lookup-result|00000003|not-found\n");
  EXPECT_EQ(Say("table|0.1|1.000000|t|fetch|source|00000004"),
            "fetch-result|00000004|found|10.0.0.1\n");
}

TEST_F(TableConversationTest, ErrorsSayWhy) {
  EXPECT_EQ(Say("table|0.1|1.000000|t|lookup|alias|00000001|boom"),
            "lookup-result|00000001|error|the server is away\n");
  EXPECT_EQ(Say("table|0.1|1.000000|t|update|00000002"),
            "update-result|00000002|error|f:3: x: broken\n");
}

TEST_F(TableConversationTest, KeysMayHoldBars) {
  EXPECT_EQ(Say("table|0.1|1.000000|t|lookup|alias|00000001|a|b"),
            "lookup-result|00000001|not-found\n");
}

TEST_F(TableConversationTest, WhatNobodyWaitsForIsNotAsked) {
  const auto says_too_late = [this](const std::string& time) {
    return Say("table|0.1|" + time + "|t|check|alias|00000001|joe") ==
           "check-result|00000001|error|too late\n";
  };
  for (const char* time : {"999995.999999", "999995", "996401"})
    EXPECT_TRUE(says_too_late(time)) << time;
  // Not yet; from the time to come, as after a clock was put back; of a clock
  // that was put forward; by hand.
  for (const char* time :
       {"999996.000000", "1000000.0", "1000001.5", "2000000", "996400", "1.0",
        "0", "-5", "", "x", "nan", "inf", "-inf", "1e300", "-1e300"})
    EXPECT_FALSE(says_too_late(time)) << time;
  EXPECT_EQ(Say("table|0.1|999990|t|update|00000002"),
            "update-result|00000002|error|f:3: x: broken\n");
}

TEST_F(TableConversationTest, WhatIsNoLineEndsIt) {
  EXPECT_FALSE(conversation_.OnLine("hello").ok());
  EXPECT_FALSE(conversation_.OnLine("table|0.1|1|t|steal|alias|1|x").ok());
  EXPECT_FALSE(conversation_.OnLine("config|protocol|9.0").ok());
}

}  // namespace
}  // namespace holdfast
