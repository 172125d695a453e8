#include "ctl/load/ledger_compare.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

LedgerEntry Entry(LedgerEntry::Kind kind, const std::string& id,
                  const std::string& msgid,
                  const std::vector<std::string>& recipients) {
  LedgerEntry entry;
  entry.kind = kind;
  entry.id = id;
  entry.msgid = msgid;
  entry.recipients = recipients;
  entry.body = LedgerEntry::Body::kOk;
  return entry;
}

LedgerEntry Ack(const std::string& id, const std::string& msgid,
                const std::vector<std::string>& recipients) {
  return Entry(LedgerEntry::Kind::kAcknowledged, id, msgid, recipients);
}

LedgerEntry Took(const std::string& id, const std::string& msgid,
                 const std::vector<std::string>& recipients) {
  return Entry(LedgerEntry::Kind::kTook, id, msgid, recipients);
}

TEST(LedgerCompareTest, EverywhereOnceIsFine) {
  LedgerCompare compare;
  compare.AddLedger({Ack("r-1", "00000001", {"a@x", "b@x"}),
                     Ack("r-2", "00000002", {"a@x"})});
  compare.AddLedger({Took("r-1", "00000001", {"A@x"})});
  compare.AddMaildir({"f", "0000000100000002", "r-1", "b@x", true});
  compare.AddQueueLine(
      "0000000200000001|inet4|mta||s@y|a@x|a@x|1|1|0|0|pending|3|");
  const auto result = compare.Compare();
  EXPECT_TRUE(result.ok()) << result.Json();
  EXPECT_EQ(result.acknowledged, 3);
  EXPECT_EQ(result.at_sink, 1);
  EXPECT_EQ(result.in_maildir, 1);
  EXPECT_EQ(result.in_queue, 1);
}

TEST(LedgerCompareTest, MissingIsLost) {
  LedgerCompare compare;
  compare.AddLedger({Ack("r-1", "00000001", {"a@x", "b@x"})});
  compare.AddLedger({Took("r-1", "00000001", {"a@x"})});
  const auto result = compare.Compare();
  EXPECT_EQ(result.lost.count, 1);
  EXPECT_EQ(result.lost.examples[0], "r-1 b@x 00000001");
  EXPECT_FALSE(result.ok());
}

TEST(LedgerCompareTest, RepeatsAreFineOnlyWhereInDoubt) {
  LedgerCompare compare;
  compare.AddLedger({Ack("r-1", "00000001", {"a@x"}),
                     Ack("r-2", "00000002", {"a@x"}),
                     Ack("r-3", "00000003", {"a@x"})});
  for (int i = 0; i < 2; ++i) {
    compare.AddLedger({Took("r-1", "00000001", {"a@x"}),
                       Took("r-2", "00000002", {"a@x"}),
                       Took("r-3", "00000003", {"a@x"})});
  }
  compare.AddDoubtLine("0000000100000001|1700000000|mta|s@y|a@x");
  compare.AddDoubtLine("0000000200000001");
  compare.AddDoubtLine("0000000300000001|1700000000|mta|s@y|other@x");
  const auto result = compare.Compare();
  EXPECT_EQ(result.repeated_doubt, 2);
  EXPECT_EQ(result.repeated.count, 1);
  EXPECT_EQ(result.repeated.examples[0], "r-3 a@x x2");
  EXPECT_FALSE(result.ok());
}

TEST(LedgerCompareTest, TakenThoughRefusedIsSaid) {
  LedgerCompare compare;
  compare.AddLedger({Entry(LedgerEntry::Kind::kRefused, "r-1", "", {"a@x"}),
                     Entry(LedgerEntry::Kind::kRefused, "r-2", "", {"a@x"})});
  EXPECT_TRUE(compare.Compare().ok());
  compare.AddLedger({Took("r-1", "00000001", {"a@x"})});
  EXPECT_EQ(compare.Compare().refused_too.count, 1);
  EXPECT_EQ(compare.Compare().unexpected.count, 0);
  EXPECT_FALSE(compare.Compare().ok());
}

TEST(LedgerCompareTest, AMaildirNeverHasAnEnvelopeTwice) {
  LedgerCompare compare;
  compare.AddLedger({Ack("r-1", "00000001", {"a@x"})});
  compare.AddMaildir({"f", "0000000100000001", "r-1", "a@x", true});
  compare.AddMaildir({"g", "0000000100000001", "r-1", "a@x", true});
  compare.AddDoubtLine("0000000100000001");
  EXPECT_EQ(compare.Compare().repeated_maildir.count, 2);  // envelope, pair
}

TEST(LedgerCompareTest, DamagedUnexpectedAndStillQueued) {
  LedgerCompare compare;
  LedgerEntry damaged = Took("r-1", "00000001", {"a@x"});
  damaged.body = LedgerEntry::Body::kDamaged;
  compare.AddLedger({Ack("r-1", "00000001", {"a@x"}), damaged,
                     Took("r-9", "00000009", {"a@x"}),
                     Took("-", "0000000a", {"report@x"})});
  compare.AddQueueLine(
      "0000000100000001|inet4|mta||s@y|a@x|a@x|1|1|0|0|pending|3|");
  const auto result = compare.Compare();
  EXPECT_EQ(result.damaged.count, 1);
  EXPECT_EQ(result.unexpected.count, 1);
  EXPECT_EQ(result.elsewhere_too.count, 1);
}

TEST(LedgerCompareTest, AnUnansweredMessageMayBeDeliveredOnce) {
  LedgerCompare compare;
  compare.AddLedger(
      {Entry(LedgerEntry::Kind::kUnknown, "r-1", "", {"a@x", "b@x"})});
  compare.AddLedger({Took("r-1", "00000001", {"a@x"})});
  EXPECT_TRUE(compare.Compare().ok());
  compare.AddLedger({Took("r-1", "00000001", {"a@x"})});
  EXPECT_EQ(compare.Compare().repeated.count, 1);
}

TEST(LedgerCompareTest, EnvelopeInMaildirName) {
  EXPECT_EQ(EnvelopeInMaildirName(
                "1700000000.953be2ba4dc55521.8d1fc6650ae2cde2.mx.example:2,S"),
            "8d1fc6650ae2cde2");
  EXPECT_EQ(EnvelopeInMaildirName("1700000000.M1P2.host"), "");
}

}  // namespace
}  // namespace holdfast
