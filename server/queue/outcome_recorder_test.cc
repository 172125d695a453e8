#include "server/queue/outcome_recorder.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/queue/queue_test_bed.h"

namespace holdfast {
namespace {

using Result = WorkerOutcome::Result;

class OutcomeRecorderTest : public ::testing::Test {
 protected:
  void SetUp() override { bed_.Boot(); }
  // One message, handed to the relay.
  GotBatch Handed(uint8_t notify = 0) {
    Envelope e = bed_.MakeEnvelope(DeliveryKind::kMta, "out", "example.net");
    e.dsn_notify = notify;
    id_ = bed_.Accept(e);
    bed_.TakeLog();
    return bed_.relay->Take();
  }

  QueueTestBed bed_;
  EnvelopeId id_{};
};

TEST_F(OutcomeRecorderTest, LogsAfterTheCommitAndTellsTheWorker) {
  const GotBatch batch = Handed();
  bed_.store->HoldCommits(true);
  bed_.relay->Answer(batch, Result::kOk, "250 2.0.0 queued as SINK1");
  bed_.Run();
  EXPECT_EQ(bed_.TakeLog(), "");
  EXPECT_TRUE(bed_.relay->recorded.empty());
  bed_.store->CommitNow();
  bed_.Run();
  EXPECT_EQ(bed_.TakeLog(),
            absl::StrCat("103e0bd9bfd81d8e mta delivery evpid=", ToString(id_),
                         " from=<sender@example.com> to=<rcpt@example.net> "
                         "rcpt=<-> source=\"127.0.0.1\" "
                         "relay=\"127.0.0.1 (localhost)\" delay=0s "
                         "result=\"Ok\" stat=\"250 2.0.0 queued as SINK1\"\n"));
  EXPECT_EQ(bed_.relay->recorded.size(), 1u);
}

TEST_F(OutcomeRecorderTest, AnOutcomeThatFindsNoRoomIsKeptUntilThereIsSome) {
  const GotBatch batch = Handed();
  bed_.store->SetFull(true);
  bed_.relay->Answer(batch, Result::kOk, "250 2.0.0 queued as SINK1");
  bed_.Run();
  bed_.loop.Advance(absl::Seconds(10));
  EXPECT_EQ(bed_.TakeLog(), "");
  EXPECT_TRUE(bed_.relay->recorded.empty());
  bed_.store->SetFull(false);
  bed_.loop.Advance(absl::Seconds(1));
  EXPECT_TRUE(absl::StrContains(bed_.TakeLog(), "result=\"Ok\""));
  EXPECT_EQ(bed_.relay->recorded.size(), 1u);
}

TEST_F(OutcomeRecorderTest, LocalDeliveryLine) {
  const EnvelopeId id =
      bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMda, "box", "bob"));
  bed_.TakeLog();
  bed_.deliver->Answer(bed_.deliver->Take(), Result::kOk);
  bed_.Run();
  EXPECT_EQ(bed_.TakeLog(),
            absl::StrCat("103e0bd9bfd81d8e mda delivery evpid=", ToString(id),
                         " from=<sender@example.com> to=<bob@here.test> "
                         "rcpt=<bob@here.test> user=bob delay=0s result=Ok "
                         "stat=Delivered\n"));
}

TEST_F(OutcomeRecorderTest, AFailureBecomesAPendingReport) {
  bed_.relay->Answer(Handed(), Result::kPermFail, "550 5.1.1 no");
  bed_.Run();
  EXPECT_EQ(bed_.reports, 1);
  ASSERT_EQ(bed_.disk.reports.count({id_, ReportKind::kFailed}), 1u);
  const Envelope& e = bed_.disk.reports[{id_, ReportKind::kFailed}].envelope;
  EXPECT_EQ(e.error_line, "550 5.1.1 no");
  EXPECT_EQ(e.status.klass, 5);
  EXPECT_EQ(bed_.disk.messages.count(MessageOf(id_)), 1u) << "holds the body";
  EXPECT_EQ(bed_.disk.ledger.reported, 1u);
  EXPECT_TRUE(bed_.LedgerHolds());
}

TEST_F(OutcomeRecorderTest, SuccessReportOnlyWithoutDsnAtThePeer) {
  bed_.relay->Answer(Handed(kNotifySuccess), Result::kOk, "250 ok");
  bed_.Run();
  EXPECT_EQ(bed_.disk.reports.count({id_, ReportKind::kRelayed}), 1u);

  const GotBatch batch = Handed(kNotifySuccess);
  BatchOutcomes out;
  out.batch = batch.batch;
  out.finished = true;
  WorkerOutcome& o = out.outcomes.emplace_back();
  o.envelope = id_;
  o.result = Result::kOk;
  o.peer_dsn = true;
  bed_.relay->Tell(out);
  bed_.Run();
  EXPECT_FALSE(bed_.InQueue(id_));
  EXPECT_EQ(bed_.disk.reports.count({id_, ReportKind::kRelayed}), 0u);
}

TEST_F(OutcomeRecorderTest, NobodyToTellIsWarnedOf) {
  Envelope e = bed_.MakeEnvelope(DeliveryKind::kMta, "out", "example.net");
  e.sender = {};
  e.flags = kFlagBounce;
  bed_.Accept(e);
  bed_.TakeLog();
  bed_.relay->Answer(bed_.relay->Take(), Result::kPermFail, "550 no");
  bed_.Run();
  const std::string log = bed_.TakeLog();
  EXPECT_TRUE(absl::StrContains(log, " result=\"PermFail\" stat=\"550 no\"\n"));
  EXPECT_TRUE(absl::StrContains(log, "warn: queue: double bounce!\n"));
  EXPECT_EQ(bed_.disk.ledger.silent, 1u);
  EXPECT_TRUE(bed_.disk.reports.empty());
}

TEST_F(OutcomeRecorderTest, AWorkerCanOnlySpeakOfWhatItHas) {
  const GotBatch batch = Handed();
  const EnvelopeId mine = id_;
  const EnvelopeId local =
      bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMda, "box", "bob"));
  BatchOutcomes out;
  out.batch = batch.batch;
  for (EnvelopeId id : {local, EnvelopeId(0xdead), mine, mine}) {
    WorkerOutcome& o = out.outcomes.emplace_back();
    o.envelope = id;
    o.result = Result::kOk;
  }
  bed_.relay->Tell(out);
  bed_.Run();
  EXPECT_TRUE(bed_.InQueue(local));
  EXPECT_FALSE(bed_.InQueue(mine));
  EXPECT_EQ(bed_.disk.ledger.delivered, 1u);
}

TEST_F(OutcomeRecorderTest, ToldTwiceCountsOnce) {
  const GotBatch batch = Handed();
  BatchOutcomes out;
  out.batch = batch.batch;
  out.sequence = 9;
  out.finished = true;
  out.outcomes.emplace_back().envelope = id_;
  out.outcomes[0].result = Result::kPermFail;
  bed_.relay->Tell(out);
  bed_.Run();
  bed_.TakeLog();
  bed_.relay->recorded.clear();
  bed_.relay->Tell(out);
  bed_.Run();
  EXPECT_EQ(bed_.TakeLog(), "");
  EXPECT_EQ(bed_.relay->recorded.count({batch.batch, 9}), 1u);
  EXPECT_EQ(bed_.disk.ledger.reported, 1u);
}

TEST_F(OutcomeRecorderTest, FinishedWithoutAnswersIsInDoubt) {
  const GotBatch batch = Handed();
  BatchOutcomes out;
  out.batch = batch.batch;
  out.finished = true;
  bed_.relay->Tell(out);
  bed_.Run();
  EXPECT_TRUE(bed_.InQueue(id_));
  EXPECT_EQ(bed_.disk.in_doubt.count(id_), 1u);
  EXPECT_EQ(bed_.engine->in_flight().size(), 0u);
  EXPECT_TRUE(bed_.disk.claims.empty());
}

TEST_F(OutcomeRecorderTest, TheAttemptGoesIntoTheRecord) {
  const GotBatch batch = Handed();
  BatchOutcomes out;
  out.batch = batch.batch;
  out.finished = true;
  out.source = "192.0.2.1";
  out.relay = "198.51.100.9 (mx.example.net)";
  out.tls = "TLSv1.3:X:256 verified";
  WorkerOutcome& o = out.outcomes.emplace_back();
  o.envelope = id_;
  o.result = Result::kTempFail;
  o.text = "450 later";
  o.began = bed_.loop.Now() - absl::Seconds(3);
  o.took = absl::Seconds(3);
  bed_.relay->Tell(out);
  bed_.Run();
  const std::vector<Attempt>& attempts = bed_.disk.envelopes[id_].attempts;
  ASSERT_EQ(attempts.size(), 1u);
  EXPECT_EQ(attempts[0].relay, "198.51.100.9 (mx.example.net)");
  EXPECT_EQ(attempts[0].tls, "TLSv1.3:X:256 verified");
  EXPECT_EQ(attempts[0].answer, "450 later");
}

TEST_F(OutcomeRecorderTest, NoAnswerAtAllIsAnAttemptSinceItWentOut) {
  const GotBatch batch = Handed();
  const absl::Time since = bed_.loop.Now();
  bed_.loop.Advance(absl::Seconds(20));
  BatchOutcomes out;
  out.batch = batch.batch;
  out.finished = true;
  bed_.relay->Tell(out);
  bed_.Run();
  const std::vector<Attempt>& attempts = bed_.disk.envelopes[id_].attempts;
  ASSERT_EQ(attempts.size(), 1u);
  EXPECT_EQ(attempts[0].result, Attempt::Result::kInDoubt);
  EXPECT_EQ(attempts[0].began, since);
  EXPECT_EQ(attempts[0].took, absl::Seconds(20));
}

TEST_F(OutcomeRecorderTest, DoubtsAreHeldIfTheConfigurationSaysSo) {
  bed_.config.hold_doubts = true;
  const EnvelopeId id =
      bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMda, "box", "bob"));
  bed_.TakeLog();
  bed_.deliver->Answer(bed_.deliver->Take(), Result::kInDoubt, "killed");
  bed_.Run();
  EXPECT_TRUE(absl::StrContains(
      bed_.TakeLog(), absl::StrCat("warn: queue: envelope ", ToString(id),
                                   " is in doubt and held\n")));
  EXPECT_EQ(bed_.disk.envelopes[id].flags & (kFlagHeld | kFlagInDoubt),
            kFlagHeld | kFlagInDoubt);
  bed_.loop.Advance(absl::Hours(1));
  EXPECT_TRUE(bed_.deliver->batches.empty());
  // What has an answer is tried again as ever.
  bed_.relay->Answer(Handed(), Result::kTempFail, "450 later");
  bed_.Run();
  EXPECT_EQ(bed_.disk.envelopes[id_].flags & kFlagHeld, 0u);
}

TEST_F(OutcomeRecorderTest, InDoubtIsSaidToTheNextAgent) {
  bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMda, "box", "bob"));
  bed_.deliver->Answer(bed_.deliver->Take(), Result::kInDoubt, "killed");
  bed_.Run();
  bed_.loop.Advance(absl::Seconds(10));
  ASSERT_EQ(bed_.deliver->batches.size(), 1u);
  EXPECT_TRUE(bed_.deliver->Take().messages[0].recipients[0].in_doubt);
}

TEST_F(OutcomeRecorderTest, OutcomesMayComeInPieces) {
  for (int i = 0; i < 3; ++i) bed_.AcceptFor("example.net");
  for (const GotBatch& batch : std::exchange(bed_.relay->batches, {})) {
    uint32_t sequence = 0;
    for (EnvelopeId id : batch.Envelopes()) {
      BatchOutcomes out;
      out.batch = batch.batch;
      out.sequence = ++sequence;
      out.outcomes.emplace_back().envelope = id;
      out.outcomes[0].result = Result::kOk;
      bed_.relay->Tell(out);
      bed_.Run();
    }
    BatchOutcomes end;
    end.batch = batch.batch;
    end.sequence = ++sequence;
    end.finished = true;
    bed_.relay->Tell(end);
    bed_.Run();
    EXPECT_EQ(bed_.relay->recorded.count({batch.batch, sequence}), 1u);
  }
  EXPECT_EQ(bed_.disk.ledger.delivered, 3u);
  EXPECT_EQ(bed_.engine->scheduler().active(), 0u);
}

// A full disk must not be asked without end: Run() would not come back.
TEST_F(OutcomeRecorderTest, AClaimThatFindsNoRoomIsTriedAgainAfterARest) {
  bed_.store->SetFull(true);
  bed_.AcceptFor("example.net");
  bed_.Run();
  const GotBatch refused = bed_.relay->Take();
  EXPECT_TRUE(bed_.relay->refused.count(refused.batch));
  EXPECT_TRUE(bed_.relay->batches.empty());
  bed_.store->SetFull(false);
  bed_.loop.Advance(Scheduler::kRest);
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  EXPECT_TRUE(bed_.relay->claimed.count(bed_.relay->Take().batch));
}

TEST_F(OutcomeRecorderTest, AClaimThatFailsIsTakenBack) {
  bed_.store->HoldCommits(true);
  const EnvelopeId id = [&] {
    bed_.store->HoldCommits(false);
    const EnvelopeId e = bed_.AcceptFor("example.net");
    return e;
  }();
  // Handed out; then again, with an operator's removal before the claim.
  bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 later");
  bed_.Run();
  bed_.store->HoldCommits(true);
  ActOnEnvelope remove;
  remove.envelope = id;
  remove.act = ActOnEnvelope::Act::kRemove;
  bed_.loop.JumpWallClock(absl::Seconds(500));
  bed_.store->Submit({remove}, [](BatchResult) {});
  bed_.engine->scheduler().Scan();
  bed_.Run();
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  bed_.store->CommitNow();
  bed_.Run();
  const GotBatch batch = bed_.relay->Take();
  EXPECT_TRUE(bed_.relay->refused.count(batch.batch));
  EXPECT_FALSE(bed_.relay->claimed.count(batch.batch));
  EXPECT_EQ(bed_.engine->in_flight().size(), 0u);
  EXPECT_EQ(bed_.engine->scheduler().active(), 0u);
  // What the worker says of it all the same changes nothing.
  bed_.store->HoldCommits(false);
  bed_.TakeLog();
  bed_.relay->Answer(batch, Result::kTempFail, "450 x");
  bed_.Run();
  EXPECT_EQ(bed_.TakeLog(), "");
  EXPECT_EQ(bed_.disk.ledger.removed, 1u);
}

TEST_F(OutcomeRecorderTest, BodiesArePartedOnlyToWhomHasThem) {
  const GotBatch batch = Handed();
  BodyRequest ask;
  ask.question = 5;
  ask.message = batch.messages[0].message;
  ask.count = 1;
  bed_.relay->Say(ask);
  ask.question = 6;
  ask.count = 9;  // more than its credit
  bed_.relay->Say(ask);
  ask.question = 7;
  ask.count = 1;
  ask.first = 3;  // not there
  bed_.relay->Say(ask);
  ask.question = 8;
  ask.first = 0;
  bed_.deliver->Say(ask);  // not its message
  bed_.Run();
  ASSERT_EQ(bed_.relay->bodies.size(), 3u);
  for (const BodyPart& part : bed_.relay->bodies) {
    EXPECT_EQ(part.ok, part.question == 5) << part.question;
    if (part.ok) {
      EXPECT_EQ(part.chunks, std::vector<std::string>{"body"});
    }
  }
  ASSERT_EQ(bed_.deliver->bodies.size(), 1u);
  EXPECT_FALSE(bed_.deliver->bodies[0].ok);
}

TEST_F(OutcomeRecorderTest, SlotsAreAnsweredAndFreedWithTheWorker) {
  bed_.config.mta_limits.max_conn_per_host = 1;
  SlotRequest ask;
  ask.question = 3;
  ask.domain = "example.net";
  ask.hosts = {{"192.0.2.1", "mx.test", 10}};
  bed_.relay->Say(ask);
  bed_.relay->Say(ask);
  bed_.Run();
  ASSERT_EQ(bed_.relay->slots.size(), 2u);
  EXPECT_EQ(bed_.relay->slots[0].result, SlotAnswer::Result::kGranted);
  EXPECT_EQ(bed_.relay->slots[1].result, SlotAnswer::Result::kLater);
  bed_.relay->Die();
  bed_.Run();
  FakeWorker next(&bed_.loop, Room::kRelay, 0, WorkerId(70));
  bed_.engine->AddWorker(next.Name(), next.Connect());
  next.Say(ask);
  bed_.Run();
  ASSERT_EQ(next.slots.size(), 1u);
  EXPECT_EQ(next.slots[0].result, SlotAnswer::Result::kGranted);
  // Routes come back by themselves.
  bed_.TakeLog();
  next.Say(SlotReport{next.slots[0].slot, SlotReport::Event::kFailed, ""});
  bed_.Run();
  bed_.loop.Advance(absl::Seconds(15));
  EXPECT_EQ(bed_.TakeLog(),
            "smtp-out: Disabling route [] <-> 192.0.2.1 (mx.test) for 15s\n"
            "smtp-out: Enabling route [] <-> 192.0.2.1 (mx.test)\n");
}

TEST_F(OutcomeRecorderTest, AMalformedFrameEndsOnlyThatDoor) {
  bed_.relay->Say(LeaseRequest{});  // not for this door; type 1
  bed_.Run();
  EXPECT_TRUE(bed_.relay->closed);
  EXPECT_FALSE(bed_.deliver->closed);
}

TEST_F(OutcomeRecorderTest, AFailedSyncAnswersNobody) {
  const GotBatch batch = Handed();
  bed_.store->FailNextSync();
  bed_.relay->Answer(batch, Result::kOk, "250 ok");
  bed_.Run();
  EXPECT_EQ(bed_.failures.size(), 1u);
  EXPECT_TRUE(bed_.relay->recorded.empty());
  EXPECT_FALSE(absl::StrContains(bed_.TakeLog(), "mta delivery"));
}

TEST_F(OutcomeRecorderTest, Counters) {
  bed_.relay->Answer(Handed(), Result::kOk);
  bed_.relay->Answer(Handed(), Result::kTempFail);
  bed_.relay->Answer(Handed(), Result::kPermFail);
  bed_.Run();
  QueueCounters c;
  bed_.engine->Count(&c);
  EXPECT_EQ(c.enqueued, 3u);
  EXPECT_EQ(c.dequeued, 2u);
  EXPECT_EQ(c.envelopes_now, 1u);
  EXPECT_EQ(c.ok, 1u);
  EXPECT_EQ(c.tempfail, 1u);
  EXPECT_EQ(c.permfail, 1u);
  EXPECT_EQ(c.updated, 1u);
  EXPECT_EQ(c.bounces, 1u);
  EXPECT_EQ(c.inflight_now, 0u);
}

}  // namespace
}  // namespace holdfast
