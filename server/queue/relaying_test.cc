// The engine's side of relaying that operators see: tasks of relays, what hosts
// said last.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/queue/queue_test_bed.h"

namespace holdfast {
namespace {

using Result = WorkerOutcome::Result;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::IsEmpty;

class RelayingTest : public ::testing::Test {
 protected:
  RelayingTest() { bed_.Boot(); }
  ~RelayingTest() override { bed_.TakeLog(); }
  std::vector<std::string> HostStatsNow() {
    return bed_.engine->host_stats().Lines(bed_.loop.Now());
  }
  size_t Tasks() { return bed_.engine->router().Counts().tasks; }

  QueueTestBed bed_;
};

TEST_F(RelayingTest, TasksAreCountedUntilTheBatchIsOver) {
  bed_.AcceptFor("a.test");
  bed_.AcceptFor("b.test");
  EXPECT_EQ(Tasks(), 2u);
  EXPECT_THAT(
      bed_.engine->router().RelayLinesOfAll(bed_.loop.Elapsed()),
      ElementsAre("[relay:a.test,smtp] refcount=1 ntask=1 nconn=0 lastconn=- "
                  "timeout=- wait=MX\n",
                  "[relay:b.test,smtp] refcount=1 ntask=1 nconn=0 lastconn=- "
                  "timeout=- wait=MX\n"));
  bed_.relay->Answer(bed_.relay->Take(), Result::kOk, "250 ok");
  bed_.Run();
  EXPECT_EQ(Tasks(), 1u);
  bed_.relay->Die();
  bed_.Run();
  EXPECT_EQ(Tasks(), 0u);
}

TEST_F(RelayingTest, WhatHostsSaidLast) {
  bed_.AcceptFor("a.test");
  bed_.AcceptFor("b.test");
  EXPECT_THAT(HostStatsNow(), IsEmpty());
  bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 4.2.1 Later");
  bed_.relay->Fail(bed_.relay->Take(), "Network error on destination MXs");
  bed_.Run();
  EXPECT_THAT(HostStatsNow(),
              ElementsAre(EndsWith("|450 4.2.1 Later\n"),
                          EndsWith("|Network error on destination MXs\n")));
}

TEST_F(RelayingTest, AWorkerSaysNothingOfEnvelopesItHasNot) {
  bed_.AcceptFor("a.test");
  const GotBatch batch = bed_.relay->Take();
  BatchOutcomes forged;
  forged.batch = BatchId(static_cast<uint64_t>(batch.batch) + 1000);
  WorkerOutcome& outcome = forged.outcomes.emplace_back();
  outcome.envelope = batch.Envelopes().at(0);
  outcome.result = Result::kOk;
  outcome.text = "250 forged";
  bed_.relay->Tell(forged);
  bed_.Run();
  EXPECT_THAT(HostStatsNow(), IsEmpty());
  EXPECT_EQ(Tasks(), 1u);
}

// Local mail that relay takes: that deliver is there is no help.
TEST_F(RelayingTest, LmtpWaitsForRelay) {
  Action& lmtp = bed_.config.actions["lmtp"];
  lmtp.name = "lmtp";
  lmtp.method = ActionMethod::kLmtp;
  lmtp.lmtp = "/run/lmtp";
  bed_.relay->Die();
  bed_.Run();
  // It comes to an end, though nothing can be done.
  const EnvelopeId id =
      bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMda, "lmtp", "joe"));
  bed_.loop.Advance(absl::Seconds(10));
  EXPECT_TRUE(bed_.deliver->batches.empty());
  FakeWorker second(&bed_.loop, Room::kRelay, 0, WorkerId(77));
  bed_.engine->AddWorker(second.Name(), second.Connect());
  bed_.loop.Advance(Scheduler::kRest);
  ASSERT_EQ(second.batches.size(), 1u);
  EXPECT_EQ(second.batches[0].Envelopes(), std::vector<EnvelopeId>{id});
  EXPECT_EQ(second.batches[0].where, "lmtp:/run/lmtp");
}

}  // namespace
}  // namespace holdfast
