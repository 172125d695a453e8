#include "storage/pending_batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr size_t kChunk = 32 << 10;

PendingBatch Chunk(MessageId message, uint64_t session, uint32_t index,
                   size_t bytes = kChunk) {
  PendingBatch batch;
  batch.operations.push_back(
      StoreChunk{message, session, index, std::string(bytes, 'x')});
  return batch;
}
PendingBatch Lease(uint32_t count) {
  PendingBatch batch;
  batch.operations.push_back(LeaseIds{count});
  return batch;
}
PendingBatch Accept(MessageId message) {
  PendingBatch batch;
  AcceptMessage accept;
  accept.message = message;
  batch.operations.push_back(accept);
  return batch;
}

// What a batch is, as a short text.
std::string Name(const PendingBatch& batch) {
  const QueueOperation& op = batch.operations.at(0);
  if (const auto* c = std::get_if<StoreChunk>(&op))
    return "c" + std::to_string(c->session) + "." + std::to_string(c->index);
  if (const auto* l = std::get_if<LeaseIds>(&op))
    return "l" + std::to_string(l->count);
  if (const auto* a = std::get_if<AcceptMessage>(&op))
    return "a" + std::to_string(static_cast<uint32_t>(a->message));
  return "d";
}
std::vector<std::string> Names(const std::vector<PendingBatch>& group) {
  std::vector<std::string> names;
  for (const PendingBatch& batch : group) names.push_back(Name(batch));
  return names;
}

TEST(PendingBatchesTest, OrdinaryBatchesGoInOrderAndTogether) {
  PendingBatches pending;
  EXPECT_TRUE(pending.empty());
  for (uint32_t i = 1; i <= 4; ++i) pending.Push(Lease(i));
  EXPECT_THAT(Names(pending.TakeGroup({})),
              ElementsAre("l1", "l2", "l3", "l4"));
  EXPECT_TRUE(pending.empty());
}

TEST(PendingBatchesTest, AGroupIsBoundedButNeverEmpty) {
  PendingBatches pending;
  for (uint32_t i = 1; i <= 3; ++i) pending.Push(Accept(MessageId{i}));
  PendingBatches::Limits limits;
  limits.dirty_pages = 1;
  EXPECT_THAT(Names(pending.TakeGroup(limits)), ElementsAre("a1"));
  EXPECT_THAT(Names(pending.TakeGroup(limits)), ElementsAre("a2"));
  EXPECT_THAT(Names(pending.TakeGroup(limits)), ElementsAre("a3"));
}

TEST(PendingBatchesTest, ALargeMessageDoesNotDelayOthers) {
  PendingBatches pending;
  for (uint32_t i = 0; i < 100; ++i) pending.Push(Chunk(MessageId{1}, 1, i));
  pending.Push(Chunk(MessageId{2}, 2, 0));
  pending.Push(Lease(1));
  const auto group = Names(pending.TakeGroup({}));
  EXPECT_THAT(group, ::testing::Contains("l1"));
  EXPECT_THAT(group, ::testing::Contains("c2.0"));
  EXPECT_THAT(group, SizeIs(2 + 31));
  EXPECT_EQ(pending.last_chunk_bytes(), size_t{1} << 20);
}

TEST(PendingBatchesTest, SessionsShareEvenly) {
  PendingBatches pending;
  for (uint32_t i = 0; i < 200; ++i) {
    for (uint64_t session = 1; session <= 3; ++session)
      pending.Push(Chunk(MessageId(static_cast<uint32_t>(session)), session, i,
                         session == 3 ? 1000 : kChunk));
  }
  std::map<uint64_t, size_t> bytes;
  for (int group = 0; group < 6; ++group) {
    for (const PendingBatch& batch : pending.TakeGroup({})) {
      const auto& chunk = std::get<StoreChunk>(batch.operations[0]);
      bytes[chunk.session] += chunk.bytes.size();
    }
  }
  EXPECT_NEAR(bytes[1], bytes[2], 2 * kChunk);
  EXPECT_EQ(bytes[3], 200u * 1000);
}

TEST(PendingBatchesTest, WhatTouchesAMessageWaitsForItsChunks) {
  PendingBatches pending;
  for (uint32_t i = 0; i < 40; ++i) pending.Push(Chunk(MessageId{1}, 1, i));
  pending.Push(Accept(MessageId{1}));
  pending.Push(Accept(MessageId{2}));
  auto group = Names(pending.TakeGroup({}));
  EXPECT_THAT(group, ::testing::Contains("a2"));
  EXPECT_THAT(group, ::testing::Not(::testing::Contains("a1")));
  group = Names(pending.TakeGroup({}));
  EXPECT_EQ(group.back(), "a1");
  EXPECT_TRUE(pending.empty());
  // Nothing of it is left that would make later ones wait.
  pending.Push(Accept(MessageId{1}));
  EXPECT_THAT(Names(pending.TakeGroup({})), ElementsAre("a1"));
}

TEST(PendingBatchesTest, ChunksLargerThanTheBudgetGoAlone) {
  PendingBatches pending;
  PendingBatches::Limits limits;
  limits.chunk_bytes = 1000;
  pending.Push(Chunk(MessageId{1}, 1, 0));
  pending.Push(Chunk(MessageId{1}, 1, 1));
  EXPECT_THAT(Names(pending.TakeGroup(limits)), ElementsAre("c1.0"));
  EXPECT_THAT(Names(pending.TakeGroup(limits)), ElementsAre("c1.1"));
}

TEST(PendingBatchesTest, AnyMixtureComesOutOnceAndInOrderForEachMessage) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    PendingBatches pending;
    PendingBatches::Limits limits;
    limits.chunk_bytes = 100'000;
    int pushed = 0, taken = 0;
    std::map<MessageId, int> last;  // number of the last batch that came out
    const auto take = [&] {
      const auto group = pending.TakeGroup(limits);
      ASSERT_FALSE(group.empty());
      for (const PendingBatch& batch : group) {
        ++taken;
        for (const QueueOperation& op : batch.operations) {
          const auto* chunk = std::get_if<StoreChunk>(&op);
          if (chunk == nullptr) continue;
          // `index` holds the number it was pushed with.
          EXPECT_LT(last[chunk->message], static_cast<int>(chunk->index));
          last[chunk->message] = static_cast<int>(chunk->index);
        }
      }
    };
    for (int i = 0; i < 100; ++i) {
      PendingBatch batch;
      for (uint32_t n = 1 + random() % 3; n > 0; --n) {
        const MessageId message{1 + static_cast<uint32_t>(random() % 5)};
        if (random() % 4 == 0) {
          batch.operations.push_back(DropIncoming{message});
        } else {
          batch.operations.push_back(
              StoreChunk{message, random() % 3, static_cast<uint32_t>(++pushed),
                         std::string(random() % 90'000, 'x')});
        }
      }
      pending.Push(std::move(batch));
      if (random() % 3 == 0) take();
    }
    while (!pending.empty()) take();
    EXPECT_EQ(taken, 100);
  }
}

}  // namespace
}  // namespace holdfast
