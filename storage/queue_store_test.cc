#include "storage/queue_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Act = ActOnEnvelope::Act;
using Result = EnvelopeOutcome::Result;

constexpr MessageId kMessage{0x1000};
constexpr WorkerId kWorker{7};
constexpr BatchId kBatch{1};

EnvelopeId Id(uint32_t low, MessageId message = kMessage) {
  return MakeEnvelopeId(message, low);
}
absl::Time Now() { return absl::FromUnixSeconds(kTestNow); }

class QueueStoreTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(store_.Open().ok()); }
  void TearDown() override {
    if (store_.store() != nullptr) {
      EXPECT_EQ(store_.Check(), "");
    }
  }

  OperationResult Act(EnvelopeId id, Act act, absl::Time due = Now()) {
    ActOnEnvelope op;
    op.envelope = id;
    op.act = act;
    op.due = due;
    return store_.RunOne(op);
  }
  OperationResult Claim(std::vector<EnvelopeId> ids, BatchId batch = kBatch) {
    return store_.RunOne(ClaimEnvelopes{kWorker, batch, std::move(ids)});
  }
  OperationResult Record(EnvelopeOutcome outcome) {
    return store_.RunOne(RecordOutcomes{kWorker, kBatch, {std::move(outcome)}});
  }
  DestinationRow OnlyDestination() {
    const auto rows = store_.View()->Destinations(DestinationId{0}, 10);
    EXPECT_THAT(rows, SizeIs(1));
    return rows.empty() ? DestinationRow() : rows[0];
  }
  std::vector<LanePosition> Lane(DestinationId id,
                                 absl::Time until = absl::InfiniteFuture()) {
    return store_.View()->Lane(id, {}, until, 100);
  }

  StoreForTest store_;
};

TEST_F(QueueStoreTest, AcceptsAMessageAndGivesItBack) {
  const AcceptMessage message =
      MakeMessage(kMessage, 2, "Subject: x\n\ntext\n");
  const BatchResult result = store_.Run({message});
  ASSERT_TRUE(result.operations[0].status.ok()) << result.operations[0].status;
  EXPECT_THAT(result.lanes, SizeIs(2));
  EXPECT_EQ(result.lanes[0].due, Now());
  const auto view = store_.View();
  EXPECT_THAT(view->Envelopes(EnvelopeId{0}, 10), SizeIs(2));
  const auto envelope = view->FindEnvelope(Id(1));
  ASSERT_TRUE(envelope.ok());
  EXPECT_EQ(envelope->dest.ToString(), "user0@d0.example");
  EXPECT_EQ(view->DueOf(*envelope), Now());
  EXPECT_EQ(view->DestinationOf(*envelope)->routing_key, "d0.example");
  const auto row = view->FindMessage(kMessage);
  ASSERT_TRUE(row.ok());
  EXPECT_EQ(row->live, 2u);
  const auto chunks = view->BodyChunks(kMessage, 0, 1);
  ASSERT_TRUE(chunks.ok());
  EXPECT_EQ(ExpandBody(row->body, chunks->at(0)).value(),
            "Subject: x\n\ntext\n");
  EXPECT_EQ(
      view->Agenda(absl::InfinitePast(), DestinationId{0}, Now(), 10).size(),
      2u);
  EXPECT_THAT(view->Agenda(absl::InfinitePast(), DestinationId{0},
                           Now() - absl::Seconds(1), 10),
              IsEmpty());
  EXPECT_EQ(view->FirstDeadline(), Now() + absl::Hours(96));
  EXPECT_EQ(view->ReadLedger().accepted, 2u);
  EXPECT_EQ(view->ReadLedger().queued, 2u);
}

TEST_F(QueueStoreTest, TheSameIdIsNotAcceptedTwice) {
  ASSERT_TRUE(store_.RunOne(MakeMessage(kMessage, 1, "a")).status.ok());
  EXPECT_EQ(store_.RunOne(MakeMessage(kMessage, 1, "a")).status.code(),
            absl::StatusCode::kAlreadyExists);
  const BatchResult both = store_.Run(
      {MakeMessage(MessageId{5}, 1, "a"), MakeMessage(MessageId{5}, 1, "b")});
  EXPECT_TRUE(both.operations[0].status.ok());
  EXPECT_EQ(both.operations[1].status.code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(QueueStoreTest, FirstDeadlinesAreKept) {
  AcceptMessage message = MakeMessage(kMessage, 2, "a");
  message.first_deadlines = {Now() + absl::Hours(4), Now() + absl::Hours(9)};
  ASSERT_TRUE(store_.RunOne(message).status.ok());
  const auto rows = store_.View()->Deadlines(Now() + absl::Hours(5), 10);
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].envelope, Id(1));
}

TEST_F(QueueStoreTest, AHeldMessageIsDueWhenItsHoldEnds) {
  AcceptMessage message = MakeMessage(kMessage, 1, "a");
  const absl::Time release = Now() + absl::Hours(24);
  message.envelopes[0].hold_until = release;
  const BatchResult result = store_.Run({message});
  ASSERT_TRUE(result.operations[0].status.ok());
  EXPECT_EQ(result.lanes[0].due, release);
  const auto check = [&](absl::Time due, absl::Time hold) {
    const auto envelope = store_.View()->FindEnvelope(Id(1));
    ASSERT_TRUE(envelope.ok());
    EXPECT_EQ(store_.View()->DueOf(*envelope), due);
    EXPECT_EQ(envelope->hold_until, hold);
  };
  check(release, release);
  EXPECT_THAT(Lane(OnlyDestination().id, release - absl::Seconds(1)),
              IsEmpty());
  ASSERT_TRUE(store_.Open().ok());  // a restart
  check(release, release);
  EXPECT_THAT(Lane(OnlyDestination().id, release), SizeIs(1));
  // An operator lets it go: from here on it is as if it had never been held.
  ASSERT_TRUE(Act(Id(1), Act::kSchedule, Now()).status.ok());
  check(Now(), Now());
}

TEST_F(QueueStoreTest, DeliveredEnvelopesGoAndTheBodyWithTheLast) {
  store_.RunOne(MakeMessage(kMessage, 2, "a"));
  ASSERT_TRUE(Claim({Id(1), Id(2)}).status.ok());
  EXPECT_TRUE(store_.View()->IsClaimed(Id(1)));
  EXPECT_THAT(store_.View()->Claims(), SizeIs(1));
  const OperationResult one = Record(MakeOutcome(Id(1), Result::kEnded));
  ASSERT_THAT(one.envelopes, SizeIs(1));
  EXPECT_FALSE(store_.View()->IsClaimed(Id(1)));
  EXPECT_TRUE(store_.View()->FindMessage(kMessage).ok());
  Record(MakeOutcome(Id(2), Result::kEnded));
  const auto view = store_.View();
  EXPECT_EQ(view->FindMessage(kMessage).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(view->Stats().garbage, 0u);
  EXPECT_EQ(view->Stats().destinations, 0u);
  EXPECT_EQ(view->ReadLedger().delivered, 2u);
  EXPECT_EQ(view->ReadLedger().queued, 0u);
}

TEST_F(QueueStoreTest, ClaimsAreWholeOrNothing) {
  store_.RunOne(MakeMessage(kMessage, 3, "a"));
  ASSERT_TRUE(Claim({Id(1)}).status.ok());
  EXPECT_EQ(Claim({Id(2), Id(1)}, BatchId{2}).status.code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Claim({Id(2), Id(9)}, BatchId{2}).status.code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Claim({Id(2), Id(2)}, BatchId{2}).status.code(),
            absl::StatusCode::kFailedPrecondition);
  Act(Id(3), Act::kHold);
  EXPECT_EQ(Claim({Id(3)}, BatchId{2}).status.code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(store_.View()->IsClaimed(Id(2)));
  EXPECT_THAT(store_.View()->Claims(), SizeIs(1));
}

TEST_F(QueueStoreTest, ARetryMovesInTheLane) {
  store_.RunOne(MakeMessage(kMessage, 1, "a"));
  Claim({Id(1)});
  store_.set_now(Now() + absl::Seconds(3));
  EnvelopeOutcome outcome = MakeOutcome(Id(1), Result::kRetry);
  outcome.due = Now() + absl::Minutes(5);
  outcome.status = {4, 21};
  outcome.error_line = "450 later";
  const BatchResult result =
      store_.Run({RecordOutcomes{kWorker, kBatch, {outcome}}});
  ASSERT_THAT(result.lanes, SizeIs(1));
  EXPECT_EQ(result.lanes[0].due, outcome.due);
  const auto envelope = store_.View()->FindEnvelope(Id(1));
  ASSERT_TRUE(envelope.ok());
  EXPECT_EQ(envelope->retry, 1u);
  EXPECT_EQ(envelope->error_line, "450 later");
  EXPECT_EQ(envelope->last_try, Now() + absl::Seconds(3));
  EXPECT_EQ(OnlyDestination().next_due, outcome.due);
  EXPECT_THAT(Lane(OnlyDestination().id, Now()), IsEmpty());
  EXPECT_THAT(Lane(OnlyDestination().id), SizeIs(1));
}

TEST_F(QueueStoreTest, AnOutcomeReportedTwiceCountsOnce) {
  store_.RunOne(MakeMessage(kMessage, 2, "a"));
  Claim({Id(1), Id(2)});
  Record(MakeOutcome(Id(1), Result::kEnded));
  const OperationResult again = Record(MakeOutcome(Id(1), Result::kEnded));
  EXPECT_TRUE(again.status.ok());
  EXPECT_THAT(again.envelopes, IsEmpty());
  EXPECT_EQ(store_.View()->ReadLedger().delivered, 1u);
  // Nor does one for another batch.
  store_.RunOne(RecordOutcomes{
      kWorker, BatchId{99}, {MakeOutcome(Id(2), Result::kEnded)}});
  EXPECT_TRUE(store_.View()->IsClaimed(Id(2)));
}

TEST_F(QueueStoreTest, AReportHoldsTheBodyUntilItIsSettled) {
  store_.RunOne(MakeMessage(kMessage, 1, "a"));
  Claim({Id(1)});
  EnvelopeOutcome outcome = MakeOutcome(Id(1), Result::kEnded);
  outcome.ending = Ending::kReported;
  outcome.report = true;
  outcome.error_line = "550 no";
  const BatchResult ended =
      store_.Run({RecordOutcomes{kWorker, kBatch, {outcome}}});
  EXPECT_TRUE(ended.reports_added);
  const auto reports = store_.View()->Reports({}, 10);
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_EQ(reports[0].envelope.error_line, "550 no");
  EXPECT_EQ(reports[0].added, Now());
  EXPECT_THAT(store_.View()->Reports(reports[0].key, 10), IsEmpty());
  EXPECT_EQ(store_.View()->FindMessage(kMessage)->live, 1u);
  EXPECT_EQ(store_.Check(), "");

  AcceptMessage report = MakeMessage(MessageId{0x2000}, 1, "report");
  report.settles = {reports[0].key};
  ASSERT_TRUE(store_.RunOne(report).status.ok());
  EXPECT_EQ(store_.View()->FindMessage(kMessage).status().code(),
            absl::StatusCode::kNotFound);
  // Exactly once (promise P3).
  report.message = MessageId{0x3000};
  report.envelopes[0].id = Id(1, report.message);
  EXPECT_EQ(store_.RunOne(report).status.code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(QueueStoreTest, DroppedReportsLetGoOfTheBody) {
  store_.RunOne(MakeMessage(kMessage, 1, "a"));
  ActOnEnvelope expire;
  expire.envelope = Id(1);
  expire.act = Act::kExpire;
  expire.report = true;
  expire.error_line = "Envelope expired";
  ASSERT_TRUE(store_.RunOne(expire).status.ok());
  EXPECT_EQ(store_.View()->ReadLedger().reported, 1u);
  EXPECT_EQ(store_.View()->Stats().messages, 1u);
  store_.RunOne(DropReports{{{Id(1), ReportKind::kFailed}}});
  EXPECT_EQ(store_.View()->Stats().messages, 0u);
}

TEST_F(QueueStoreTest, WarningsSetTheNextDeadline) {
  store_.RunOne(MakeMessage(kMessage, 1, "a"));
  ActOnEnvelope warn;
  warn.envelope = Id(1);
  warn.act = Act::kWarn;
  warn.report = true;
  warn.due = Now() + absl::Hours(4);
  warn.next_deadline = Now() + absl::Hours(20);
  EXPECT_TRUE(store_.Run({warn}).reports_added);
  store_.Run({warn});
  EXPECT_THAT(store_.View()->Reports({}, 10), SizeIs(1));
  EXPECT_EQ(store_.View()->FindMessage(kMessage)->live, 2u);
  EXPECT_EQ(store_.View()->FirstDeadline(), Now() + absl::Hours(20));
  EXPECT_EQ(store_.View()->FindEnvelope(Id(1))->last_bounce,
            Now() + absl::Hours(4));
}

TEST_F(QueueStoreTest, ActsOnClaimedEnvelopesAreRefused) {
  store_.RunOne(MakeMessage(kMessage, 1, "a"));
  Claim({Id(1)});
  for (const auto act : {Act::kSchedule, Act::kRemove, Act::kSuspend}) {
    EXPECT_EQ(Act(Id(1), act).status.code(),
              absl::StatusCode::kFailedPrecondition);
  }
  ActOnEnvelope expire;
  expire.envelope = Id(1);
  expire.act = Act::kExpire;
  expire.next_deadline = Now() + absl::Hours(200);
  EXPECT_EQ(store_.RunOne(expire).status.code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(store_.View()->FirstDeadline(), Now() + absl::Hours(200));
  EXPECT_EQ(Act(Id(77), Act::kRemove).status.code(),
            absl::StatusCode::kNotFound);
}

TEST_F(QueueStoreTest, HeldAndSuspendedEnvelopesAreInNoLane) {
  store_.RunOne(MakeMessage(kMessage, 1, "a"));
  const DestinationId destination = OnlyDestination().id;
  ASSERT_TRUE(Act(Id(1), Act::kSuspend).status.ok());
  ASSERT_TRUE(Act(Id(1), Act::kHold).status.ok());
  EXPECT_THAT(Lane(destination), IsEmpty());
  EXPECT_EQ(OnlyDestination().envelopes, 0u);
  EXPECT_THAT(store_.View()->Agenda(absl::InfinitePast(), DestinationId{0},
                                    absl::InfiniteFuture(), 10),
              IsEmpty());
  const Envelope envelope = *store_.View()->FindEnvelope(Id(1));
  EXPECT_EQ(store_.View()->DueOf(envelope), std::nullopt);
  EXPECT_EQ(store_.Check(), "");
  ASSERT_TRUE(Act(Id(1), Act::kRelease).status.ok());
  EXPECT_THAT(Lane(destination), IsEmpty());
  ASSERT_TRUE(Act(Id(1), Act::kResume).status.ok());
  EXPECT_THAT(Lane(destination), SizeIs(1));
  // Held again, an operator's schedule lets it go.
  Act(Id(1), Act::kHold);
  Act(Id(1), Act::kSchedule, Now() + absl::Seconds(9));
  ASSERT_THAT(Lane(destination), SizeIs(1));
  EXPECT_EQ(Lane(destination)[0].due, Now() + absl::Seconds(9));
  ASSERT_TRUE(Act(Id(1), Act::kRemove).status.ok());
  EXPECT_EQ(store_.View()->ReadLedger().removed, 1u);
}

TEST_F(QueueStoreTest, APostponedDestinationIsLaterInTheAgenda) {
  store_.RunOne(MakeMessage(kMessage, 1, "a"));
  const DestinationId id = OnlyDestination().id;
  const absl::Time later = Now() + absl::Minutes(7);
  store_.RunOne(PostponeDestination{id, later, Now(), 3, "Connection refused"});
  auto agenda = store_.View()->Agenda(absl::InfinitePast(), DestinationId{0},
                                      absl::InfiniteFuture(), 10);
  ASSERT_THAT(agenda, SizeIs(1));
  EXPECT_EQ(agenda[0].first, later);
  EXPECT_EQ(OnlyDestination().error, "Connection refused");
  // New mail does not hurry it.
  AcceptMessage more = MakeMessage(MessageId{0x2000}, 1, "b");
  store_.RunOne(more);
  agenda = store_.View()->Agenda(absl::InfinitePast(), DestinationId{0},
                                 absl::InfiniteFuture(), 10);
  ASSERT_THAT(agenda, SizeIs(1));
  EXPECT_EQ(agenda[0].first, later);
  EXPECT_EQ(OnlyDestination().failures, 3u);
  // The past clears it.
  const BatchResult cleared =
      store_.Run({PostponeDestination{id, absl::InfinitePast(), Now(), 0, ""}});
  ASSERT_THAT(cleared.lanes, SizeIs(1));
  EXPECT_EQ(OnlyDestination().error, "");
  EXPECT_EQ(OnlyDestination().postponed_until, absl::InfinitePast());
  EXPECT_EQ(
      store_
          .RunOne(PostponeDestination{DestinationId{999}, later, Now(), 1, "x"})
          .status.code(),
      absl::StatusCode::kNotFound);
}

TEST_F(QueueStoreTest, LanesGoByPriorityAndTime) {
  AcceptMessage message = MakeMessage(kMessage, 4, "a");
  for (int i = 0; i < 4; ++i) message.envelopes[i].routing_key = "one.example";
  message.envelopes[0].created = Now() + absl::Seconds(2);
  message.envelopes[1].created = Now() + absl::Seconds(1);
  message.envelopes[2].priority = 4;
  message.envelopes[2].created = Now() + absl::Seconds(50);
  message.envelopes[3].priority = -128;
  ASSERT_TRUE(store_.RunOne(message).status.ok());
  const DestinationRow row = OnlyDestination();
  EXPECT_EQ(row.envelopes, 4u);
  EXPECT_EQ(row.next_due, Now());
  const auto ids = [&](absl::Time until) {
    std::vector<EnvelopeId> ids;
    for (const LanePosition& p : Lane(row.id, until)) ids.push_back(p.envelope);
    return ids;
  };
  EXPECT_THAT(ids(absl::InfiniteFuture()),
              ElementsAre(Id(3), Id(2), Id(1), Id(4)));
  EXPECT_THAT(ids(Now() + absl::Seconds(1)), ElementsAre(Id(2), Id(4)));
  const auto view = store_.View();
  const auto first = view->Lane(row.id, {}, absl::InfiniteFuture(), 2);
  ASSERT_THAT(first, SizeIs(2));
  const auto rest = view->Lane(row.id, first[1], absl::InfiniteFuture(), 10);
  ASSERT_THAT(rest, SizeIs(2));
  EXPECT_EQ(rest[0].envelope, Id(1));
}

TEST_F(QueueStoreTest, AReleasedClaimIsInDoubt) {
  store_.RunOne(MakeMessage(kMessage, 2, "a"));
  Claim({Id(1), Id(2)});
  store_.Close();
  ASSERT_TRUE(store_.Open().ok());
  EXPECT_TRUE(store_.View()->IsClaimed(Id(2)));
  ASSERT_THAT(store_.View()->Claims(), SizeIs(1));
  const OperationResult released =
      store_.RunOne(ReleaseClaim{kWorker, kBatch, true, false});
  ASSERT_THAT(released.envelopes, SizeIs(2));
  EXPECT_EQ(released.envelopes[0].flags & kFlagInDoubt, kFlagInDoubt);
  EXPECT_THAT(store_.View()->Doubts(10), SizeIs(2));
  EXPECT_EQ(store_.View()->Doubts(10)[0].envelope, Id(2));
  EXPECT_FALSE(store_.View()->IsClaimed(Id(1)));
  EXPECT_EQ(
      store_.RunOne(ReleaseClaim{kWorker, kBatch, true, false}).status.code(),
      absl::StatusCode::kNotFound);
  // Not tried this time: the older doubt stays, and is listed once.
  Claim({Id(1), Id(2)});
  store_.RunOne(ReleaseClaim{kWorker, kBatch, false, false});
  EXPECT_EQ(store_.View()->FindEnvelope(Id(1))->flags & kFlagInDoubt,
            kFlagInDoubt);
  EXPECT_THAT(store_.View()->Doubts(10), SizeIs(2));
  // Held instead of retried, if wanted.
  Claim({Id(1)});
  store_.RunOne(ReleaseClaim{kWorker, kBatch, true, true});
  EXPECT_EQ(store_.View()->FindEnvelope(Id(1))->flags & kFlagHeld, kFlagHeld);
  // The list outlives the envelopes.
  Act(Id(1), Act::kRemove);
  Act(Id(2), Act::kRemove);
  EXPECT_THAT(store_.View()->Doubts(10), SizeIs(3));
}

TEST_F(QueueStoreTest, LargeBodiesComeInChunks) {
  std::string raw;
  std::mt19937 random(3);
  while (raw.size() < 400'000) absl::StrAppend(&raw, random(), "\n");
  BodyCompressor compressor;
  std::vector<std::string> chunks = compressor.Write(raw);
  CompressedBody body = compressor.Finish();
  for (std::string& chunk : body.chunks) chunks.push_back(std::move(chunk));
  AcceptMessage accept = MakeMessage(kMessage, 1, "");
  accept.stored.clear();
  accept.body = body.info;
  EXPECT_EQ(store_.RunOne(accept).status.code(),
            absl::StatusCode::kFailedPrecondition);
  for (uint32_t i = 0; i < chunks.size(); ++i) {
    ASSERT_TRUE(
        store_.RunOne(StoreChunk{kMessage, 5, i, chunks[i]}).status.ok());
  }
  EXPECT_EQ(store_.RunOne(StoreChunk{kMessage, 5, 99, "x"}).status.code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(store_.View()->Stats().incoming, 1u);
  EXPECT_EQ(store_.Check(), "");
  ASSERT_TRUE(store_.RunOne(accept).status.ok());
  EXPECT_EQ(store_.View()->Stats().incoming, 0u);
  const auto stored = store_.View()->BodyChunks(
      kMessage, 0, static_cast<uint32_t>(chunks.size()));
  ASSERT_TRUE(stored.ok());
  EXPECT_EQ(*stored, chunks);
  EXPECT_EQ(store_.View()->BodyChunks(kMessage, 1, 1)->at(0), chunks[1]);
  EXPECT_EQ(store_.View()->BodyChunks(kMessage, 1, 9999).status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST_F(QueueStoreTest, BodiesOfEarlierStartsAreCleanedUp) {
  store_.RunOne(StoreChunk{kMessage, 5, 0, "abc"});
  store_.RunOne(StoreChunk{MessageId{0x2000}, 5, 0, std::string(30000, 'x')});
  store_.RunOne(DropIncoming{MessageId{0x2000}});
  EXPECT_EQ(store_.RunOne(DropIncoming{MessageId{0x2000}}).status.code(),
            absl::StatusCode::kNotFound);
  store_.Close();
  ASSERT_TRUE(store_.Open().ok());
  EXPECT_EQ(store_.store()->start_number(), 2u);
  // The clean-up goes with the next commits.
  store_.RunOne(LeaseIds{1});
  store_.RunOne(LeaseIds{1});
  EXPECT_EQ(store_.View()->Stats().incoming, 0u);
  EXPECT_EQ(store_.View()->Stats().garbage, 0u);
}

TEST_F(QueueStoreTest, LeasesSkipIdsInUse) {
  const uint32_t first =
      static_cast<uint32_t>(store_.RunOne(LeaseIds{10}).first_id);
  EXPECT_EQ(static_cast<uint32_t>(store_.RunOne(LeaseIds{10}).first_id),
            first + 10);
  store_.RunOne(MakeMessage(MessageId{first + 25}, 1, "a"));
  store_.RunOne(StoreChunk{MessageId{first + 32}, 5, 0, "abc"});
  EXPECT_EQ(static_cast<uint32_t>(store_.RunOne(LeaseIds{10}).first_id),
            first + 33);
}

TEST_F(QueueStoreTest, ManyThreadsSubmitAtOnce) {
  constexpr int kThreads = 4, kEach = 200;
  std::atomic<int> accepted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        QueueBatch batch;
        batch.push_back(MakeMessage(MessageId(1 + t * kEach + i), 2, "hello"));
        store_.store()->Submit(std::move(batch), [&](BatchResult result) {
          accepted += result.operations[0].status.ok();
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  store_.store()->Drain();
  EXPECT_EQ(accepted, kThreads * kEach);
  EXPECT_EQ(store_.View()->Stats().messages, uint64_t{kThreads * kEach});
  // One lane for each domain, whoever wrote to it.
  EXPECT_EQ(store_.View()->Stats().destinations, 2u);
}

TEST_F(QueueStoreTest, AnswersComeInOrderOfSubmission) {
  std::vector<int> order;
  for (int i = 0; i < 300; ++i) {
    QueueBatch batch;
    batch.push_back(MakeMessage(MessageId(1 + i), 1, "hello"));
    store_.store()->Submit(std::move(batch),
                           [&order, i](BatchResult) { order.push_back(i); });
  }
  store_.store()->Drain();
  ASSERT_THAT(order, SizeIs(300));
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_F(QueueStoreTest, ReadLaterSeesWhatWasCommitted) {
  store_.RunOne(MakeMessage(kMessage, 3, "a"));
  absl::Notification done;
  size_t seen = 0;
  store_.store()->ReadLater([&](absl::StatusOr<const QueueView*> view) {
    seen = (*view)->Envelopes(EnvelopeId{0}, 10).size();
    done.Notify();
  });
  done.WaitForNotification();
  EXPECT_EQ(seen, 3u);
}

TEST_F(QueueStoreTest, TheStoreKeepsItsName) {
  const std::string uuid = store_.store()->uuid();
  EXPECT_THAT(uuid, SizeIs(16));
  store_.Close();
  ASSERT_TRUE(store_.Open().ok());
  EXPECT_EQ(store_.store()->uuid(), uuid);
  struct stat info;
  ASSERT_EQ(stat(store_.file().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(QueueStoreTest, ASecondOpenerIsToldWhoHoldsIt) {
  StoreForTest second(store_.folder());
  const absl::Status status = second.Open();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat("process ", getpid())));
  second.options().read_only = true;
  EXPECT_EQ(second.Open().code(), absl::StatusCode::kUnavailable);
}

TEST_F(QueueStoreTest, ReadersShare) {
  store_.RunOne(MakeMessage(kMessage, 1, "a"));
  store_.Close();
  StoreForTest one(store_.folder()), two(store_.folder());
  one.options().read_only = two.options().read_only = true;
  ASSERT_TRUE(one.Open().ok());
  ASSERT_TRUE(two.Open().ok());
  EXPECT_EQ(one.View()->Stats().envelopes, 1u);
  EXPECT_EQ(two.Check(), "");
  EXPECT_EQ(two.RunOne(LeaseIds{1}).status.code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(store_.Open().code(), absl::StatusCode::kUnavailable);
}

TEST(QueueStoreOpenTest, NothingToReadIsAnError) {
  StoreForTest store;
  store.options().read_only = true;
  EXPECT_EQ(store.Open().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace holdfast
