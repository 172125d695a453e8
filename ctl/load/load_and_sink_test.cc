// The load generator against the sink, on one poller over loopback: what one
// counts the other must have.
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ctl/load/ledger.h"
#include "ctl/load/ledger_compare.h"
#include "ctl/load/load_plan.h"
#include "ctl/load/load_run.h"
#include "ctl/load/poller.h"
#include "ctl/load/sink_plan.h"
#include "ctl/load/sink_server.h"
#include "ctl/load/socket_address.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

class LoadAndSinkTest : public testing::Test {
 protected:
  void Run(const LoadPlan& plan, const SinkPlan& sink_plan) {
    const std::string base = absl::StrCat(
        testing::TempDir(), "/",
        testing::UnitTest::GetInstance()->current_test_info()->name());
    load_path_ = base + ".load";
    sink_path_ = base + ".sink";
    unlink(load_path_.c_str());
    unlink(sink_path_.c_str());
    LedgerWriter load_ledger;
    LedgerWriter sink_ledger;
    LedgerWriter::Options options;
    options.path = load_path_;
    ASSERT_TRUE(load_ledger.Open(options).ok());
    options.path = sink_path_;
    ASSERT_TRUE(sink_ledger.Open(options).ok());

    Poller poller;
    sink_ = std::make_unique<SinkServer>(&poller, sink_plan,
                                         SinkServer::Limits{}, 1, &sink_ledger);
    const auto any = ParseSocketAddress("127.0.0.1:0");
    const auto listening = ListenOn(*any);
    ASSERT_TRUE(listening.ok()) << listening.status();
    const auto address =
        ParseSocketAddress(absl::StrCat("127.0.0.1:", LocalPort(*listening)));
    sink_->Listen(*listening);
    LoadRun run(&poller, plan, *address, &load_ledger);
    run.Start();
    poller.Run();
    EXPECT_TRUE(run.status().ok()) << run.status();
    complete_ = run.complete();
    stats_ = run.StatsJson();
    sink_stats_ = sink_->StatsJson();
    messages_ = sink_->messages();
    recipients_ = sink_->recipients();
    sink_.reset();
  }

  LedgerCompare::Result Compare() {
    LedgerCompare compare;
    compare.AddLedger(*ReadLedger(load_path_));
    compare.AddLedger(*ReadLedger(sink_path_));
    return compare.Compare();
  }

  static SinkPlan With(const std::vector<std::string>& answers) {
    SinkPlan plan;
    for (const std::string& answer : answers) {
      EXPECT_TRUE(plan.SetAnswer(answer).ok()) << answer;
    }
    return plan;
  }

  std::unique_ptr<SinkServer> sink_;
  std::string load_path_, sink_path_, stats_, sink_stats_;
  bool complete_ = false;
  int64_t messages_ = 0, recipients_ = 0;
};

LoadPlan Plan() {
  LoadPlan plan;
  plan.messages = 200;
  plan.connections = 7;
  plan.recipients = 3;
  plan.domains = {"a.example", "b.example"};
  return plan;
}

TEST_F(LoadAndSinkTest, AllArrives) {
  Run(Plan(), SinkPlan());
  EXPECT_TRUE(complete_) << stats_;
  EXPECT_EQ(messages_, 200);
  EXPECT_EQ(recipients_, 600);
  const auto result = Compare();
  EXPECT_TRUE(result.ok()) << result.Json();
  EXPECT_EQ(result.acknowledged, 600);
  EXPECT_EQ(result.at_sink, 600);
}

TEST_F(LoadAndSinkTest, PipelinedAllArrivesIntact) {
  LoadPlan plan = Plan();
  plan.pipelining = true;
  plan.size = 100 * 1024;
  plan.messages = 60;
  Run(plan, SinkPlan());
  EXPECT_TRUE(complete_) << stats_;
  EXPECT_TRUE(Compare().ok()) << Compare().Json();
}

TEST_F(LoadAndSinkTest, ChunkedAllArrivesIntact) {
  for (const bool pipelining : {false, true}) {
    LoadPlan plan = Plan();
    plan.pipelining = pipelining;
    plan.bdat = 777;
    plan.size = 5000;
    Run(plan, SinkPlan());
    EXPECT_TRUE(complete_) << stats_;
    EXPECT_TRUE(Compare().ok()) << Compare().Json();
    EXPECT_EQ(Compare().at_sink, 600);
  }
}

TEST_F(LoadAndSinkTest, RefusalsAreNotAcknowledgements) {
  for (const char* stage : {"mail", "rcpt", "data", "end"}) {
    for (const bool pipelining : {false, true}) {
      LoadPlan plan = Plan();
      plan.pipelining = pipelining;
      Run(plan, With({absl::StrCat(stage, "=451/30%")}));
      EXPECT_FALSE(complete_) << stage << stats_;
      const auto result = Compare();
      EXPECT_TRUE(result.ok()) << stage << result.Json();
      EXPECT_GT(result.acknowledged, 0) << stage;
      EXPECT_LT(result.acknowledged, 600) << stage;
      EXPECT_EQ(result.acknowledged, result.at_sink) << stage;
    }
  }
}

TEST_F(LoadAndSinkTest, AMessageWithoutAnswerIsUnknown) {
  Run(Plan(), With({"end=lose/20%"}));
  const auto result = Compare();
  EXPECT_TRUE(result.ok()) << result.Json();
  EXPECT_GT(result.unknown, 0);
  EXPECT_EQ(result.acknowledged + result.unknown, result.at_sink);
}

TEST_F(LoadAndSinkTest, ADroppedMessageIsUnknownAndNowhere) {
  Run(Plan(), With({"end=drop/20%"}));
  const auto result = Compare();
  EXPECT_TRUE(result.ok()) << result.Json();
  EXPECT_GT(result.unknown, 0);
  EXPECT_EQ(result.acknowledged, result.at_sink);
}

TEST_F(LoadAndSinkTest, TheSinkMayCloseAfterItsAnswer) {
  LoadPlan plan = Plan();
  plan.per_connection = 1;
  Run(plan, With({"end=hang/20%"}));
  EXPECT_TRUE(complete_) << stats_;
  EXPECT_TRUE(Compare().ok()) << Compare().Json();
}

TEST_F(LoadAndSinkTest, DelayedAnswersAreStillAnswers) {
  SinkPlan sink_plan;
  ASSERT_TRUE(sink_plan.SetDelay("end=3").ok());
  ASSERT_TRUE(sink_plan.SetDelay("quit=1").ok());
  LoadPlan plan = Plan();
  plan.pipelining = true;
  Run(plan, sink_plan);
  EXPECT_TRUE(complete_) << stats_;
  EXPECT_TRUE(Compare().ok()) << Compare().Json();
}

TEST_F(LoadAndSinkTest, NobodyThereEndsTheRun) {
  Poller poller;
  LedgerWriter ledger;
  const auto any = ParseSocketAddress("127.0.0.1:0");
  const auto listening = ListenOn(*any);
  ASSERT_TRUE(listening.ok());
  const auto address =
      ParseSocketAddress(absl::StrCat("127.0.0.1:", LocalPort(*listening)));
  close(*listening);
  LoadRun run(&poller, Plan(), *address, &ledger);
  run.Start();
  poller.Run();
  EXPECT_FALSE(run.status().ok());
  EXPECT_FALSE(run.complete());
}

TEST(SinkPlanTest, ReadsAnswers) {
  SinkPlan plan;
  EXPECT_TRUE(plan.SetAnswer("rcpt=550").ok());
  EXPECT_EQ(plan.at(SinkStage::kRcpt).code, 550);
  EXPECT_TRUE(plan.SetAnswer("end=lose/5%").ok());
  EXPECT_DOUBLE_EQ(plan.at(SinkStage::kEnd).share, 0.05);
  EXPECT_FALSE(plan.SetAnswer("rcpt=lose").ok());
  EXPECT_FALSE(plan.SetAnswer("rcpt=99").ok());
  EXPECT_FALSE(plan.SetAnswer("nowhere=550").ok());
  EXPECT_FALSE(plan.SetAnswer("rcpt=550/101").ok());
  EXPECT_FALSE(plan.SetDelay("rcpt=x").ok());
}

}  // namespace
}  // namespace holdfast
