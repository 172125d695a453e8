#include "server/queue/program_hops.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "server/loop/fake_event_loop.h"
#include "server/queue/next_hops.h"

namespace holdfast {
namespace {

using Result = TableAnswer::Result;

class ProgramHopsTest : public ::testing::Test {
 protected:
  void Answer(Result result, const std::string& value = "") {
    TableAnswer answer;
    answer.result = result;
    answer.value = value;
    auto done = std::move(asked_.back().second);
    done(answer);
  }
  // Where a batch goes; "..." while it is being asked for.
  std::string Target(const std::string& domain, uint64_t destination = 1) {
    NextHops::Batch batch;
    batch.domain = domain;
    batch.destination = DestinationId(destination);
    const auto target = next_.TargetOf(action_, batch, loop_.Elapsed());
    if (target.ok()) return target->domain;
    return absl::IsUnavailable(target.status())
               ? "..."
               : std::string(target.status().message());
  }

  FakeEventLoop loop_;
  Config config_;
  std::vector<std::pair<TableQuestion, absl::AnyInvocable<void(TableAnswer)>>>
      asked_;
  std::vector<DestinationId> woken_;
  ProgramHops hops_{&loop_,
                    [this](TableQuestion question,
                           absl::AnyInvocable<void(TableAnswer)> done) {
                      asked_.emplace_back(std::move(question), std::move(done));
                    },
                    [this](DestinationId id) { woken_.push_back(id); }};
  NextHops next_{&config_, &hops_};
  Action action_;
  const TableRef table_ =
      std::make_shared<Table>("pt", Table::Kind::kDynamic, "ldap", "");
};

TEST_F(ProgramHopsTest, DomainIsAskedOnceForAWhile) {
  action_.domain = table_;
  EXPECT_EQ(Target("d.test"), "...");
  EXPECT_EQ(Target("d.test"), "...");
  ASSERT_EQ(asked_.size(), 1u);
  EXPECT_EQ(asked_[0].first.table, "pt");
  EXPECT_EQ(asked_[0].first.op, TableQuestion::Op::kLookup);
  EXPECT_EQ(asked_[0].first.service, TableService::kRelayhost);
  EXPECT_EQ(asked_[0].first.key, "d.test");
  EXPECT_TRUE(woken_.empty());
  Answer(Result::kFound, "smtp://a.test");
  EXPECT_EQ(woken_, std::vector<DestinationId>{DestinationId(1)});
  EXPECT_EQ(Target("d.test"), "smtp://a.test");
  EXPECT_EQ(Target("d.test"), "smtp://a.test");
  loop_.Advance(ProgramHops::kFresh);
  EXPECT_EQ(Target("d.test"), "...");
  Answer(Result::kNotFound);
  EXPECT_EQ(Target("d.test"), "Cannot retrieve smarthost");
  EXPECT_EQ(asked_.size(), 2u);
}

TEST_F(ProgramHopsTest, ErrorsAreToldOnce) {
  action_.domain = table_;
  Target("d.test");
  Answer(Result::kError);
  loop_.Advance(ProgramHops::kErrorGrace);
  EXPECT_EQ(Target("d.test"), "...");
  Answer(Result::kError);
  EXPECT_EQ(Target("d.test"), "Cannot retrieve smarthost");
  EXPECT_EQ(Target("d.test"), "...");
  EXPECT_EQ(asked_.size(), 3u);
}

// `lookup` may have ended, and the program be starting: no destination has
// failed by that.
TEST_F(ProgramHopsTest, WhoCannotAnswerForAMomentIsAskedAgain) {
  action_.domain = table_;
  const auto ask_in_vain = [this](const std::string& domain) {
    EXPECT_EQ(Target(domain), "...");
    Answer(Result::kError);
    return Target(domain);
  };
  EXPECT_EQ(ask_in_vain("d.test"), "...");
  EXPECT_EQ(woken_.size(), 1u);
  loop_.Advance(ProgramHops::kErrorGrace - absl::Seconds(1));
  EXPECT_EQ(ask_in_vain("d.test"), "...");
  Target("d.test");
  Answer(Result::kFound, "smtp://a.test");
  EXPECT_EQ(Target("d.test"), "smtp://a.test");
  // That was the end of it: the next error is a first one.
  loop_.Advance(absl::Hours(1));
  EXPECT_EQ(ask_in_vain("d.test"), "...");
  // For all destinations of the table, and not for ever.
  loop_.Advance(ProgramHops::kErrorGrace);
  EXPECT_EQ(ask_in_vain("e.test"), "Cannot retrieve smarthost");
  // Other tables have their own time.
  action_.domain =
      std::make_shared<Table>("other", Table::Kind::kDynamic, "ldap", "");
  EXPECT_EQ(ask_in_vain("e.test"), "...");
}

TEST_F(ProgramHopsTest, ThatThereIsNoneIsKnownAtOnce) {
  action_.host = table_;
  Target("d.test");
  Answer(Result::kNotFound);
  EXPECT_EQ(Target("d.test"), "Cannot retrieve smarthost");
}

TEST_F(ProgramHopsTest, EachBatchTakesOneOfHost) {
  action_.host = table_;
  EXPECT_EQ(Target("d.test"), "...");
  EXPECT_EQ(asked_[0].first.op, TableQuestion::Op::kFetch);
  EXPECT_EQ(Target("e.test", 2), "...");
  EXPECT_EQ(asked_.size(), 2u);
  Answer(Result::kFound, "smtp://b.test");
  EXPECT_EQ(Target("e.test", 2), "smtp://b.test");
  EXPECT_EQ(Target("e.test", 2), "...");
  Answer(Result::kFound, "no url");
  EXPECT_EQ(Target("e.test", 2), "Cannot parse smarthost");
}

TEST_F(ProgramHopsTest, IsBounded) {
  action_.domain = table_;
  for (size_t i = 1; i <= ProgramHops::kMaxKept; ++i) {
    Target("d.test", i);
    Answer(Result::kNotFound);
  }
  EXPECT_EQ(Target("d.test", 1), "Cannot retrieve smarthost");
  EXPECT_EQ(Target("d.test", ProgramHops::kMaxKept + 1), "...");
  EXPECT_EQ(Target("d.test", 1), "...");
}

}  // namespace
}  // namespace holdfast
