#include "server/queue/bulk_acts.h"

#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "server/queue/queue_test_bed.h"

namespace holdfast {
namespace {

using Kind = EnvelopeAct::Kind;
using Result = WorkerOutcome::Result;

class BulkActsTest : public ::testing::Test {
 protected:
  BulkActsTest() { bed_.Boot(); }

  ActCounts Act(const EnvelopeAct& act, std::vector<EnvelopeId> ids,
                const std::string& filter = "") {
    const absl::StatusOr<EnvelopeFilter> parsed =
        EnvelopeFilter::Parse(filter, bed_.loop.Now());
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    ActCounts counts;
    counts.done = 999;
    bed_.engine->bulk_acts().Act(std::make_shared<EnvelopeAct>(act), *parsed,
                                 std::move(ids),
                                 [&](ActCounts c) { counts = c; });
    bed_.Run();
    return counts;
  }
  ActCounts Act(Kind kind, std::vector<EnvelopeId> ids,
                const std::string& filter = "") {
    EnvelopeAct act;
    act.kind = kind;
    act.text = kind == Kind::kBounce ? "no such user" : "";
    return Act(act, std::move(ids), filter);
  }
  // Accepted, tried, waiting.
  EnvelopeId Waiting(const std::string& domain = "example.net") {
    const EnvelopeId id = bed_.AcceptFor(domain);
    FailBatch();
    bed_.TakeLog();
    return id;
  }
  void FailBatch() {
    bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 later");
    bed_.Run();
  }
  Envelope& At(EnvelopeId id) { return bed_.disk.envelopes[id]; }

  QueueTestBed bed_;
};

TEST_F(BulkActsTest, RemovesWhatStillMatches) {
  const EnvelopeId a = Waiting(), b = Waiting("example.org");
  const ActCounts counts =
      Act(Kind::kRemove, {a, b, EnvelopeId(7)}, "domain = example.org");
  EXPECT_EQ(counts.done, 1u);
  EXPECT_EQ(counts.changed, 1u);
  EXPECT_EQ(counts.gone, 1u);
  EXPECT_TRUE(bed_.InQueue(a));
  EXPECT_FALSE(bed_.InQueue(b));
  EXPECT_TRUE(absl::StrContains(bed_.TakeLog(), "Removed by administrator"));
  EXPECT_EQ(Act(Kind::kRemove, {b}).gone, 1u) << "again";
}

TEST_F(BulkActsTest, HoldsAndReleases) {
  const EnvelopeId id = Waiting();
  EXPECT_EQ(Act(Kind::kHold, {id}).done, 1u);
  EXPECT_NE(At(id).flags & kFlagHeld, 0u);
  EXPECT_EQ(bed_.disk.due.count(id), 0u);
  EXPECT_EQ(Act(Kind::kHold, {id}).so_already, 1u);
  bed_.loop.Advance(absl::Hours(2));
  bed_.Run();
  EXPECT_TRUE(bed_.relay->batches.empty()) << "held";
  EXPECT_EQ(Act(Kind::kRelease, {id}).done, 1u);
  bed_.Run();
  EXPECT_EQ(bed_.relay->batches.size(), 1u);
  EXPECT_EQ(Act(Kind::kRelease, {id}).so_already, 1u);
}

TEST_F(BulkActsTest, BouncesWithAReportThatSaysWhy) {
  const EnvelopeId id = Waiting();
  EXPECT_EQ(Act(Kind::kBounce, {id}).done, 1u);
  EXPECT_FALSE(bed_.InQueue(id));
  ASSERT_EQ(bed_.disk.reports.size(), 1u);
  EXPECT_EQ(bed_.disk.ledger.reported, 1u);
  EXPECT_TRUE(absl::StrContains(bed_.TakeLog(), "Bounce for "));
  const EnvelopeId old = Waiting();
  EXPECT_EQ(Act(Kind::kExpire, {old}).done, 1u);
  EXPECT_EQ(bed_.disk.reports.size(), 2u);
  EXPECT_TRUE(absl::StrContains(bed_.TakeLog(),
                                "stat=Envelope expired by administrator"));
}

TEST_F(BulkActsTest, WaitsForWhatIsInFlight) {
  const EnvelopeId held = bed_.AcceptFor("example.net");
  const GotBatch batch = bed_.relay->Take();
  EXPECT_EQ(Act(Kind::kHold, {held}).waiting, 1u);
  EXPECT_EQ(At(held).flags & kFlagHeld, 0u);
  bed_.relay->Answer(batch, Result::kTempFail, "450 later");
  bed_.Run();
  EXPECT_NE(At(held).flags & kFlagHeld, 0u);

  const EnvelopeId lucky = bed_.AcceptFor("example.com");
  const GotBatch delivered = bed_.relay->Take();
  EXPECT_EQ(Act(Kind::kBounce, {lucky}).waiting, 1u);
  bed_.relay->Answer(delivered, Result::kOk, "250 ok");
  bed_.Run();
  EXPECT_EQ(bed_.disk.ledger.delivered, 1u);
  EXPECT_TRUE(bed_.disk.reports.empty()) << "it was delivered";

  const EnvelopeId removed = bed_.AcceptFor("example.org");
  const GotBatch failing = bed_.relay->Take();
  EXPECT_EQ(Act(Kind::kRemove, {removed}).waiting, 1u);
  bed_.relay->Answer(failing, Result::kTempFail, "450 later");
  bed_.Run();
  EXPECT_FALSE(bed_.InQueue(removed));
}

TEST_F(BulkActsTest, ActsThatWaitAreDoneInOrder) {
  const EnvelopeId id = bed_.AcceptFor("example.net");
  const GotBatch batch = bed_.relay->Take();
  EnvelopeAct set;
  set.kind = Kind::kSet;
  const int sets = static_cast<int>(kMaxWaitingActs) - 2;
  for (int i = 1; i <= sets; ++i) {
    set.priority = static_cast<int8_t>(i);
    EXPECT_EQ(Act(set, {id}).waiting, 1u);
  }
  EXPECT_EQ(Act(Kind::kHold, {id}).waiting, 1u);
  EXPECT_EQ(Act(Kind::kRelease, {id}).waiting, 1u) << "of that hold";
  EXPECT_EQ(Act(Kind::kHold, {id}).failed, 1u) << "bounded";
  bed_.relay->Answer(batch, Result::kTempFail, "450 later");
  bed_.Run();
  EXPECT_EQ(At(id).priority, sets);
  EXPECT_EQ(At(id).flags & kFlagHeld, 0u);
  EXPECT_EQ(bed_.disk.due.count(id), 1u);
}

// What was sent stays sent: only what is still queued goes elsewhere.
TEST_F(BulkActsTest, ReroutesWhatASessionHasWhenItIsOver) {
  const EnvelopeId sent = bed_.AcceptFor("example.net");
  EnvelopeAct act;
  act.kind = Kind::kReroute;
  act.next_hop = "smtp://other.example";
  const GotBatch first = bed_.relay->Take();
  EXPECT_EQ(Act(act, {sent}).waiting, 1u);
  bed_.relay->Answer(first, Result::kOk, "250 ok");
  bed_.Run();
  EXPECT_FALSE(bed_.InQueue(sent));
  EXPECT_TRUE(bed_.relay->batches.empty()) << "not twice";
  EXPECT_EQ(bed_.disk.ledger.delivered, 1u);

  const EnvelopeId failed = bed_.AcceptFor("example.org");
  const GotBatch second = bed_.relay->Take();
  EXPECT_EQ(Act(act, {failed}).waiting, 1u);
  bed_.relay->Answer(second, Result::kTempFail, "450 later");
  bed_.Run();
  ASSERT_EQ(bed_.relay->batches.size(), 1u) << "at once, elsewhere";
  EXPECT_EQ(bed_.relay->batches.front().target.domain, "smtp://other.example");
}

TEST_F(BulkActsTest, InDoubtHeldOrSuspended) {
  const EnvelopeId doubt = Waiting(), paused = Waiting("example.org");
  At(doubt).flags |= kFlagInDoubt;
  EXPECT_EQ(Act(Kind::kHold, {doubt}).done, 1u);
  EXPECT_NE(At(doubt).flags & kFlagInDoubt, 0u) << "that is not known yet";
  EXPECT_EQ(Act(Kind::kBounce, {doubt}).done, 1u) << "although it is held";
  EXPECT_FALSE(bed_.InQueue(doubt));

  bed_.engine->acts().Act(OperatorAct::kPause, {paused}, nullptr);
  bed_.Run();
  EXPECT_NE(At(paused).flags & kFlagSuspended, 0u);
  EXPECT_EQ(Act(Kind::kHold, {paused}).done, 1u);
  EnvelopeAct act;
  act.kind = Kind::kReroute;
  act.next_hop = "smtp://other.example";
  EXPECT_EQ(Act(act, {paused}).done, 1u);
  bed_.loop.Advance(absl::Hours(1));
  bed_.Run();
  EXPECT_TRUE(bed_.relay->batches.empty()) << "it is still held";
  EXPECT_EQ(Act(Kind::kRelease, {paused}).done, 1u) << "of both";
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  EXPECT_EQ(bed_.relay->batches.front().target.domain, "smtp://other.example");
}

TEST_F(BulkActsTest, ReroutesToANextHopAndBack) {
  const EnvelopeId id = Waiting();
  EnvelopeAct act;
  act.kind = Kind::kReroute;
  act.next_hop = "smtp://other.example:2525";
  EXPECT_EQ(Act(act, {id}).done, 1u);
  EXPECT_EQ(At(id).routing_key, "smtp://other.example:2525");
  FailBatch();
  act.next_hop.clear();
  act.action = At(id).action;
  EXPECT_EQ(Act(act, {id}).done, 1u);
  EXPECT_EQ(At(id).routing_key, "example.net");
}

TEST_F(BulkActsTest, ScheduledOnesGoToTheNextHopTheyWereGiven) {
  const EnvelopeId id = Waiting();
  EnvelopeAct act;
  act.kind = Kind::kReroute;
  act.next_hop = "smtp://other.example:2525";
  EXPECT_EQ(Act(act, {id}).done, 1u);
  FailBatch();
  EXPECT_EQ(Act(Kind::kSchedule, {id}).done, 1u);
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  const GotBatch batch = bed_.relay->Take();
  EXPECT_TRUE(batch.target.smarthost);
  EXPECT_EQ(batch.target.domain, "smtp://other.example:2525");
}

TEST_F(BulkActsTest, SetsPriorityAndExpiry) {
  const EnvelopeId id = Waiting();
  EnvelopeAct act;
  act.kind = Kind::kSet;
  act.priority = 5;
  EXPECT_EQ(Act(act, {id}).done, 1u);
  EXPECT_EQ(At(id).priority, 5);
  EXPECT_EQ(Act(act, {id}).so_already, 1u);
  act.priority.reset();
  act.expires_in = absl::Minutes(30);
  EXPECT_EQ(Act(act, {id}).done, 1u);
  EXPECT_EQ(At(id).expires, bed_.loop.Now() + absl::Minutes(30));
  act.expires_in.reset();
  act.ttl = absl::Hours(9);
  EXPECT_EQ(Act(act, {id}).done, 1u);
  EXPECT_EQ(At(id).expires, At(id).created + absl::Hours(9));
  // Past: it ends at once, with a report.
  act.ttl = absl::ZeroDuration();
  EXPECT_EQ(Act(act, {id}).done, 1u);
  bed_.loop.Advance(absl::Seconds(1));
  bed_.Run();
  EXPECT_FALSE(bed_.InQueue(id));
  EXPECT_EQ(bed_.disk.reports.size(), 1u);
}

}  // namespace
}  // namespace holdfast
