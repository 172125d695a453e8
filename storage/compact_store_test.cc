#include "storage/compact_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/store_for_test.h"

namespace holdfast {
namespace {

uint64_t SizeOf(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size)
                                        : 0;
}

class CompactStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(store_.Open().ok());
    for (uint32_t i = 1; i <= 300; ++i) {
      std::string body;
      for (uint32_t k = 0; k < 500; ++k)
        body += std::to_string(k * 2654435761u ^ i * 40503u) + "\n";
      ASSERT_TRUE(
          store_.RunOne(MakeMessage(MessageId{i}, 2, body)).status.ok());
    }
    for (uint32_t i = 1; i <= 290; ++i) {
      for (const uint32_t r : {1, 2}) {
        ActOnEnvelope op;
        op.envelope = MakeEnvelopeId(MessageId{i}, r);
        op.act = ActOnEnvelope::Act::kRemove;
        ASSERT_TRUE(store_.RunOne(op).status.ok());
      }
    }
    ASSERT_EQ(store_.Check(), "");
  }

  static absl::StatusOr<std::unique_ptr<QueueStore>> Open(
      const std::string& folder, bool read_only) {
    StoreOptions options;
    options.path = folder;
    options.read_only = read_only;
    options.size_limit = 64 << 20;
    options.reserve_bytes = 1 << 20;
    options.min_free = 0;
    return QueueStore::Open(std::move(options));
  }

  StoreForTest store_;
};

TEST_F(CompactStoreTest, TheSameInLess) {
  const Ledger ledger = store_.View()->ReadLedger();
  const std::string uuid = store_.store()->uuid();
  const StoreFigures before = store_.View()->Figures();
  store_.Close();
  const auto summary = CompactStore(store_.folder(), Open);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->messages, 10u);
  EXPECT_EQ(summary->envelopes, 20u);
  EXPECT_LT(summary->bytes_after, summary->bytes_before / 2);
  EXPECT_EQ(SizeOf(store_.file()), summary->bytes_after);
  EXPECT_EQ(SizeOf(store_.folder() + "/compact"), 0u);
  ASSERT_TRUE(store_.Open().ok());
  EXPECT_EQ(store_.Check(), "");
  EXPECT_EQ(store_.store()->uuid(), uuid);
  EXPECT_EQ(store_.View()->ReadLedger().accepted, ledger.accepted);
  EXPECT_LT(store_.View()->Figures().end_pages, before.end_pages / 2);
  // And it goes on.
  ASSERT_TRUE(
      store_.RunOne(MakeMessage(MessageId{9999}, 3, "new")).status.ok());
  EXPECT_EQ(store_.Check(), "");
  EXPECT_TRUE(store_.warnings().empty());
}

TEST_F(CompactStoreTest, OneThatIsOpenIsLeftAlone) {
  const uint64_t size = SizeOf(store_.file());
  const auto summary = CompactStore(store_.folder(), Open);
  EXPECT_EQ(summary.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(SizeOf(store_.file()), size);
}

TEST_F(CompactStoreTest, WhatACrashLeftIsSweptAway) {
  store_.Close();
  ASSERT_EQ(mkdir((store_.folder() + "/compact").c_str(), 0700), 0);
  ASSERT_EQ(truncate(store_.file().c_str(), SizeOf(store_.file())), 0);
  ASSERT_EQ(symlink("x", (store_.folder() + "/compact/queue.mdb").c_str()), 0);
  EXPECT_TRUE(CompactStore(store_.folder(), Open).ok());
  EXPECT_EQ(SizeOf(store_.folder() + "/compact"), 0u);
}

}  // namespace
}  // namespace holdfast
