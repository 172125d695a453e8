// The engine on the real store: what the fake one promises must be so.
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "server/queue/queue_test_bed.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

using Result = WorkerOutcome::Result;

class QueueOnDiskTest : public ::testing::Test {
 protected:
  QueueOnDiskTest() { store_.set_now(bed_.loop.Now()); }
  ~QueueOnDiskTest() override { Kill(); }

  void Boot() {
    ASSERT_TRUE(store_.Open().ok());
    QueueEngine::Parts parts;
    parts.loop = &bed_.loop;
    parts.config = &bed_.config;
    parts.store = store_.store();
    parts.on_reports = [this] { ++bed_.reports; };
    parts.on_failed_sync = [](const absl::Status& s) { FAIL() << s; };
    engine_ = std::make_unique<QueueEngine>(std::move(parts));
    bed_.relay = std::make_unique<FakeWorker>(&bed_.loop, Room::kRelay, 0,
                                              WorkerId(next_worker_++));
    bed_.deliver = std::make_unique<FakeWorker>(&bed_.loop, Room::kDeliver, 0,
                                                WorkerId(next_worker_++));
    engine_->AddWorker(bed_.relay->Name(), bed_.relay->Connect());
    engine_->AddWorker(bed_.deliver->Name(), bed_.deliver->Connect());
    engine_->OnWorkers(Workers{{bed_.relay->id(), bed_.deliver->id()}});
    Settle();
  }
  void Kill() {
    engine_.reset();
    store_.Close();
  }

  // Runs until neither the loop nor the store's threads have anything to do.
  void Settle() {
    for (int quiet = 0; quiet < 4; ++quiet) {
      bed_.loop.RunReady();
      store_.store()->Drain();
      absl::Notification read;
      store_.store()->ReadLater(
          [&](absl::StatusOr<const QueueView*>) { read.Notify(); });
      read.WaitForNotification();
      bed_.loop.RunReady();
    }
  }
  void Advance(absl::Duration d) {
    // In steps, so that what a timer reads is there before the next.
    const absl::Time end = bed_.loop.Now() + d;
    while (bed_.loop.Now() < end) {
      bed_.loop.Advance(
          std::min(absl::Duration(absl::Seconds(20)), end - bed_.loop.Now()));
      store_.set_now(bed_.loop.Now());
      Settle();
    }
  }
  void Accept(int recipients) {
    AcceptMessage m = MakeMessage(MessageId(next_message_++), recipients, "x");
    m.created = bed_.loop.Now();
    for (Envelope& e : m.envelopes) {
      e.action = "out";
      e.created = bed_.loop.Now();
      e.expires = e.created + absl::Hours(96);
    }
    engine_->committer().Commit({m}, nullptr);
    Settle();
  }
  Ledger ReadLedger() { return store_.View()->ReadLedger(); }

  QueueTestBed bed_;
  StoreForTest store_;
  std::unique_ptr<QueueEngine> engine_;
  uint32_t next_message_ = 1000;
  uint64_t next_worker_ = 1;
};

TEST_F(QueueOnDiskTest, MailComesFailsIsRetriedAndGoes) {
  Boot();
  Accept(1);
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  const GotBatch first = bed_.relay->Take();
  EXPECT_TRUE(bed_.relay->claimed.count(first.batch));
  bed_.relay->Answer(first, Result::kTempFail, "450 later");
  Settle();
  Advance(absl::Seconds(380));
  EXPECT_TRUE(bed_.relay->batches.empty());
  Advance(absl::Seconds(40));
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  bed_.relay->Answer(bed_.relay->Take(), Result::kOk, "250 ok");
  Settle();
  EXPECT_EQ(ReadLedger().delivered, 1u);
  EXPECT_EQ(ReadLedger().queued, 0u);
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueOnDiskTest, ADestinationIsPostponedAndComesBack) {
  Boot();
  Accept(1);
  bed_.relay->Fail(bed_.relay->Take(), "down");
  Settle();
  Advance(absl::Seconds(300));
  EXPECT_TRUE(bed_.relay->batches.empty());
  Advance(absl::Seconds(120));
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  bed_.relay->Fail(bed_.relay->Take(), "down");
  Settle();
  const auto rows = store_.View()->Destinations(DestinationId(0), 10);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].failures, 2u);
  EXPECT_EQ(rows[0].error, "down");
}

TEST_F(QueueOnDiskTest, AfterAKillNothingIsLostAndDoubtIsListed) {
  Boot();
  Accept(3);
  ASSERT_EQ(bed_.relay->batches.size(), 3u);
  bed_.relay->Answer(bed_.relay->Take(), Result::kOk, "250 ok");
  Settle();
  Kill();
  bed_.relay->batches.clear();
  Boot();
  EXPECT_EQ(store_.View()->Doubts(10).size(), 2u);
  EXPECT_EQ(bed_.relay->batches.size(), 2u);
  while (!bed_.relay->batches.empty()) {
    bed_.relay->Answer(bed_.relay->Take(), Result::kOk, "250 ok");
  }
  Settle();
  EXPECT_EQ(ReadLedger().delivered, 3u);
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueOnDiskTest, WarningsAndExpiry) {
  bed_.config.bounce_warn = {absl::Minutes(5)};
  Boot();
  bed_.relay->on_batch = [this](const GotBatch& batch) {
    bed_.relay->Answer(batch, Result::kTempFail, "450 later");
  };
  AcceptMessage m = MakeMessage(MessageId(77), 1, "x");
  m.created = bed_.loop.Now();
  m.envelopes[0].action = "out";
  m.envelopes[0].created = bed_.loop.Now();
  m.envelopes[0].expires = bed_.loop.Now() + absl::Minutes(20);
  engine_->committer().Commit({m}, nullptr);
  Settle();
  Advance(absl::Minutes(6));
  auto reports = store_.View()->Reports(ReportKey{}, 10);
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].key.kind, ReportKind::kDelayed);
  Advance(absl::Minutes(15));
  EXPECT_EQ(ReadLedger().queued, 0u);
  EXPECT_EQ(ReadLedger().reported, 1u);
  reports = store_.View()->Reports(ReportKey{}, 10);
  ASSERT_EQ(reports.size(), 2u);
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueOnDiskTest, ABacklogDrains) {
  Boot();
  engine_->scheduler().SetPaused(DeliveryKind::kMta, true);
  for (int i = 0; i < 50; ++i) Accept(40);
  engine_->scheduler().SetPaused(DeliveryKind::kMta, false);
  Settle();
  size_t batches = 0;
  while (!bed_.relay->batches.empty()) {
    ++batches;
    bed_.relay->Answer(bed_.relay->Take(), Result::kOk, "250 ok");
    if (batches % 20 == 0 || bed_.relay->batches.empty()) Settle();
  }
  EXPECT_EQ(ReadLedger().delivered, 2000u);
  EXPECT_TRUE(bed_.relay->refused.empty());
  EXPECT_EQ(engine_->in_flight().size(), 0u);
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueOnDiskTest, ActsReachTheDisk) {
  Boot();
  engine_->scheduler().SetPaused(DeliveryKind::kMta, true);
  Accept(2);
  const auto all = store_.View()->Envelopes(EnvelopeId(0), 10);
  ASSERT_EQ(all.size(), 2u);
  uint64_t count = 0;
  const auto act = [&](OperatorAct what, EnvelopeId id) {
    count = 999;
    engine_->acts().Act(what, {id}, [&](uint64_t n) { count = n; });
    Settle();
    return count;
  };
  EXPECT_EQ(act(OperatorAct::kRemove, all[0].id), 1u);
  EXPECT_EQ(act(OperatorAct::kRemove, all[0].id), 0u);
  EXPECT_EQ(act(OperatorAct::kPause, all[1].id), 1u);
  EXPECT_EQ(act(OperatorAct::kPause, all[1].id), 0u);
  engine_->scheduler().SetPaused(DeliveryKind::kMta, false);
  Settle();
  EXPECT_TRUE(bed_.relay->batches.empty());
  EXPECT_EQ(act(OperatorAct::kResume, all[1].id), 1u);
  EXPECT_EQ(bed_.relay->batches.size(), 1u);
  EXPECT_EQ(store_.Check(), "");
}

}  // namespace
}  // namespace holdfast
