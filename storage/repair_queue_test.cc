// Whatever row is lost, changed or too many: after a repair every invariant
// holds, the rest of the mail is there, and the ledger balances.
#include "storage/repair_queue.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/keys.h"
#include "storage/lmdb_env.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

constexpr MessageId kBad{0x100};
constexpr MessageId kGood{0x200};

EnvelopeId Id(MessageId message, uint32_t low) {
  return MakeEnvelopeId(message, low);
}

class RepairQueueTest : public testing::Test {
 protected:
  void SetUp() override {
    store_.options().history_age = absl::Hours(1000);
    ASSERT_TRUE(store_.Open().ok());
    for (const MessageId id : {kBad, kGood, MessageId{0x300}}) {
      AcceptMessage op = MakeMessage(id, 3, Body());
      if (id == kBad) op.envelopes[2].flags |= kFlagHeld;
      ASSERT_TRUE(store_.RunOne(op).status.ok());
    }
    ActOnEnvelope op;
    op.envelope = Id(MessageId{0x300}, 1);
    op.act = ActOnEnvelope::Act::kRemove;
    ASSERT_TRUE(store_.RunOne(op).status.ok());
    ASSERT_EQ(store_.Check(), "");
  }

  static std::string Body() {
    std::string body;
    for (uint32_t i = 0; i < 2000; ++i)
      absl::StrAppend(&body, i * 2654435761u, "\n");
    return body;
  }

  void Change(absl::FunctionRef<void(LmdbTxn*)> change) {
    store_.Close();
    LmdbOptions options;
    options.path = store_.file();
    auto env = LmdbEnv::Open(options);
    ASSERT_TRUE(env.ok());
    LmdbTxn txn(env->get(), LmdbTxn::kWrite);
    change(&txn);
    ASSERT_TRUE(txn.Commit().ok());
  }
  // One octet of the row that is `nth` in its table.
  void Flip(Table table, int nth = 0) {
    Change([&](LmdbTxn* txn) {
      LmdbCursor row(txn, table);
      for (int i = 0; i < nth; ++i) row.Next();
      ASSERT_TRUE(row.valid());
      const std::string key(row.key());
      std::string bytes(row.value());
      bytes.back() ^= 1;
      txn->Put(table, key, bytes);
    });
  }
  void Lose(Table table, int nth = 0) {
    Change([&](LmdbTxn* txn) {
      LmdbCursor row(txn, table);
      for (int i = 0; i < nth; ++i) row.Next();
      ASSERT_TRUE(row.valid());
      row.DeleteAndNext();
    });
  }

  // What was mended.
  std::string Repaired() {
    store_.Close();
    std::vector<std::string> lines;
    {
      StoreOptions options;
      options.path = store_.folder();
      options.size_limit = 64 << 20;
      options.reserve_bytes = 1 << 20;
      options.min_free = 0;
      options.history_age = absl::Hours(1000);
      options.on_warning = [](absl::string_view) {};
      options.on_repair = [&](absl::string_view line) {
        lines.emplace_back(line);
      };
      const auto store = QueueStore::Open(std::move(options));
      EXPECT_TRUE(store.ok()) << store.status();
    }
    EXPECT_TRUE(store_.Open().ok());
    EXPECT_EQ(store_.Check(), "") << absl::StrJoin(lines, "\n");
    return absl::StrJoin(lines, "\n");
  }

  uint64_t Queued() { return store_.View()->Stats().envelopes; }
  std::string Salvaged(MessageId id) {
    for (const auto& entry :
         std::filesystem::directory_iterator(store_.folder())) {
      if (!absl::StartsWith(entry.path().filename().string(), "repaired-"))
        continue;
      std::ifstream file(entry.path() / ToString(id), std::ios::binary);
      std::stringstream text;
      text << file.rdbuf();
      return text.str();
    }
    return "";
  }

  StoreForTest store_;
};

TEST_F(RepairQueueTest, ASoundStoreIsLeftAlone) {
  EXPECT_EQ(Repaired(), "");
  EXPECT_EQ(Queued(), 8u);
}

TEST_F(RepairQueueTest, EveryIndexIsMadeAnew) {
  for (const Table table :
       {Table::kLanes, Table::kHeld, Table::kDeadlines, Table::kAgenda,
        Table::kDestinations, Table::kDestinationIds, Table::kHistoryIds}) {
    Lose(table);
    EXPECT_NE(Repaired(), "") << TableName(table);
    EXPECT_EQ(Queued(), 8u);
  }
  Flip(Table::kDestinations);
  EXPECT_TRUE(absl::StrContains(Repaired(), "made anew"));
}

TEST_F(RepairQueueTest, RowsTooManyGo) {
  Change([](LmdbTxn* txn) {
    const absl::Time t = absl::FromUnixSeconds(kTestNow);
    const EnvelopeId none = Id(MessageId{0x999}, 1);
    txn->Put(Table::kLanes, LaneKey(DestinationId{77}, 0, t, none), {});
    txn->Put(Table::kHeld, HeldKey(DestinationId{1}, none), {});
    txn->Put(Table::kDeadlines, DeadlineKey(t, none), {});
    txn->Put(Table::kAgenda, AgendaKey(t, DestinationId{88}), {});
    txn->Put(Table::kDestinationIds, DestinationIdKey(5, DestinationId{9}), {});
    txn->Put(Table::kClaims, ClaimKey(WorkerId{1}, BatchId{1}, none), {});
    txn->Put(Table::kBodies, BodyKey(MessageId{0x999}, 0, 0), "orphan");
    txn->Put(Table::kGarbage, MessageKey(kGood), {});
  });
  EXPECT_NE(Repaired(), "");
  EXPECT_EQ(Queued(), 8u);
}

TEST_F(RepairQueueTest, ADamagedEnvelopeIsSetAsideTheOthersStay) {
  Flip(Table::kEnvelopes, 1);
  EXPECT_TRUE(absl::StrContains(Repaired(),
                                "envelope " + ToString(Id(kBad, 2)) + ": "));
  EXPECT_EQ(Queued(), 7u);
  EXPECT_EQ(store_.View()->Stats().aside, 1u);
  EXPECT_EQ(store_.View()->ReadLedger().accepted, 9u);
  EXPECT_EQ(store_.View()->ReadLedger().queued, 8u);
}

TEST_F(RepairQueueTest, WhatIsLeftOfABodyIsInAFile) {
  // A piece in the middle of the first body.
  Flip(Table::kBodies, 2);
  EXPECT_TRUE(absl::StrContains(Repaired(),
                                "message " + ToString(kBad) + ": its body"));
  EXPECT_EQ(Queued(), 5u);
  EXPECT_EQ(store_.View()->Stats().aside, 3u);
  const std::string text = Salvaged(kBad);
  EXPECT_LT(text.size(), Body().size());
  EXPECT_EQ(text, Body().substr(0, text.size()));
  EXPECT_TRUE(store_.View()->BodyChunks(kGood, 0, 1).ok());
  // What was set aside can be removed, and then the message is gone.
  for (const uint32_t low : {1, 2, 3}) {
    ActOnEnvelope op;
    op.envelope = Id(kBad, low);
    op.act = ActOnEnvelope::Act::kRemove;
    EXPECT_TRUE(store_.RunOne(op).status.ok());
  }
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(RepairQueueTest, MessagesThatAreDamagedOrGone) {
  Flip(Table::kMessages, 0);
  EXPECT_NE(Repaired(), "");
  EXPECT_EQ(Queued(), 5u);
  Lose(Table::kMessages, 1);
  EXPECT_NE(Repaired(), "");
  EXPECT_EQ(Queued(), 2u);
  EXPECT_EQ(store_.View()->Stats().aside, 6u);
  EXPECT_EQ(store_.View()->ReadLedger().queued, 8u);
}

TEST_F(RepairQueueTest, HistoryAndCounters) {
  Flip(Table::kHistory);
  EXPECT_TRUE(absl::StrContains(Repaired(), "history of "));
  Change([](LmdbTxn* txn) {
    const auto bytes = txn->Get(Table::kMeta, kStateKey);
    auto state = *OpenRow<StateRecord>(kStateKey, *bytes);
    state.queued += 5;
    txn->Put(Table::kMeta, kStateKey, SealRow(kStateKey, state));
  });
  EXPECT_TRUE(absl::StrContains(Repaired(), "ledger: queued 13"));
  Lose(Table::kEnvelopes, 4);
  EXPECT_TRUE(absl::StrContains(Repaired(), "counted again"));
  EXPECT_EQ(Queued(), 7u);
}

// Any row of any table, changed or lost, one after the other.
TEST_F(RepairQueueTest, AnyRow) {
  for (int t = static_cast<int>(Table::kMessages); t < kTableCount; ++t) {
    uint64_t rows = 0;
    Change([&](LmdbTxn* txn) { rows = txn->Rows(Table(t)); });
    for (uint64_t nth = 0; nth < std::min<uint64_t>(rows, 3); ++nth) {
      Lose(Table(t), static_cast<int>(nth / 2));
      Repaired();
      Change([&](LmdbTxn* txn) { rows = txn->Rows(Table(t)); });
      if (rows == 0) break;
      bool empty = false;
      Change([&](LmdbTxn* txn) {
        empty = LmdbCursor(txn, Table(t)).value().empty();
      });
      if (!empty) Flip(Table(t));
      Repaired();
      Change([&](LmdbTxn* txn) { rows = txn->Rows(Table(t)); });
      if (rows == 0) break;
    }
  }
}

}  // namespace
}  // namespace holdfast
