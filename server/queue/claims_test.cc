#include "server/queue/claims.h"

#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "server/queue/queue_test_bed.h"

namespace holdfast {
namespace {

using Result = WorkerOutcome::Result;

class ClaimsTest : public ::testing::Test {
 protected:
  ClaimsTest() { bed_.Boot(); }
  // Queue dies and starts again; the workers live.
  void Restart() {
    bed_.Kill();
    bed_.Run();
    EXPECT_TRUE(bed_.relay->closed);
    bed_.BootEngine();
  }
  void SayState(std::vector<BatchId> batches) {
    WorkerState state;
    state.batches = std::move(batches);
    bed_.relay->Say(state);
    bed_.Run();
  }
  bool InDoubt(EnvelopeId id) { return bed_.disk.in_doubt.count(id) > 0; }

  QueueTestBed bed_;
};

TEST_F(ClaimsTest, ALivingWorkerKeepsWhatItHas) {
  const EnvelopeId id = bed_.AcceptFor("example.net");
  const GotBatch batch = bed_.relay->Take();
  Restart();
  SayState({batch.batch});
  bed_.loop.Advance(absl::Minutes(5));
  EXPECT_TRUE(bed_.relay->batches.empty()) << "not handed out again";
  EXPECT_FALSE(InDoubt(id));
  bed_.TakeLog();
  bed_.relay->Answer(batch, Result::kOk, "250 ok");
  bed_.Run();
  EXPECT_FALSE(bed_.InQueue(id));
  EXPECT_EQ(bed_.disk.ledger.delivered, 1u);
  const std::string log = bed_.TakeLog();
  EXPECT_TRUE(absl::StrContains(
      log, "from=<sender@example.com> to=<rcpt@example.net> rcpt=<->"));
  EXPECT_TRUE(absl::StrContains(log, "delay=5m result=\"Ok\""));
  EXPECT_EQ(bed_.relay->recorded.size(), 1u);
}

TEST_F(ClaimsTest, WhatItHadFinishedIsToldAgain) {
  const EnvelopeId id = bed_.AcceptFor("example.net");
  const GotBatch batch = bed_.relay->Take();
  bed_.store->HoldCommits(true);
  bed_.relay->Answer(batch, Result::kPermFail, "550 no");
  bed_.Run();
  Restart();  // the outcome never reached the disk
  EXPECT_TRUE(bed_.InQueue(id));
  WorkerState state;
  bed_.relay->Say(state);
  bed_.relay->Answer(batch, Result::kPermFail, "550 no");
  bed_.Run();
  EXPECT_EQ(bed_.disk.ledger.reported, 1u);
  EXPECT_EQ(bed_.disk.reports.size(), 1u);
  bed_.loop.Advance(absl::Minutes(1));
  EXPECT_TRUE(bed_.relay->batches.empty());
  EXPECT_FALSE(InDoubt(id));
}

TEST_F(ClaimsTest, RetriesOfKeptClaimsAreDueByTheFormula) {
  const EnvelopeId id = bed_.AcceptFor("example.net");
  const GotBatch batch = bed_.relay->Take();
  Restart();
  SayState({batch.batch});
  bed_.relay->Answer(batch, Result::kTempFail, "450 later");
  bed_.Run();
  EXPECT_EQ(bed_.disk.envelopes[id].retry, 1u);
  bed_.loop.Advance(absl::Seconds(401));
  EXPECT_EQ(bed_.relay->batches.size(), 1u);
}

TEST_F(ClaimsTest, WhatALivingWorkerDoesNotNameIsFreeAfterAWhile) {
  const EnvelopeId id = bed_.AcceptFor("example.net");
  bed_.relay->batches.clear();
  Restart();
  SayState({});
  bed_.loop.Advance(Claims::kUnnamedGrace - absl::Seconds(1));
  EXPECT_TRUE(bed_.relay->batches.empty());
  bed_.loop.Advance(absl::Seconds(2));
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  EXPECT_TRUE(InDoubt(id));
}

TEST_F(ClaimsTest, ClaimsOfTheDeadAreInDoubtAndRetried) {
  const EnvelopeId remote = bed_.AcceptFor("example.net");
  const EnvelopeId local =
      bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMda, "box", "bob"));
  bed_.Kill();
  bed_.Boot();  // all are new
  EXPECT_TRUE(InDoubt(remote));
  EXPECT_TRUE(InDoubt(local));
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  ASSERT_EQ(bed_.deliver->batches.size(), 1u);
  EXPECT_TRUE(bed_.deliver->Take().messages[0].recipients[0].in_doubt);
  EXPECT_TRUE(bed_.relay->refused.empty());
}

TEST_F(ClaimsTest, ClaimsOfTheDeadMayBeHeld) {
  bed_.config.hold_doubts = true;
  const EnvelopeId id = bed_.AcceptFor("example.net");
  bed_.Kill();
  bed_.Boot();
  EXPECT_TRUE(InDoubt(id));
  EXPECT_EQ(bed_.disk.envelopes[id].flags & kFlagHeld, kFlagHeld);
  bed_.loop.Advance(absl::Hours(1));
  EXPECT_TRUE(bed_.relay->batches.empty());
  // Until an operator says so.
  uint64_t count = 0;
  bed_.engine->acts().Act(OperatorAct::kResume, {id},
                          [&](uint64_t n) { count = n; });
  bed_.Run();
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(bed_.relay->batches.size(), 1u);
}

TEST_F(ClaimsTest, AWorkerThatDiesUnderUs) {
  const EnvelopeId id = bed_.AcceptFor("example.net");
  bed_.relay->Die();
  bed_.Run();
  // Its door is closed; only parent knows that it has ended.
  bed_.loop.Advance(absl::Minutes(1));
  EXPECT_EQ(bed_.engine->in_flight().size(), 1u);
  EXPECT_FALSE(InDoubt(id));
  bed_.relay =
      std::make_unique<FakeWorker>(&bed_.loop, Room::kRelay, 0, WorkerId(99));
  bed_.engine->AddWorker(bed_.relay->Name(), bed_.relay->Connect());
  bed_.TellWorkers();
  bed_.Run();
  EXPECT_TRUE(InDoubt(id));
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  EXPECT_EQ(bed_.relay->batches[0].Envelopes(), std::vector<EnvelopeId>{id});
}

TEST_F(ClaimsTest, WithoutClaimedNothingIsInDoubt) {
  bed_.store->HoldCommits(true);
  Envelope e = bed_.MakeEnvelope(DeliveryKind::kMta, "out", "example.net");
  bed_.engine->committer().Commit({}, nullptr);
  bed_.store->HoldCommits(false);
  const EnvelopeId first = bed_.Accept(e);
  bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 later");
  bed_.Run();
  bed_.store->HoldCommits(true);
  bed_.loop.Advance(absl::Seconds(401));
  ASSERT_EQ(bed_.relay->batches.size(), 1u) << "sent, not yet claimed";
  bed_.relay->Die();
  bed_.relay.reset();
  bed_.TellWorkers();
  bed_.Run();
  bed_.store->HoldCommits(false);
  bed_.store->CommitNow();
  bed_.Run();
  EXPECT_FALSE(InDoubt(first));
  EXPECT_EQ(bed_.engine->in_flight().size(), 0u);
  EXPECT_TRUE(bed_.disk.claims.empty());
}

TEST_F(ClaimsTest, BatchNumbersOfTwoStartsDiffer) {
  bed_.AcceptFor("one.test");
  const BatchId first = bed_.relay->Take().batch;
  Restart();
  bed_.AcceptFor("two.test");
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  EXPECT_NE(bed_.relay->Take().batch, first);
}

TEST_F(ClaimsTest, EnvelopesAreNeverLostOverManyRestarts) {
  for (int i = 0; i < 50; ++i) bed_.AcceptFor("example.net");
  for (int round = 0; round < 20; ++round) {
    // A part is answered, a part is lost with the processes.
    for (int i = 0; i < 2 && !bed_.relay->batches.empty(); ++i) {
      bed_.relay->Answer(bed_.relay->Take(), Result::kOk, "250 ok");
    }
    bed_.Run();
    EXPECT_TRUE(bed_.LedgerHolds());
    bed_.Kill();
    bed_.Boot();
  }
  EXPECT_EQ(bed_.disk.ledger.delivered, 50u);
  EXPECT_TRUE(bed_.disk.envelopes.empty());
  EXPECT_TRUE(bed_.disk.claims.empty());
}

}  // namespace
}  // namespace holdfast
