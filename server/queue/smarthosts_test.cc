#include "server/queue/smarthosts.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class SmarthostsTest : public ::testing::Test {
 protected:
  void Use(std::vector<std::string> elements) {
    TableContents::Builder builder(TableContents::Kind::kList);
    for (const std::string& e : elements) builder.Add(e, "");
    table_->Replace(builder.Finish());
    action_.name = "out";
    action_.host = table_;
  }
  std::string Next(size_t messages = 1) {
    return hosts_.Choose(action_, messages, now_).value_or("none");
  }
  std::map<std::string, int> Share(int batches) {
    std::map<std::string, int> share;
    for (int i = 0; i < batches; ++i) ++share[Next()];
    return share;
  }
  bool Fails(const std::string& url) {
    return hosts_.OnFailed(action_, url, now_);
  }

  std::shared_ptr<Table> table_ =
      std::make_shared<Table>("hubs", Table::Kind::kList, "static", "");
  Action action_;
  std::vector<std::string> log_;
  Smarthosts hosts_{[this](const std::string& line) { log_.push_back(line); }};
  absl::Duration now_ = absl::Seconds(1000);
};

TEST_F(SmarthostsTest, HealthyOnesTakeTurns) {
  Use({"a", "b", "c"});
  EXPECT_THAT(Share(9),
              UnorderedElementsAre(Pair("a", 3), Pair("b", 3), Pair("c", 3)));
}

TEST_F(SmarthostsTest, WeightsAreKeptWithoutLumps) {
  Use({"a weight=5", "b", "c"});
  std::string order;
  for (int i = 0; i < 7; ++i) order += Next();
  EXPECT_EQ(order, "aabacaa");
  EXPECT_THAT(Share(700), UnorderedElementsAre(Pair("a", 500), Pair("b", 100),
                                               Pair("c", 100)));
}

// What fails is a host, however often it stands there.
TEST_F(SmarthostsTest, OneThatStandsTwiceIsOneOfTwiceTheWeight) {
  Use({"a", "b", "a weight=2"});
  EXPECT_THAT(Share(8), UnorderedElementsAre(Pair("a", 6), Pair("b", 2)));
  EXPECT_TRUE(Fails("a"));
  EXPECT_THAT(Share(8), ElementsAre(Pair("b", 8)));
  EXPECT_FALSE(Fails("b"));
}

TEST_F(SmarthostsTest, WeightsCountMessages) {
  Use({"a", "b"});
  std::map<std::string, size_t> messages;
  for (int i = 0; i < 1000; ++i) {
    const size_t size = i % 2 == 0 ? 50 : 1;
    messages[Next(size)] += size;
  }
  EXPECT_NEAR(static_cast<double>(messages["a"]),
              static_cast<double>(messages["b"]), 100);
}

TEST_F(SmarthostsTest, OneThatFailsRestsAndTheOthersTakeOver) {
  Use({"a", "b"});
  EXPECT_TRUE(Fails("a"));
  EXPECT_THAT(log_,
              ElementsAre("smtp-out: Smarthost a (action \"out\") does not "
                          "answer, rests for 15s"));
  EXPECT_THAT(Share(10), ElementsAre(Pair("b", 10)));
  now_ += absl::Milliseconds(14999);
  EXPECT_THAT(Share(10), ElementsAre(Pair("b", 10)));
}

TEST_F(SmarthostsTest, TriedAgainByOneBatchOnly) {
  Use({"a", "b"});
  Fails("a");
  now_ += absl::Seconds(15);
  EXPECT_EQ(Next(), "a");
  EXPECT_THAT(Share(10), ElementsAre(Pair("b", 10)));
  EXPECT_TRUE(Fails("a"));
  EXPECT_EQ(log_.back(),
            "smtp-out: Smarthost a (action \"out\") does not answer, rests for "
            "60s");
  now_ += absl::Seconds(59);
  EXPECT_EQ(Next(), "b");
  now_ += absl::Seconds(1);
  EXPECT_EQ(Next(), "a");
  hosts_.OnWorks(action_, "a");
  EXPECT_EQ(log_.back(),
            "smtp-out: Smarthost a (action \"out\") answers again");
  EXPECT_THAT(Share(10), UnorderedElementsAre(Pair("a", 5), Pair("b", 5)));
}

TEST_F(SmarthostsTest, RestIsAnHourAtMost) {
  Use({"a", "b"});
  for (int i = 0; i < 100; ++i) {
    Fails("a");
    now_ += absl::Hours(1);
  }
  EXPECT_THAT(log_.back(), ::testing::EndsWith("rests for 3600s"));
  EXPECT_EQ(Next(), "a");
}

TEST_F(SmarthostsTest, AProbeThatFoundOutNothingIsRepeated) {
  Use({"a", "b"});
  Fails("a");
  now_ += absl::Seconds(15);
  EXPECT_EQ(Next(), "a");
  EXPECT_EQ(Next(), "b");
  hosts_.OnUntried(action_, "a");
  EXPECT_EQ(Next(), "a");
  // Never heard of again.
  EXPECT_EQ(Next(), "b");
  now_ += Smarthosts::kProbeLife;
  EXPECT_EQ(Next(), "a");
}

TEST_F(SmarthostsTest, FailuresOfOneRoundCountOnce) {
  Use({"a", "b"});
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Fails("a"));
  EXPECT_EQ(log_.size(), 1u);
  now_ += absl::Seconds(15);
  EXPECT_EQ(Next(), "a");
}

TEST_F(SmarthostsTest, AllDownThenTheLongestRestedIsTried) {
  Use({"a", "b"});
  EXPECT_TRUE(Fails("b"));
  now_ += absl::Seconds(1);
  EXPECT_FALSE(Fails("a"));
  EXPECT_EQ(Next(), "b");
  EXPECT_EQ(Next(), "b");
  now_ += absl::Seconds(14);
  EXPECT_EQ(Next(), "b");
  EXPECT_FALSE(Fails("b")) << "a rests for another second";
  now_ += absl::Seconds(1);
  EXPECT_EQ(Next(), "a");
}

TEST_F(SmarthostsTest, WeightZeroIsForWhenAllOthersFail) {
  Use({"a weight=0", "b weight=0", "m weight=2", "n"});
  EXPECT_THAT(Share(30), UnorderedElementsAre(Pair("m", 20), Pair("n", 10)));
  EXPECT_TRUE(Fails("m"));
  EXPECT_THAT(Share(4), ElementsAre(Pair("n", 4)));
  EXPECT_TRUE(Fails("n"));
  EXPECT_THAT(Share(4), UnorderedElementsAre(Pair("a", 2), Pair("b", 2)));
  now_ += absl::Seconds(15);
  EXPECT_EQ(Next(), "m");
  EXPECT_EQ(Next(), "n");
  EXPECT_THAT(Share(4), UnorderedElementsAre(Pair("a", 2), Pair("b", 2)));
  hosts_.OnWorks(action_, "n");
  EXPECT_THAT(Share(4), ElementsAre(Pair("n", 4)));
}

TEST_F(SmarthostsTest, AnOperatorEndsRests) {
  Use({"a", "b"});
  Fails("a");
  hosts_.ForgetRests();
  EXPECT_THAT(Share(4), UnorderedElementsAre(Pair("a", 2), Pair("b", 2)));
}

TEST_F(SmarthostsTest, ActionsAreJudgedApart) {
  Use({"a", "b"});
  Action other = action_;
  other.name = "strict";
  hosts_.OnFailed(other, "a", now_);
  EXPECT_THAT(Share(4), UnorderedElementsAre(Pair("a", 2), Pair("b", 2)));
  EXPECT_EQ(hosts_.Choose(other, 1, now_), "b");
}

TEST_F(SmarthostsTest, ATableThatChangesKeepsWhatIsKnown) {
  Use({"a", "b"});
  Fails("a");
  Use({"a weight=9", "c"});
  EXPECT_THAT(Share(4), ElementsAre(Pair("c", 4)));
  hosts_.OnWorks(action_, "b");  // gone: nothing happens
  hosts_.OnWorks(action_, "a");
  EXPECT_THAT(Share(10), UnorderedElementsAre(Pair("a", 9), Pair("c", 1)));
  Use({});
  EXPECT_EQ(Next(), "none");
  Use({"a"});
  EXPECT_FALSE(Fails("a"));
  EXPECT_EQ(Next(), "a");
}

TEST_F(SmarthostsTest, VeryLongTablesAreCut) {
  std::vector<std::string> many;
  for (int i = 0; i < 5000; ++i) many.push_back(absl::StrCat("h", 10000 + i));
  Use(many);
  EXPECT_EQ(Share(5000).size(), Smarthosts::kMaxElements);
}

}  // namespace
}  // namespace holdfast
