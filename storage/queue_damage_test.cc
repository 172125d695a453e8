// Promise P5: a damaged record is found, told and set aside; the rest flows.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/keys.h"
#include "storage/lmdb_env.h"
#include "storage/records.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr MessageId kBad{0x100};
constexpr MessageId kGood{0x200};

EnvelopeId Id(MessageId message, uint32_t low) {
  return MakeEnvelopeId(message, low);
}

class QueueDamageTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(store_.Open().ok());
    for (const MessageId id : {kBad, kGood}) {
      ASSERT_TRUE(store_.RunOne(MakeMessage(id, 2, std::string(9000, 'x')))
                      .status.ok());
    }
  }

  // With the store closed, changes the bytes of a row.
  void Damage(Table table, absl::string_view key,
              absl::FunctionRef<std::string(std::string)> change) {
    store_.Close();
    {
      LmdbOptions options;
      options.path = store_.file();
      auto env = LmdbEnv::Open(options);
      ASSERT_TRUE(env.ok());
      LmdbTxn txn(env->get(), LmdbTxn::kWrite);
      const auto bytes = txn.Get(table, key);
      ASSERT_TRUE(bytes.has_value());
      const std::string changed = change(std::string(*bytes));
      txn.Put(table, key, changed);
      ASSERT_TRUE(txn.Commit().ok());
    }
    ASSERT_TRUE(store_.Open().ok());
  }
  void Flip(Table table, absl::string_view key) {
    Damage(table, key, [](std::string bytes) {
      bytes.back() ^= 1;
      return bytes;
    });
  }

  // Until the reader has scanned and what it found is committed.
  void Settle() {
    absl::Notification read;
    store_.store()->ReadLater(
        [&](absl::StatusOr<const QueueView*>) { read.Notify(); });
    read.WaitForNotification();
    store_.store()->Drain();
  }

  OperationResult Remove(EnvelopeId id) {
    ActOnEnvelope op;
    op.envelope = id;
    op.act = ActOnEnvelope::Act::kRemove;
    return store_.RunOne(op);
  }

  StoreForTest store_;
};

TEST_F(QueueDamageTest, AnEnvelopeIsSetAside) {
  const EnvelopeId bad = Id(kBad, 1);
  Flip(Table::kEnvelopes, EnvelopeKey(bad));
  EXPECT_THAT(store_.Check(), HasSubstr("checksum"));
  EXPECT_EQ(store_.View()->FindEnvelope(bad).status().code(),
            absl::StatusCode::kDataLoss);
  Settle();
  EXPECT_EQ(store_.Check(), "");
  EXPECT_THAT(store_.warnings(),
              Contains(HasSubstr("envelope 0000010000000001 is damaged")));
  const auto view = store_.View();
  EXPECT_EQ(view->FindEnvelope(bad).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(view->Stats().aside, 1u);
  EXPECT_EQ(view->ReadLedger().queued, 4u);
  EXPECT_THAT(view->Envelopes(EnvelopeId{0}, 10), SizeIs(3));
  // Its message's other envelope is untouched.
  EXPECT_TRUE(view->FindEnvelope(Id(kBad, 2)).ok());
  EXPECT_EQ(view->FindMessage(kBad)->live, 2u);
  // An operator can remove it.
  EXPECT_TRUE(Remove(bad).status.ok());
  EXPECT_TRUE(Remove(Id(kBad, 2)).status.ok());
  EXPECT_EQ(store_.View()->Stats().messages, 1u);
  EXPECT_EQ(store_.View()->ReadLedger().queued, 2u);
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueDamageTest, AnOperationThatMeetsItFailsAlone) {
  const EnvelopeId bad = Id(kBad, 1), good = Id(kGood, 1);
  Flip(Table::kEnvelopes, EnvelopeKey(bad));
  const BatchResult result =
      store_.Run({ClaimEnvelopes{WorkerId{1}, BatchId{1}, {bad}},
                  ClaimEnvelopes{WorkerId{1}, BatchId{2}, {good}}});
  EXPECT_EQ(result.operations[0].status.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(result.operations[1].status.ok());
  Settle();
  EXPECT_EQ(store_.Check(), "");
  EXPECT_EQ(store_.View()->Stats().aside, 1u);
}

TEST_F(QueueDamageTest, AClaimedEnvelopeIsStruckAllTheSame) {
  const EnvelopeId bad = Id(kBad, 1);
  store_.RunOne(ClaimEnvelopes{WorkerId{1}, BatchId{1}, {bad}});
  Flip(Table::kEnvelopes, EnvelopeKey(bad));
  EXPECT_EQ(store_
                .RunOne(RecordOutcomes{
                    WorkerId{1},
                    BatchId{1},
                    {MakeOutcome(bad, EnvelopeOutcome::Result::kEnded)}})
                .status.code(),
            absl::StatusCode::kDataLoss);
  Settle();
  EXPECT_FALSE(store_.View()->IsClaimed(bad));
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueDamageTest, APageOfEnvelopesLeavesItOut) {
  Flip(Table::kEnvelopes, EnvelopeKey(Id(kBad, 2)));
  EXPECT_THAT(store_.View()->Envelopes(EnvelopeId{0}, 10), SizeIs(3));
  Settle();
  EXPECT_EQ(store_.View()->Stats().aside, 1u);
}

TEST_F(QueueDamageTest, ADamagedBodyTakesItsEnvelopesAside) {
  const SmallBody body = CompressBody(std::string(9000, 'x'));
  ASSERT_EQ(body.info.chunks, 1u);
  Flip(Table::kBodies, BodyKey(kBad, 0, 0));
  EXPECT_EQ(store_.View()->BodyChunks(kBad, 0, 1).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_TRUE(store_.View()->BodyChunks(kGood, 0, 1).ok());
  Settle();
  EXPECT_EQ(store_.View()->Stats().aside, 2u);
  EXPECT_EQ(store_.View()->Stats().envelopes, 2u);
  EXPECT_EQ(store_.View()->FindMessage(kBad)->live, 2u);
  EXPECT_TRUE(Remove(Id(kBad, 1)).status.ok());
  EXPECT_TRUE(Remove(Id(kBad, 2)).status.ok());
  EXPECT_EQ(store_.Check(), "");
  EXPECT_EQ(store_.View()->Stats().messages, 1u);
}

TEST_F(QueueDamageTest, ADamagedMessageRowDoesToo) {
  Flip(Table::kMessages, MessageKey(kBad));
  EXPECT_EQ(store_.View()->FindMessage(kBad).status().code(),
            absl::StatusCode::kDataLoss);
  Settle();
  EXPECT_EQ(store_.Check(), "");
  EXPECT_EQ(store_.View()->Stats().aside, 2u);
  EXPECT_TRUE(Remove(Id(kBad, 1)).status.ok());
  EXPECT_EQ(store_.Check(), "");
  EXPECT_TRUE(Remove(Id(kBad, 2)).status.ok());
  EXPECT_EQ(store_.View()->Stats().messages, 1u);
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueDamageTest, ADamagedReportIsSetAsideAndHoldsTheBody) {
  ActOnEnvelope expire;
  expire.envelope = Id(kBad, 1);
  expire.act = ActOnEnvelope::Act::kExpire;
  expire.report = true;
  store_.RunOne(expire);
  Flip(Table::kReports, ReportRowKey(expire.envelope, 1));
  EXPECT_THAT(store_.View()->Reports({}, 10), SizeIs(0));
  Settle();
  EXPECT_EQ(store_.Check(), "");
  EXPECT_EQ(store_.View()->Stats().aside, 1u);
  EXPECT_EQ(store_.View()->FindMessage(kBad)->live, 2u);
}

TEST_F(QueueDamageTest, ADamagedDestinationIsMadeAnew) {
  const auto rows = store_.View()->Destinations(DestinationId{0}, 10);
  ASSERT_THAT(rows, SizeIs(2));
  Flip(Table::kDestinations, DestinationKey(rows[0].id));
  ASSERT_TRUE(
      store_.RunOne(MakeMessage(MessageId{0x300}, 2, "more")).status.ok());
  EXPECT_EQ(store_.Check(), "");
  const auto row = store_.View()->Destination(rows[0].id);
  ASSERT_TRUE(row.ok());
  EXPECT_EQ(row->routing_key, rows[0].routing_key);
  EXPECT_EQ(row->envelopes, 3u);
}

TEST_F(QueueDamageTest, LostCountersStopNothing) {
  Flip(Table::kMeta, kStateKey);
  EXPECT_EQ(store_.Check(), "");
  EXPECT_EQ(store_.View()->ReadLedger().accepted, 4u);
  ASSERT_TRUE(
      store_.RunOne(MakeMessage(MessageId{0x300}, 2, "more")).status.ok());
  EXPECT_THAT(store_.warnings(), Contains(HasSubstr("ledger starts anew")));
}

TEST_F(QueueDamageTest, ARowInAnothersPlaceIsFound) {
  std::string other;
  Damage(Table::kEnvelopes, EnvelopeKey(Id(kGood, 1)), [&](std::string bytes) {
    other = bytes;
    return bytes;
  });
  Damage(Table::kEnvelopes, EnvelopeKey(Id(kBad, 1)),
         [&](std::string) { return other; });
  EXPECT_EQ(store_.View()->FindEnvelope(Id(kBad, 1)).status().code(),
            absl::StatusCode::kDataLoss);
  Settle();
}

TEST_F(QueueDamageTest, ANewerSchemaIsRefusedUntouched) {
  store_.Close();
  {
    LmdbOptions options;
    options.path = store_.file();
    auto env = LmdbEnv::Open(options);
    ASSERT_TRUE(env.ok());
    SchemaRecord schema;
    schema.schema = SchemaRecord::kSealedSchema + 1;
    LmdbTxn txn(env->get(), LmdbTxn::kWrite);
    txn.Put(Table::kMeta, kSchemaKey, SealRow(kSchemaKey, schema));
    ASSERT_TRUE(txn.Commit().ok());
  }
  const absl::Status status = store_.Open();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("schema 4"));
}

TEST_F(QueueDamageTest, FilesThatAreNoQueueAreRefused) {
  store_.Close();
  const auto write_file = [&](absl::string_view bytes) {
    const int fd = open(store_.file().c_str(), O_WRONLY | O_TRUNC);
    ASSERT_EQ(write(fd, bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
    close(fd);
  };
  write_file(std::string(100'000, 'z'));
  EXPECT_FALSE(store_.Open().ok());
  // Cut short: both meta pages are fine, the pages they name are not there.
  StoreForTest cut;
  ASSERT_TRUE(cut.Open().ok());
  ASSERT_TRUE(cut.RunOne(MakeMessage(kBad, 2, "a")).status.ok());
  cut.Close();
  ASSERT_EQ(truncate(cut.file().c_str(), 3 * 4096), 0);
  EXPECT_EQ(cut.Open().code(), absl::StatusCode::kDataLoss);
  // An empty file is not a new queue either.
  ASSERT_EQ(truncate(cut.file().c_str(), 0), 0);
  EXPECT_FALSE(cut.Open().ok());
}

}  // namespace
}  // namespace holdfast
