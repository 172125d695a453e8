#include "server/queue/operator_acts.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/queue/queue_test_bed.h"

namespace holdfast {
namespace {

using Result = WorkerOutcome::Result;

class OperatorActsTest : public ::testing::Test {
 protected:
  OperatorActsTest() { bed_.Boot(); }
  uint64_t Act(OperatorAct act, std::vector<EnvelopeId> ids) {
    uint64_t count = 999;
    bed_.engine->acts().Act(act, std::move(ids),
                            [&](uint64_t n) { count = n; });
    bed_.Run();
    return count;
  }
  // Accepted, tried, waiting.
  EnvelopeId Waiting() {
    const EnvelopeId id = bed_.AcceptFor("example.net");
    bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 later");
    bed_.Run();
    bed_.TakeLog();
    return id;
  }

  QueueTestBed bed_;
};

TEST_F(OperatorActsTest, RemoveWithItsLine) {
  const EnvelopeId id = Waiting();
  bed_.loop.Advance(absl::Seconds(7));
  EXPECT_EQ(Act(OperatorAct::kRemove, {id}), 1u);
  EXPECT_FALSE(bed_.InQueue(id));
  EXPECT_EQ(
      bed_.TakeLog(),
      absl::StrCat("relay: Remove for ", ToString(id),
                   ": from=<sender@example.com>, to=<rcpt@example.net>, "
                   "rcpt=<->, delay=7s, stat=Removed by administrator\n"));
  EXPECT_EQ(bed_.disk.ledger.removed, 1u);
  EXPECT_TRUE(bed_.disk.reports.empty()) << "no report";
  EXPECT_EQ(Act(OperatorAct::kRemove, {id}), 0u) << "gone";
  EXPECT_EQ(Act(OperatorAct::kRemove, {EnvelopeId(1)}), 0u) << "unknown";
}

TEST_F(OperatorActsTest, WhatIsHeldInDoubtResumes) {
  const EnvelopeId id = Waiting();
  EXPECT_EQ(Act(OperatorAct::kResume, {id}), 0u);
  ActOnEnvelope hold;
  hold.envelope = id;
  hold.act = ActOnEnvelope::Act::kHold;
  bed_.store->Submit({hold}, [](BatchResult) {});
  bed_.Run();
  Envelope& e = bed_.disk.envelopes[id];
  ASSERT_EQ(e.flags & kFlagHeld, kFlagHeld);
  EXPECT_EQ(Act(OperatorAct::kResume, {id}), 0u) << "held for another reason";
  e.flags |= kFlagInDoubt;
  EXPECT_EQ(Act(OperatorAct::kResume, {id}), 1u);
  EXPECT_EQ(e.flags & kFlagHeld, 0u);
  EXPECT_EQ(bed_.relay->batches.size(), 1u);
}

TEST_F(OperatorActsTest, RemoveInFlightWaitsForTheAttempt) {
  const EnvelopeId id = bed_.AcceptFor("example.net");
  const GotBatch batch = bed_.relay->Take();
  EXPECT_EQ(Act(OperatorAct::kRemove, {id}), 1u);
  EXPECT_EQ(Act(OperatorAct::kRemove, {id}), 0u) << "already";
  EXPECT_TRUE(bed_.InQueue(id));
  bed_.TakeLog();
  bed_.relay->Answer(batch, Result::kTempFail, "450 later");
  bed_.Run();
  EXPECT_FALSE(bed_.InQueue(id));
  EXPECT_EQ(bed_.disk.ledger.removed, 1u);
  const std::string log = bed_.TakeLog();
  EXPECT_LT(log.find("result=\"TempFail\""), log.find("relay: Remove for "));

  const EnvelopeId lucky = bed_.AcceptFor("example.net");
  const GotBatch delivered = bed_.relay->Take();
  EXPECT_EQ(Act(OperatorAct::kRemove, {lucky}), 1u);
  bed_.relay->Answer(delivered, Result::kOk, "250 ok");
  bed_.Run();
  EXPECT_EQ(bed_.disk.ledger.delivered, 1u);
  EXPECT_EQ(bed_.disk.ledger.removed, 1u);
}

TEST_F(OperatorActsTest, RemoveWhileTheOutcomeIsBeingRecorded) {
  const EnvelopeId id = bed_.AcceptFor("example.net");
  bed_.store->HoldCommits(true);
  bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 later");
  bed_.Run();
  EXPECT_EQ(Act(OperatorAct::kRemove, {id}), 1u);
  bed_.store->HoldCommits(false);
  bed_.store->CommitNow();
  bed_.Run();
  EXPECT_FALSE(bed_.InQueue(id));
  EXPECT_EQ(bed_.disk.ledger.removed, 1u);
}

TEST_F(OperatorActsTest, ScheduleTriesNowAndCountsAsATry) {
  const EnvelopeId id = Waiting();
  EXPECT_EQ(Act(OperatorAct::kSchedule, {id}), 1u);
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  EXPECT_EQ(Act(OperatorAct::kSchedule, {id}), 0u) << "in flight";
  bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 later");
  bed_.Run();
  EXPECT_EQ(Act(OperatorAct::kSchedule, {id}), 1u);
  bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 later");
  bed_.Run();
  // Three quick tries: the next is at c + 3600.
  EXPECT_EQ(bed_.disk.envelopes[id].retry, 3u);
  EXPECT_EQ(bed_.disk.due[id],
            bed_.disk.envelopes[id].created + absl::Seconds(3600));
}

TEST_F(OperatorActsTest, ScheduleGoesBeforeAPostponement) {
  const EnvelopeId id = bed_.AcceptFor("dead.test");
  bed_.relay->Fail(bed_.relay->Take(), "down");
  bed_.Run();
  EXPECT_TRUE(bed_.relay->batches.empty());
  EXPECT_EQ(Act(OperatorAct::kSchedule, {id}), 1u);
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  bed_.relay->Fail(bed_.relay->Take(), "down");
  bed_.Run();
  const DestinationRow& row = bed_.disk.destinations.begin()->second.row;
  EXPECT_EQ(row.failures, 1u) << "counted anew";
  EXPECT_EQ(row.error, "down");
  EXPECT_TRUE(bed_.relay->batches.empty()) << "postponed again";
}

TEST_F(OperatorActsTest, PauseAndResume) {
  const EnvelopeId id = Waiting();
  EXPECT_EQ(Act(OperatorAct::kResume, {id}), 0u) << "not suspended";
  EXPECT_EQ(Act(OperatorAct::kPause, {id}), 1u);
  EXPECT_EQ(Act(OperatorAct::kPause, {id}), 0u) << "already";
  bed_.loop.Advance(absl::Hours(1));
  EXPECT_TRUE(bed_.relay->batches.empty());
  EXPECT_EQ(Act(OperatorAct::kResume, {id}), 1u);
  EXPECT_EQ(bed_.relay->batches.size(), 1u);
}

TEST_F(OperatorActsTest, PauseInFlightTakesHoldAfterwards) {
  const EnvelopeId id = bed_.AcceptFor("example.net");
  EXPECT_EQ(Act(OperatorAct::kPause, {id}), 1u);
  EXPECT_EQ(Act(OperatorAct::kPause, {id}), 0u);
  bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 later");
  bed_.Run();
  EXPECT_TRUE(bed_.disk.envelopes[id].flags & kFlagSuspended);
  bed_.loop.Advance(absl::Hours(1));
  EXPECT_TRUE(bed_.relay->batches.empty());

  const EnvelopeId other = bed_.AcceptFor("other.test");
  EXPECT_EQ(Act(OperatorAct::kPause, {other}), 1u);
  EXPECT_EQ(Act(OperatorAct::kResume, {other}), 1u);
  bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 later");
  bed_.Run();
  EXPECT_FALSE(bed_.disk.envelopes[other].flags & kFlagSuspended);
}

TEST_F(OperatorActsTest, ManyGoInSlices) {
  bed_.engine->scheduler().SetPaused(DeliveryKind::kMta, true);
  std::vector<EnvelopeId> ids;
  for (int i = 0; i < 1000; ++i) ids.push_back(bed_.AcceptFor("example.net"));
  ids.push_back(ids[3]);  // twice
  const uint64_t commits = bed_.store->commits();
  EXPECT_EQ(Act(OperatorAct::kRemove, ids), 1000u);
  EXPECT_GE(bed_.store->commits() - commits, 1000 / OperatorActs::kSlice);
  EXPECT_TRUE(bed_.disk.envelopes.empty());
  EXPECT_TRUE(bed_.LedgerHolds());
}

TEST_F(OperatorActsTest, NothingToDo) {
  EXPECT_EQ(Act(OperatorAct::kSchedule, {}), 0u);
}

}  // namespace
}  // namespace holdfast
