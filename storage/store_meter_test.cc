#include "storage/store_meter.h"

#include <map>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

std::string Text(const std::vector<DestinationBacklog>& list) {
  std::string text;
  for (const DestinationBacklog& b : list)
    absl::StrAppend(&text, static_cast<uint32_t>(b.destination), "=",
                    b.envelopes, " ");
  return text;
}

TEST(BacklogBoardTest, LargestFirst) {
  BacklogBoard board;
  board.Set(DestinationId{1}, 5);
  board.Set(DestinationId{2}, 50);
  board.Set(DestinationId{3}, 7);
  board.Set(DestinationId{3}, 9);
  EXPECT_EQ(Text(board.Largest(2)), "2=50 3=9 ");
  board.Set(DestinationId{2}, 0);
  board.Set(DestinationId{4}, 0);
  EXPECT_EQ(Text(board.Largest(10)), "3=9 1=5 ");
}

TEST(BacklogBoardTest, TheSmallestGoesWhenItIsFull) {
  BacklogBoard board(2);
  board.Set(DestinationId{1}, 5);
  board.Set(DestinationId{2}, 6);
  board.Set(DestinationId{3}, 5);  // not more than the smallest
  EXPECT_EQ(Text(board.Largest(10)), "2=6 1=5 ");
  board.Set(DestinationId{3}, 8);
  EXPECT_EQ(Text(board.Largest(10)), "3=8 2=6 ");
}

TEST(BacklogBoardTest, WhatACommitSaidIsNewerThanWhatWasFound) {
  BacklogBoard board;
  board.Set(DestinationId{1}, 5);
  board.Offer(DestinationId{1}, 100);
  board.Offer(DestinationId{2}, 3);
  EXPECT_EQ(Text(board.Largest(10)), "1=5 2=3 ");
}

TEST(BacklogBoardTest, NeverMoreThanItsRoomAndTheTopIsRight) {
  std::mt19937 random(7);
  BacklogBoard board(64);
  std::map<DestinationId, uint64_t> all;
  for (int i = 0; i < 20000; ++i) {
    const DestinationId id{static_cast<uint32_t>(random() % 500)};
    // They only grow here: nothing that was forgotten can be among the first.
    all[id] += random() % 10;
    board.Set(id, all[id]);
    ASSERT_LE(board.size(), 64u);
  }
  uint64_t most = 0;
  for (const auto& [id, n] : all) most = std::max(most, n);
  EXPECT_EQ(board.Largest(1)[0].envelopes, most);
}

TEST(StoreMeterTest, CommitsAreCounted) {
  StoreMeter meter;
  meter.AddCommit(3, absl::Milliseconds(2));
  meter.AddCommit(1, -absl::Milliseconds(2));
  EXPECT_EQ(meter.Commits().operations.sum(), 4u);
  EXPECT_EQ(meter.Commits().microseconds.count(), 2u);
  EXPECT_EQ(meter.Commits().microseconds.sum(), 2000u);
}

DestinationId DestinationOf(StoreForTest* store, const std::string& domain) {
  const auto row =
      store->View()->FindDestination(DeliveryKind::kMta, "relay", domain);
  EXPECT_TRUE(row.ok()) << row.status();
  return row.ok() ? row->id : DestinationId{};
}

TEST(StoreMeterTest, AStoreKnowsItsBacklogs) {
  StoreForTest store;
  ASSERT_TRUE(store.Open().ok());
  const uint64_t before = store.store()->Commits().operations.sum();
  ASSERT_TRUE(store.RunOne(MakeMessage(MessageId{1}, 2, "x")).status.ok());
  ASSERT_TRUE(store.RunOne(MakeMessage(MessageId{2}, 1, "x")).status.ok());
  EXPECT_EQ(store.store()->Commits().operations.sum() - before, 2u);
  EXPECT_EQ(store.store()->Commits().microseconds.count(),
            store.store()->Commits().operations.count());

  const auto largest = store.store()->LargestBacklogs(10);
  ASSERT_EQ(largest.size(), 2u);
  EXPECT_EQ(largest[0].envelopes, 2u);
  EXPECT_EQ(largest[0].destination, DestinationOf(&store, "d0.example"));

  // What ends is not counted any more.
  ActOnEnvelope remove;
  remove.envelope = MakeEnvelopeId(MessageId{2}, 1);
  remove.act = ActOnEnvelope::Act::kRemove;
  ASSERT_TRUE(store.RunOne(remove).status.ok());
  EXPECT_EQ(store.store()->LargestBacklogs(10)[0].envelopes, 1u);
}

TEST(StoreMeterTest, WhatWasThereBeforeIsCountedWhenAsked) {
  StoreForTest store;
  ASSERT_TRUE(store.Open().ok());
  for (uint32_t i = 1; i <= 30; ++i)  // d0.example ... d19.example
    ASSERT_TRUE(store.RunOne(MakeMessage(MessageId{i}, 20, "x")).status.ok());
  ASSERT_TRUE(store.Open().ok());
  store.store()->LargestBacklogs(1);
  // A few pages, each read behind the one before.
  for (int page = 0; page < 4; ++page) {
    absl::Notification read;
    store.store()->ReadLater(
        [&read](absl::StatusOr<const QueueView*>) { read.Notify(); });
    read.WaitForNotification();
  }
  const auto largest = store.store()->LargestBacklogs(100);
  EXPECT_EQ(largest.size(), 20u);
  EXPECT_EQ(largest[0].envelopes, 30u);
}

}  // namespace
}  // namespace holdfast
