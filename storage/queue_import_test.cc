// Imports (AcceptMessage with an origin) and pinned bodies.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

constexpr uint64_t kElsewhere = 0xabcdef;

AcceptMessage MakeImport(uint32_t id, uint64_t serial, int recipients) {
  AcceptMessage op = MakeMessage(MessageId{id}, recipients, "body\n");
  op.origin = ImportOrigin();
  op.origin->store = kElsewhere;
  op.origin->serial = serial;
  op.origin->message = MessageId{id};
  op.origin->keep_id = true;
  return op;
}

void Remove(StoreForTest* store, EnvelopeId id) {
  ActOnEnvelope act;
  act.envelope = id;
  act.act = ActOnEnvelope::Act::kRemove;
  ASSERT_TRUE(store->RunOne(act).status.ok());
}

class ImportTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(store_.Open().ok()); }
  void TearDown() override { EXPECT_EQ(store_.Check(), ""); }

  uint64_t Queued() { return store_.View()->ReadLedger().queued; }

  StoreForTest store_;
};

TEST_F(ImportTest, IsTakenOnceEvenIfItHasGone) {
  OperationResult result = store_.RunOne(MakeImport(77, 5, 3));
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.envelopes.size(), 3u);
  EXPECT_EQ(Queued(), 3u);
  const auto row = store_.View()->FindMessage(MessageId{77});
  ASSERT_TRUE(row.ok());
  EXPECT_EQ(row->origin_store, kElsewhere);
  EXPECT_EQ(row->origin_serial, 5u);

  result = store_.RunOne(MakeImport(77, 5, 3));
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.envelopes.size(), 0u);
  EXPECT_EQ(Queued(), 3u);

  for (int i = 0; i < 3; ++i)
    Remove(&store_, store_.View()->Envelopes(EnvelopeId{}, 1)[0].id);
  EXPECT_EQ(Queued(), 0u);
  ASSERT_TRUE(store_.Open().ok());  // also after a restart
  result = store_.RunOne(MakeImport(77, 5, 3));
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.envelopes.size(), 0u);
  EXPECT_EQ(Queued(), 0u);

  AcceptMessage again = MakeImport(77, 5, 3);
  again.origin->again = true;
  EXPECT_EQ(store_.RunOne(again).envelopes.size(), 3u);
  EXPECT_EQ(store_.RunOne(again).envelopes.size(), 0u);
  EXPECT_EQ(Queued(), 3u);
}

TEST_F(ImportTest, WhatIsNewOfAMessageIsTakenUnderAnotherId) {
  AcceptMessage part = MakeImport(77, 5, 3);
  part.envelopes.resize(1);
  EXPECT_EQ(store_.RunOne(part).envelopes.size(), 1u);
  AcceptMessage whole = MakeImport(77, 5, 3);
  EXPECT_TRUE(absl::IsAlreadyExists(store_.RunOne(whole).status));
  const OperationResult lease = store_.RunOne(LeaseIds{1});
  whole = MakeImport(static_cast<uint32_t>(lease.first_id), 5, 3);
  whole.origin->message = MessageId{77};
  whole.origin->keep_id = false;
  const OperationResult result = store_.RunOne(whole);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.envelopes.size(), 2u);
  EXPECT_EQ(Queued(), 3u);
}

TEST_F(ImportTest, AnIdThatMayBeGivenOutIsNotKept) {
  const OperationResult lease = store_.RunOne(LeaseIds{10});
  const uint32_t id = static_cast<uint32_t>(lease.first_id) + 3;
  EXPECT_TRUE(
      absl::IsAlreadyExists(store_.RunOne(MakeImport(id, 5, 1)).status));
  StoreChunk chunk;
  chunk.message = MessageId{id};
  chunk.bytes = "x";
  chunk.keep_id = true;
  EXPECT_TRUE(absl::IsAlreadyExists(store_.RunOne(chunk).status));
  EXPECT_EQ(store_.RunOne(MakeImport(id + 7, 5, 1)).envelopes.size(), 1u);
}

// Ids are given out around it, and past it.
TEST_F(ImportTest, TheIdOfABodyInProgressStaysItsOwn) {
  const OperationResult lease = store_.RunOne(LeaseIds{1});
  const uint32_t id = static_cast<uint32_t>(lease.first_id) + 5;
  AcceptMessage message = MakeImport(id, 5, 1);
  StoreChunk chunk;
  chunk.message = message.message;
  chunk.bytes = std::exchange(message.stored, "");
  chunk.keep_id = true;
  ASSERT_TRUE(store_.RunOne(chunk).status.ok());
  ASSERT_TRUE(store_.RunOne(LeaseIds{20}).status.ok());
  const OperationResult result = store_.RunOne(message);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.envelopes.size(), 1u);
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(ImportTest, MailOfThisStoreComesBackOnlyWhenAsked) {
  ASSERT_TRUE(store_.RunOne(MakeMessage(MessageId{9}, 2, "a\n")).status.ok());
  const uint64_t serial = store_.View()->FindMessage(MessageId{9})->serial;
  const uint64_t own = std::stoull(store_.store()->uuid(), nullptr, 16);
  AcceptMessage back = MakeMessage(MessageId{9}, 2, "a\n");
  back.origin = ImportOrigin{own, serial, MessageId{9}, true, false};
  OperationResult result = store_.RunOne(back);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.envelopes.size(), 0u);
  for (const Envelope& e : store_.View()->Envelopes(EnvelopeId{}, 10))
    Remove(&store_, e.id);
  EXPECT_TRUE(absl::IsFailedPrecondition(store_.RunOne(back).status));
  back.origin->again = true;
  result = store_.RunOne(back);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.envelopes.size(), 2u);
  EXPECT_EQ(store_.RunOne(back).envelopes.size(), 0u);
  // Under whatever id it is offered.
  AcceptMessage other = MakeMessage(MessageId{10}, 2, "a\n");
  other.origin = back.origin;
  EXPECT_EQ(store_.RunOne(other).envelopes.size(), 0u);
  EXPECT_EQ(Queued(), 2u);
}

TEST_F(ImportTest, TimesAndHoldsAreKept) {
  AcceptMessage op = MakeImport(77, 5, 2);
  const absl::Time due = absl::FromUnixSeconds(kTestNow + 999);
  op.envelopes[0].retry = 4;
  op.envelopes[1].flags |= kFlagHeld;
  op.dues = {due, due};
  ASSERT_TRUE(store_.RunOne(op).status.ok());
  const auto rows = store_.View()->EnvelopeRows(EnvelopeId{}, 10);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].due, due);
  EXPECT_EQ(rows[0].envelope.retry, 4u);
  EXPECT_FALSE(rows[1].due.has_value());
}

TEST_F(ImportTest, ABodyInProgressIsNotBegunAgain) {
  StoreChunk chunk;
  chunk.message = MessageId{78};
  chunk.bytes = "body\n";
  chunk.keep_id = true;
  ASSERT_TRUE(store_.RunOne(chunk).status.ok());
  EXPECT_TRUE(absl::IsAlreadyExists(store_.RunOne(chunk).status));
  chunk.index = 1;
  EXPECT_TRUE(store_.RunOne(chunk).status.ok());
}

TEST_F(ImportTest, WhatIsBeingMovedIsLeftAlone) {
  const AcceptMessage op = MakeMessage(MessageId{9}, 2, "a\n");
  ASSERT_TRUE(store_.RunOne(op).status.ok());
  const EnvelopeId first = op.envelopes[0].id, second = op.envelopes[1].id;
  const auto due = store_.View()->FindEnvelopeRow(first)->due;
  ASSERT_TRUE(due.has_value());
  const auto act = [&](EnvelopeId id, ActOnEnvelope::Act what) {
    ActOnEnvelope one;
    one.envelope = id;
    one.act = what;
    return store_.RunOne(one).status;
  };
  using Act = ActOnEnvelope::Act;
  EXPECT_TRUE(act(first, Act::kMove).ok());
  EXPECT_TRUE(act(second, Act::kMove).ok());
  EXPECT_EQ(store_.Check(), "");
  ASSERT_TRUE(store_.Open().ok());  // also after a restart
  for (const Act other :
       {Act::kRemove, Act::kSchedule, Act::kHold, Act::kExpire, Act::kRelease,
        Act::kSuspend, Act::kResume})
    EXPECT_TRUE(absl::IsFailedPrecondition(act(first, other)));
  ClaimEnvelopes claim;
  claim.worker = WorkerId{1};
  claim.batch = BatchId{1};
  claim.envelopes = {first};
  EXPECT_TRUE(absl::IsFailedPrecondition(store_.RunOne(claim).status));
  // The time it had is told and kept.
  EXPECT_EQ(store_.View()->FindEnvelopeRow(first)->due, due);
  EXPECT_TRUE(act(first, Act::kMoveBack).ok());
  EXPECT_EQ(store_.View()->FindEnvelopeRow(first)->due, due);
  EXPECT_TRUE(store_.RunOne(claim).status.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(act(first, Act::kMove)));
  EXPECT_TRUE(act(second, Act::kMoved).ok());
  EXPECT_EQ(store_.View()->ReadLedger().removed, 1u);
  EXPECT_EQ(Queued(), 1u);
}

TEST_F(ImportTest, ARepeatGivesItsChunksUp) {
  const OperationResult first = store_.RunOne(MakeImport(77, 5, 1));
  ASSERT_EQ(first.envelopes.size(), 1u);
  StoreChunk chunk;
  chunk.message = MessageId{78};
  chunk.bytes = "body\n";
  ASSERT_TRUE(store_.RunOne(chunk).status.ok());
  AcceptMessage op = MakeImport(78, 5, 1);
  op.stored.clear();
  EXPECT_TRUE(store_.RunOne(op).status.ok());
  EXPECT_EQ(store_.View()->Stats().incoming, 0u);
}

std::string BodyOf(StoreForTest* store, MessageId id) {
  const auto chunks = store->View()->BodyChunks(id, 0, 1);
  return chunks.ok() && !chunks->empty() ? (*chunks)[0] : "";
}

TEST_F(ImportTest, APinKeepsBodiesThatLeave) {
  const AcceptMessage op = MakeMessage(MessageId{9}, 1, "pinned\n");
  ASSERT_TRUE(store_.RunOne(op).status.ok());
  auto pin = store_.store()->PinBodies();
  ASSERT_TRUE(pin.ok());
  const std::string body = BodyOf(&store_, MessageId{9});
  ASSERT_NE(body, "");
  Remove(&store_, op.envelopes[0].id);
  EXPECT_FALSE(store_.View()->FindMessage(MessageId{9}).ok());
  EXPECT_EQ(BodyOf(&store_, MessageId{9}), body);
  EXPECT_TRUE((*pin)->holds());
  EXPECT_EQ(store_.View()->Stats().garbage, 1u);
  pin->reset();
  // The next commits free it.
  ASSERT_TRUE(store_.RunOne(LeaseIds{1}).status.ok());
  ASSERT_TRUE(store_.RunOne(LeaseIds{1}).status.ok());
  EXPECT_EQ(store_.View()->Stats().garbage, 0u);
  EXPECT_EQ(BodyOf(&store_, MessageId{9}), "");
}

TEST_F(ImportTest, RoomGoesBeforePins) {
  auto pin = store_.store()->PinBodies();
  ASSERT_TRUE(pin.ok());
  auto second = store_.store()->PinBodies();
  ASSERT_TRUE(second.ok());
  // Of 64 MiB with a reserve of one; what does not compress, again and again.
  std::string body;
  uint64_t random = 1;
  while (body.size() < 60'000) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    body += absl::StrCat(absl::Hex(random));
  }
  bool refused = false;
  uint32_t id = 1;
  for (; id < 4000 && !refused && (*pin)->holds(); ++id) {
    const AcceptMessage op = MakeMessage(MessageId{id}, 1, body);
    refused = !store_.RunOne(op).status.ok();
    if (!refused) Remove(&store_, op.envelopes[0].id);
  }
  EXPECT_FALSE(refused);
  EXPECT_FALSE((*pin)->holds());
  pin->reset();
  second->reset();
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(store_.RunOne(LeaseIds{1}).status.ok());
  EXPECT_EQ(store_.View()->Stats().garbage, 0u);
}

}  // namespace
}  // namespace holdfast
