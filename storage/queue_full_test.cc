// A store without room: it refuses mail, and all that is there can leave.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/control_frames.h"
#include "protocol/queue_transfer.h"
#include "storage/queue_export.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

using Result = EnvelopeOutcome::Result;

// With history, which must never be in the way.
class FullQueueTest : public testing::Test {
 protected:
  void SetUp() override {
    store_.options().history_age = absl::Hours(1);
    store_.options().size_limit = 6 << 20;
    store_.options().reserve_bytes = 1 << 20;
    ASSERT_TRUE(store_.Open().ok());
  }

  // Accepts until refused; how many.
  uint32_t Fill() {
    for (uint32_t i = 0;; ++i) {
      const AcceptMessage message =
          MakeMessage(MessageId(next_), 1, Body(next_));
      const absl::Status status = store_.RunOne(message).status;
      if (!status.ok()) {
        EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
        return i;
      }
      ++next_;
    }
  }

  static std::string Body(uint32_t seed) {
    std::string body;
    for (int i = 0; i < 2000; ++i) {
      seed = seed * 1664525 + 1013904223;
      absl::StrAppend(&body, seed % 100000, "\n");
    }
    return body;
  }

  bool MayKeepBodies() {
    const auto pin = store_.store()->PinBodies();
    return pin.ok() && (*pin)->holds();
  }

  absl::Status Remove(uint32_t message) {
    ActOnEnvelope remove;
    remove.envelope = MakeEnvelopeId(MessageId{message}, 1);
    remove.act = ActOnEnvelope::Act::kRemove;
    return store_.RunOne(remove).status;
  }

  StoreForTest store_;
  uint32_t next_ = 1;
};

TEST_F(FullQueueTest, RefusesRemovesAndAcceptsAgain) {
  uint32_t removed = 0;
  uint32_t at_first = 0;
  // Round after round the same amount fits: nothing fragments or leaks.
  for (int round = 0; round < 6; ++round) {
    const uint32_t accepted = Fill();
    if (round == 0) at_first = accepted;
    EXPECT_GT(accepted, 100u);
    EXPECT_GE(accepted + 20, at_first);
    EXPECT_FALSE(store_.View()->Stats().accepting);
    EXPECT_EQ(store_.Check(), "");
    while (removed + 1 < next_) ASSERT_TRUE(Remove(++removed).ok());
    store_.store()->Drain();
    EXPECT_EQ(store_.Check(), "");
    EXPECT_TRUE(store_.View()->Stats().accepting);
  }
}

// No export keeps room for itself here; one that moves mail away needs none.
TEST_F(FullQueueTest, MailCanBeMovedAway) {
  const uint32_t accepted = Fill();
  QueueBatch marks;
  for (uint32_t m = 1; m < next_; ++m) {
    ActOnEnvelope mark;
    mark.envelope = MakeEnvelopeId(MessageId{m}, 1);
    mark.act = ActOnEnvelope::Act::kMove;
    marks.push_back(std::move(mark));
  }
  for (const OperationResult& one : store_.Run(std::move(marks)).operations)
    ASSERT_TRUE(one.status.ok()) << one.status;
  ExportOptions options;
  options.moving_only = true;
  options.rest = [](absl::Duration) {};
  ControlFrames frames(kMaxExportFrame);
  ASSERT_EQ(ExportQueue(store_.store(), std::move(options),
                        [&](const std::string& piece) {
                          // Whoever keeps bodies must let go now.
                          EXPECT_TRUE(!piece.empty() || !MayKeepBodies());
                          frames.Append(piece);
                          return absl::OkStatus();
                        }),
            absl::OkStatus());
  uint32_t messages = 0;
  for (auto frame = frames.Next(); frame.ok() && frame->has_value();
       frame = frames.Next())
    messages += (*frame)->type == ExportMessage::kType;
  EXPECT_EQ(messages, accepted);
}

TEST_F(FullQueueTest, ReportsStillGoOut) {
  ASSERT_TRUE(
      store_.RunOne(MakeMessage(MessageId{0x9000}, 1, "x")).status.ok());
  Fill();
  ActOnEnvelope expire;
  expire.envelope = MakeEnvelopeId(MessageId{0x9000}, 1);
  expire.act = ActOnEnvelope::Act::kExpire;
  expire.report = true;
  ASSERT_TRUE(store_.RunOne(expire).status.ok());
  AcceptMessage report = MakeMessage(MessageId{0x9001}, 1, "your mail expired");
  report.settles = {{expire.envelope, ReportKind::kFailed}};
  EXPECT_TRUE(store_.RunOne(report).status.ok());
  EXPECT_EQ(store_.Check(), "");
}

// Records grow by attempts and reasons.  What must be written for mail to move
// on has the room that is left all the same.
TEST_F(FullQueueTest, RecordsThatGrowLeaveRoomForOutcomes) {
  constexpr uint32_t kWaiting = 50;
  constexpr uint32_t kRecipients = 100;
  for (uint32_t m = 0; m < kWaiting; ++m)
    ASSERT_TRUE(
        store_.RunOne(MakeMessage(MessageId(0x9000 + m), kRecipients, "x"))
            .status.ok());
  Fill();
  for (int round = 0; round < 4; ++round) {
    for (uint32_t i = 0; i < kWaiting * kRecipients; i += 20) {
      ClaimEnvelopes claim{WorkerId{1}, BatchId{1}, {}};
      RecordOutcomes record{WorkerId{1}, BatchId{1}, {}};
      for (uint32_t n = i; n < i + 20; ++n) {
        const EnvelopeId id = MakeEnvelopeId(
            MessageId(0x9000 + n / kRecipients), n % kRecipients + 1);
        claim.envelopes.push_back(id);
        EnvelopeOutcome retry = MakeOutcome(id, Result::kRetry);
        retry.due = absl::FromUnixSeconds(kTestNow);
        retry.error_line = Body(n + 7 * round).substr(0, 500);
        retry.attempt.emplace().answer = retry.error_line;
        record.outcomes.push_back(std::move(retry));
      }
      const BatchResult result =
          store_.Run({std::move(claim), std::move(record)});
      for (const OperationResult& operation : result.operations)
        ASSERT_TRUE(operation.status.ok()) << round << " " << i;
    }
  }
  EXPECT_EQ(store_.Check(), "");
}

// A view keeps what was freed since it was opened; there is an end to that.
TEST_F(FullQueueTest, AViewThatIsKeptCostsNothingButTime) {
  Fill();
  auto view = store_.View();
  uint32_t removed = 0;
  absl::Status status;
  while (status.ok() && removed + 1 < next_) {
    status = Remove(removed + 1);
    removed += status.ok();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GT(removed, 10u);
  EXPECT_EQ(store_.View()->Stats().messages, next_ - 1 - removed);
  view.reset();
  EXPECT_TRUE(Remove(removed + 1).ok());
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(FullQueueTest, ALimitBelowWhatIsUsedStillOpens) {
  const uint32_t accepted = Fill();
  store_.options().size_limit = 1 << 20;
  ASSERT_TRUE(store_.Open().ok());
  EXPECT_EQ(store_.View()->Stats().messages, accepted);
  EXPECT_TRUE(Remove(1).ok());
}

TEST(MinFreeTest, AFullFileSystemRefuses) {
  StoreForTest store;
  store.options().min_free = 1.1;
  ASSERT_TRUE(store.Open().ok());
  EXPECT_FALSE(store.View()->Stats().accepting);
  EXPECT_EQ(store.RunOne(MakeMessage(MessageId{1}, 1, "a")).status.code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(store.RunOne(LeaseIds{1}).status.ok());
}

}  // namespace
}  // namespace holdfast
