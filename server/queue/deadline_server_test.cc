#include "server/queue/deadline_server.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/queue/queue_test_bed.h"

namespace holdfast {
namespace {

using Result = WorkerOutcome::Result;

class DeadlineServerTest : public ::testing::Test {
 protected:
  bool Warned(EnvelopeId id) {
    return bed_.disk.reports.count({id, ReportKind::kDelayed}) > 0;
  }
  bool Failed(EnvelopeId id) {
    return bed_.disk.reports.count({id, ReportKind::kFailed}) > 0;
  }
  void TryLaterAlways() {
    bed_.relay->on_batch = [this](const GotBatch& batch) {
      bed_.relay->Answer(batch, Result::kTempFail, "450 later");
    };
  }
  Envelope Made(uint8_t notify = 0) {
    Envelope e = bed_.MakeEnvelope(DeliveryKind::kMta, "out", "example.net");
    e.dsn_notify = notify;
    return e;
  }

  QueueTestBed bed_;
};

TEST_F(DeadlineServerTest, FourDays) {
  bed_.Boot();
  TryLaterAlways();
  const EnvelopeId id = bed_.Accept(Made());
  bed_.loop.Advance(absl::Hours(4) - absl::Seconds(1));
  EXPECT_FALSE(Warned(id));
  bed_.loop.Advance(absl::Seconds(2));
  EXPECT_TRUE(Warned(id));
  EXPECT_EQ(bed_.disk.envelopes[id].last_bounce,
            bed_.disk.envelopes[id].created + absl::Hours(4));
  bed_.disk.reports.clear();
  bed_.loop.Advance(absl::Hours(92) - absl::Seconds(10));
  EXPECT_FALSE(Warned(id)) << "once";
  EXPECT_TRUE(bed_.InQueue(id));
  EXPECT_EQ(bed_.disk.envelopes[id].retry, 30u);
  bed_.TakeLog();
  bed_.loop.Advance(absl::Seconds(10));
  EXPECT_FALSE(bed_.InQueue(id));
  ASSERT_TRUE(Failed(id));
  const Envelope& e = bed_.disk.reports[{id, ReportKind::kFailed}].envelope;
  EXPECT_EQ(e.error_line, "Envelope expired (450 later)");
  EXPECT_EQ(e.status.klass, 5);
  EXPECT_EQ(e.status.code, 47);
  EXPECT_EQ(bed_.TakeLog(),
            absl::StrCat("relay: Expire for ", ToString(id),
                         ": from=<sender@example.com>, to=<rcpt@example.net>, "
                         "rcpt=<->, delay=4d, stat=Envelope expired\n"));
  EXPECT_TRUE(bed_.LedgerHolds());
  QueueCounters c;
  bed_.engine->Count(&c);
  EXPECT_EQ(c.expired, 1u);
}

TEST_F(DeadlineServerTest, DeliverByReturnFailsInTime) {
  bed_.Boot();
  TryLaterAlways();
  Envelope e = Made();
  e.deliver_by = e.created + absl::Minutes(5);
  e.flags |= kFlagDeliverByReturn;
  const EnvelopeId id = bed_.Accept(e);
  bed_.loop.Advance(absl::Minutes(5) - absl::Seconds(1));
  EXPECT_TRUE(bed_.InQueue(id));
  bed_.TakeLog();
  bed_.loop.Advance(absl::Seconds(2));
  EXPECT_FALSE(bed_.InQueue(id));
  ASSERT_TRUE(Failed(id));
  const Envelope& failed =
      bed_.disk.reports[{id, ReportKind::kFailed}].envelope;
  EXPECT_EQ(failed.error_line, "Delivery time expired (450 later)");
  EXPECT_EQ(failed.status.code, 47);
  EXPECT_TRUE(
      absl::StrContains(bed_.TakeLog(), "stat=Delivery time expired\n"));
  EXPECT_TRUE(bed_.LedgerHolds());
}

TEST_F(DeadlineServerTest, DeliverByNotifyWarnsAndGoesOn) {
  bed_.Boot();
  TryLaterAlways();
  Envelope e = Made();
  e.deliver_by = e.created + absl::Minutes(5);
  const EnvelopeId id = bed_.Accept(e);
  bed_.loop.Advance(absl::Minutes(5) + absl::Seconds(1));
  EXPECT_TRUE(bed_.InQueue(id));
  ASSERT_TRUE(Warned(id));
  const Envelope& told = bed_.disk.reports[{id, ReportKind::kDelayed}].envelope;
  EXPECT_EQ(told.error_line, "Delivery time expired, continuing");
  EXPECT_EQ(told.last_bounce, e.deliver_by);
  EXPECT_EQ(bed_.disk.envelopes[id].error_line, "450 later")
      << "its own state stays";
  bed_.disk.reports.clear();
  bed_.loop.Advance(absl::Hours(3));
  EXPECT_FALSE(Warned(id)) << "once";
}

TEST_F(DeadlineServerTest, NotifyIsHonoured) {
  bed_.Boot();
  TryLaterAlways();
  const EnvelopeId plain = bed_.Accept(Made());
  const EnvelopeId delay = bed_.Accept(Made(kNotifyDelay));
  const EnvelopeId failure = bed_.Accept(Made(kNotifyFailure));
  const EnvelopeId success = bed_.Accept(Made(kNotifySuccess));
  const EnvelopeId never = bed_.Accept(Made(kNotifyNever));
  Envelope null_sender = Made();
  null_sender.sender = {};
  const EnvelopeId null_id = bed_.Accept(null_sender);
  bed_.loop.Advance(absl::Hours(5));
  EXPECT_TRUE(Warned(plain));
  EXPECT_TRUE(Warned(delay));
  for (EnvelopeId id : {failure, success, never, null_id}) {
    EXPECT_FALSE(Warned(id));
  }
  bed_.TakeLog();
  bed_.loop.Advance(absl::Hours(92));
  EXPECT_TRUE(bed_.disk.envelopes.empty());
  EXPECT_TRUE(Failed(plain));
  EXPECT_TRUE(Failed(failure));
  for (EnvelopeId id : {delay, success, never, null_id}) {
    EXPECT_FALSE(Failed(id));
  }
  EXPECT_EQ(bed_.disk.ledger.reported, 2u);
  EXPECT_EQ(bed_.disk.ledger.silent, 4u);
  EXPECT_TRUE(
      absl::StrContains(bed_.TakeLog(), "warn: queue: no return path!\n"));
}

TEST_F(DeadlineServerTest, SeveralWarnings) {
  bed_.config.bounce_warn = {absl::Hours(1), absl::Hours(24)};
  bed_.Boot();
  TryLaterAlways();
  const EnvelopeId id = bed_.Accept(Made());
  bed_.loop.Advance(absl::Minutes(61));
  EXPECT_TRUE(Warned(id));
  bed_.disk.reports.clear();
  bed_.loop.Advance(absl::Hours(22));
  EXPECT_FALSE(Warned(id));
  bed_.loop.Advance(absl::Hours(2));
  EXPECT_TRUE(Warned(id));
}

TEST_F(DeadlineServerTest, ADestinationThatIsPostponedDoesNotStopTheClock) {
  bed_.config.queue_ttl = absl::Minutes(10);
  bed_.Boot();
  bed_.relay->on_batch = [this](const GotBatch& batch) {
    bed_.relay->Fail(batch, "down");
  };
  const EnvelopeId id = bed_.Accept(Made());
  bed_.loop.Advance(absl::Minutes(10) - absl::Seconds(1));
  EXPECT_TRUE(bed_.InQueue(id));
  bed_.loop.Advance(absl::Seconds(2));
  EXPECT_FALSE(bed_.InQueue(id));
  // Its sender hears why, though it was never tried itself.
  ASSERT_TRUE(Failed(id));
  EXPECT_EQ((bed_.disk.reports[{id, ReportKind::kFailed}].envelope.error_line),
            "Envelope expired (down)");
}

TEST_F(DeadlineServerTest, AWarningOfAPostponedDestinationSaysWhy) {
  bed_.Boot();
  bed_.relay->on_batch = [this](const GotBatch& batch) {
    bed_.relay->Fail(batch, "down");
  };
  const EnvelopeId id = bed_.Accept(Made());
  bed_.loop.Advance(absl::Hours(4) + absl::Seconds(1));
  ASSERT_TRUE(Warned(id));
  EXPECT_EQ((bed_.disk.reports[{id, ReportKind::kDelayed}].envelope.error_line),
            "down");
  EXPECT_EQ(bed_.disk.envelopes[id].error_line, "") << "its own state stays";
}

TEST_F(DeadlineServerTest, InFlightExpiresAfterItsOutcome) {
  bed_.config.queue_ttl = absl::Minutes(1);
  bed_.Boot();
  const EnvelopeId slow = bed_.Accept(Made());
  const GotBatch slow_batch = bed_.relay->Take();
  const EnvelopeId lucky = bed_.Accept(Made());
  const GotBatch lucky_batch = bed_.relay->Take();
  bed_.loop.Advance(absl::Minutes(5));
  EXPECT_TRUE(bed_.InQueue(slow));
  bed_.TakeLog();
  bed_.relay->Answer(slow_batch, Result::kTempFail, "450 later");
  bed_.relay->Answer(lucky_batch, Result::kOk, "250 ok");
  bed_.Run();
  EXPECT_FALSE(bed_.InQueue(slow));
  EXPECT_TRUE(Failed(slow));
  EXPECT_FALSE(Failed(lucky));
  EXPECT_EQ(bed_.disk.ledger.delivered, 1u);
  const std::string log = bed_.TakeLog();
  EXPECT_LT(log.find("TempFail"), log.find("relay: Expire for "));
}

TEST_F(DeadlineServerTest, SuspendedWaitsAndExpiresWhenResumed) {
  bed_.config.queue_ttl = absl::Hours(1);
  bed_.Boot();
  bed_.engine->scheduler().SetPaused(DeliveryKind::kMta, true);
  const EnvelopeId id = bed_.Accept(Made());
  uint64_t count = 0;
  bed_.engine->acts().Act(OperatorAct::kPause, {id},
                          [&](uint64_t n) { count = n; });
  bed_.Run();
  EXPECT_EQ(count, 1u);
  const uint64_t commits = bed_.store->commits();
  bed_.loop.Advance(absl::Hours(30));
  EXPECT_TRUE(bed_.InQueue(id));
  EXPECT_LT(bed_.store->commits() - commits, 60u) << "looks now and then";
  bed_.engine->acts().Act(OperatorAct::kResume, {id}, nullptr);
  bed_.Run();
  EXPECT_FALSE(bed_.InQueue(id));
  EXPECT_TRUE(Failed(id));
}

TEST_F(DeadlineServerTest, WhatExpiredWhileWeWereDown) {
  for (int i = 0; i < 1000; ++i) bed_.Preload(Made());
  bed_.loop.JumpWallClock(absl::Hours(97));
  bed_.Boot();
  bed_.loop.Advance(absl::Seconds(1));
  // All but those that were handed out first.
  size_t flying = bed_.engine->in_flight().size();
  EXPECT_EQ(bed_.disk.envelopes.size(), flying);
  while (!bed_.relay->batches.empty()) {
    bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 no");
  }
  bed_.Run();
  EXPECT_TRUE(bed_.disk.envelopes.empty());
  EXPECT_EQ(bed_.disk.ledger.reported, 1000u);
  EXPECT_TRUE(bed_.LedgerHolds());
}

TEST_F(DeadlineServerTest, LocalMailExpiresToo) {
  bed_.config.queue_ttl = absl::Minutes(1);
  bed_.Boot();
  bed_.engine->scheduler().SetPaused(DeliveryKind::kMda, true);
  bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMda, "box", "bob"));
  bed_.TakeLog();
  bed_.loop.Advance(absl::Minutes(2));
  EXPECT_TRUE(absl::StartsWith(bed_.TakeLog(), "delivery: Expire for "));
}

}  // namespace
}  // namespace holdfast
