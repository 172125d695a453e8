#include "server/queue/lane_reader.h"

#include "gtest/gtest.h"
#include "server/queue/queue_test_bed.h"

namespace holdfast {
namespace {

class LaneReaderTest : public ::testing::Test {
 protected:
  LaneReaderTest() : store_(&bed_.loop, &bed_.disk) {}
  EnvelopeId Add(absl::Duration from_now, int8_t priority = 0) {
    Envelope e = bed_.MakeEnvelope(DeliveryKind::kMta, "out", "example.net");
    e.created += from_now;
    e.priority = priority;
    bed_.Preload(e);
    return e.id;
  }
  LaneContents Read(size_t want, std::vector<EnvelopeId> skip = {}) {
    LaneRequest request;
    request.destination = DestinationId(1);
    request.now = bed_.loop.Now();
    request.want = want;
    request.skip.insert(skip.begin(), skip.end());
    return ReadLane(**store_.View(), request);
  }
  std::vector<EnvelopeId> Ids(const LaneContents& contents) {
    std::vector<EnvelopeId> ids;
    for (const Envelope& e : contents.envelopes) ids.push_back(e.id);
    return ids;
  }

  QueueTestBed bed_;
  FakeDiskStore store_;
};

using Ids_ = std::vector<EnvelopeId>;

TEST_F(LaneReaderTest, InOrderWithoutWhatIsInFlight) {
  const EnvelopeId old = Add(-absl::Hours(2));
  const EnvelopeId fresh = Add(-absl::Hours(1));
  const EnvelopeId urgent = Add(absl::ZeroDuration(), 5);
  EXPECT_EQ(Ids(Read(10)), (Ids_{urgent, old, fresh}));
  EXPECT_EQ(Ids(Read(10, {old})), (Ids_{urgent, fresh}));
  EXPECT_EQ(Ids(Read(2)), (Ids_{urgent, old}));
  EXPECT_FALSE(Read(2).exhausted);
  EXPECT_TRUE(Read(3).exhausted);
}

TEST_F(LaneReaderTest, TheLimitDoesNotCutAMessage) {
  Envelope e = bed_.MakeEnvelope(DeliveryKind::kMta, "out", "example.net");
  const MessageId message = MessageOf(e.id);
  for (uint32_t low = 1; low <= 50; ++low) {
    e.id = MakeEnvelopeId(message, low);
    bed_.Preload(e);
  }
  Add(absl::ZeroDuration());
  EXPECT_EQ(Read(20).envelopes.size(), 50u);
  EXPECT_EQ(Read(51).envelopes.size(), 51u);
}

TEST_F(LaneReaderTest, NextDueLooksThroughAllPriorities) {
  EXPECT_EQ(Read(1).status.code(), absl::StatusCode::kNotFound);
  Add(-absl::Hours(1), 3);
  EXPECT_EQ(Read(9).next_due, absl::InfiniteFuture());
  Add(absl::Hours(3), 3);
  EXPECT_EQ(Read(9).next_due, bed_.loop.Now() + absl::Hours(3));
  Add(-absl::Hours(1), 0);
  Add(absl::Hours(2), 0);
  Add(absl::Hours(5), -4);
  const LaneContents contents = Read(9);
  EXPECT_EQ(contents.envelopes.size(), 2u);
  EXPECT_EQ(contents.next_due, bed_.loop.Now() + absl::Hours(2));
}

TEST_F(LaneReaderTest, ManyRowsInFlightArePassedOver) {
  std::vector<EnvelopeId> flying;
  for (int i = 0; i < 1000; ++i) flying.push_back(Add(-absl::Hours(1)));
  const EnvelopeId last = Add(absl::ZeroDuration());
  EXPECT_EQ(Ids(Read(64, flying)), Ids_{last});
}

TEST_F(LaneReaderTest, BodiesAreBounded) {
  for (int i = 0; i < 200; ++i) {
    const EnvelopeId id = Add(absl::ZeroDuration());
    bed_.disk.messages[MessageOf(id)].chunks[0].assign(60 << 10, 'x');
  }
  const LaneContents contents = Read(1000);
  EXPECT_FALSE(contents.exhausted);
  EXPECT_LE(contents.envelopes.size() * (60 << 10),
            kMaxLoadedBytes + (60 << 10));
  EXPECT_GT(contents.envelopes.size(), 60u);
}

TEST_F(LaneReaderTest, APostponedDestinationGivesNothing) {
  Add(absl::ZeroDuration());
  bed_.disk.destinations[DestinationId(1)].row.postponed_until =
      bed_.loop.Now() + absl::Seconds(1);
  const LaneContents contents = Read(10);
  EXPECT_TRUE(contents.status.ok());
  EXPECT_TRUE(contents.envelopes.empty());
}

TEST_F(LaneReaderTest, LargeBodiesAreLeftWhereTheyAre) {
  const EnvelopeId id = Add(absl::ZeroDuration());
  bed_.disk.messages[MessageOf(id)].row.body.chunks = 2;
  const LaneContents contents = Read(10);
  ASSERT_EQ(contents.envelopes.size(), 1u);
  EXPECT_EQ(contents.messages.at(MessageOf(id)).stored, "");
  EXPECT_TRUE(contents.messages.at(MessageOf(id)).status.ok());
}

TEST_F(LaneReaderTest, DamageIsNamedAndPassedOver) {
  const EnvelopeId bad = Add(-absl::Seconds(2));
  const EnvelopeId unreadable = Add(-absl::Seconds(1));
  const EnvelopeId good = Add(absl::ZeroDuration());
  bed_.disk.envelopes.erase(bad);
  store_.Damage(MessageOf(unreadable));
  const LaneContents contents = Read(10);
  ASSERT_EQ(contents.unreadable.size(), 1u);
  EXPECT_EQ(contents.unreadable[0].first, bad);
  EXPECT_EQ(Ids(contents), (Ids_{unreadable, good}));
  EXPECT_FALSE(contents.messages.at(MessageOf(unreadable)).status.ok());
}

}  // namespace
}  // namespace holdfast
