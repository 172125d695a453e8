#include "storage/lmdb_env.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "storage/keys.h"

namespace holdfast {
namespace {

class LmdbEnvTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* const base = std::getenv("TEST_TMPDIR");
    std::string folder =
        absl::StrCat(base == nullptr ? "/tmp" : base, "/env.XXXXXX");
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    options_.path = folder + "/queue.mdb";
    options_.map_bytes = 8 << 20;
    options_.create = true;
    auto env = LmdbEnv::Open(options_);
    ASSERT_TRUE(env.ok()) << env.status();
    env_ = *std::move(env);
  }

  LmdbOptions options_;
  std::unique_ptr<LmdbEnv> env_;
};

TEST_F(LmdbEnvTest, WhatIsNotCommittedIsGone) {
  {
    LmdbTxn txn(env_.get(), LmdbTxn::kWrite);
    txn.Put(Table::kMeta, "a", "1");
    EXPECT_EQ(txn.GetRaw(Table::kMeta, "a"), "1");
  }
  LmdbTxn txn(env_.get(), LmdbTxn::kWrite);
  EXPECT_FALSE(txn.Has(Table::kMeta, "a"));
  EXPECT_TRUE(txn.ok());
  txn.Put(Table::kMeta, "b", "2");
  ASSERT_TRUE(txn.Commit().ok());
  EXPECT_FALSE(txn.ok());  // it is over
  LmdbTxn read(env_.get(), LmdbTxn::kRead);
  EXPECT_TRUE(read.Has(Table::kMeta, "b"));
  EXPECT_EQ(read.Rows(Table::kMeta), 1u);
  EXPECT_EQ(read.Rows(Table::kLanes), 0u);
}

TEST_F(LmdbEnvTest, AFullMapIsNoRoomAndStaysSound) {
  const std::string value(100'000, 'x');
  {
    LmdbTxn txn(env_.get(), LmdbTxn::kWrite);
    for (uint32_t i = 0; txn.ok() && i < 1000; ++i)
      txn.Put(Table::kBodies, BodyKey(MessageId{i}, 0, 0), value);
    EXPECT_EQ(txn.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(txn.Commit().code(), absl::StatusCode::kResourceExhausted);
  }
  LmdbTxn txn(env_.get(), LmdbTxn::kWrite);
  txn.Put(Table::kBodies, BodyKey(MessageId{1}, 0, 0), value);
  EXPECT_TRUE(txn.Commit().ok());
}

TEST_F(LmdbEnvTest, CursorsDeleteWhileTheyWalk) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    std::map<uint32_t, std::string> model;
    LmdbTxn txn(env_.get(), LmdbTxn::kWrite);
    for (LmdbCursor row(&txn, Table::kBodies); row.valid();)
      row.DeleteAndNext();
    EXPECT_EQ(txn.Rows(Table::kBodies), 0u);
    for (int i = 0; i < 500; ++i) {
      const uint32_t id = random() % 10000;
      model[id] = std::string(random() % 6000, 'v');
      txn.Put(Table::kBodies, MessageKey(MessageId{id}), model[id]);
    }
    // Deletes some of those behind a place, checks that each was met once.
    const uint32_t from = random() % 10000;
    auto expected = model.lower_bound(from);
    const uint32_t keep = 1 + random() % 4;
    LmdbCursor row(&txn, Table::kBodies, MessageKey(MessageId{from}));
    while (row.valid()) {
      ASSERT_NE(expected, model.end());
      EXPECT_EQ(KeyReader(row.key()).Get32(), expected->first);
      EXPECT_EQ(row.value().size(), expected->second.size());
      if (random() % keep == 0) {
        expected = model.erase(expected);
        row.DeleteAndNext();
      } else {
        ++expected;
        row.Next();
      }
    }
    EXPECT_EQ(expected, model.end());
    EXPECT_EQ(txn.Rows(Table::kBodies), model.size());
  }
}

TEST_F(LmdbEnvTest, UsedPagesAreExact) {
  const auto used = [&] {
    LmdbTxn txn(env_.get(), LmdbTxn::kRead);
    return txn.UsedPages();
  };
  const uint64_t before = used();
  {
    LmdbTxn txn(env_.get(), LmdbTxn::kWrite);
    txn.Put(Table::kBodies, "k", std::string(10 * 4096 - 16, 'x'));
    ASSERT_TRUE(txn.Commit().ok());
  }
  // Ten pages of the value; its leaf; what the commit freed is listed.
  EXPECT_GE(used(), before + 11);
  EXPECT_LE(used(), before + 12);
  EXPECT_LE(used(), env_->Space().last_page + 1);
}

TEST_F(LmdbEnvTest, OpensWhatIsThereOnly) {
  env_.reset();
  options_.create = false;
  options_.read_only = true;
  EXPECT_TRUE(LmdbEnv::Open(options_).ok());
  options_.path += ".no";
  EXPECT_EQ(LmdbEnv::Open(options_).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace holdfast
