#include "server/queue/batch_builder.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

Envelope Made(uint32_t message, uint32_t low) {
  Envelope e;
  e.id = MakeEnvelopeId(MessageId(message), low);
  e.sender = {"alice", "example.com"};
  e.rcpt = e.dest = {"bob", "example.net"};
  return e;
}

LaneContents Contents(std::vector<Envelope> envelopes) {
  LaneContents contents;
  for (const Envelope& e : envelopes) {
    LoadedMessage& m = contents.messages[MessageOf(e.id)];
    m.row.id = MessageOf(e.id);
    m.row.body.chunks = 1;
    m.stored = "body";
  }
  contents.envelopes = std::move(envelopes);
  return contents;
}

TEST(BatchBuilderTest, BatchCounts) {
  // messages, free, batches
  const size_t cases[][3] = {
      {0, 20, 0}, {1, 20, 1},   {2, 20, 2},   {3, 20, 2},     {7, 20, 2},
      {8, 20, 2}, {40, 20, 10}, {80, 20, 20}, {1000, 20, 20}, {5, 1, 1},
      {5, 0, 0},  {64, 1, 1},   {1280, 4, 4},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(BatchCount(c[0], c[1]), c[2]) << c[0] << " in " << c[1];
  }
}

TEST(BatchBuilderTest, AdjacentRecipientsOfAMessageAreOne) {
  const auto batches =
      BuildBatches(Contents({Made(1, 1), Made(1, 2), Made(2, 1)}), Action(), 1);
  ASSERT_EQ(batches.size(), 1u);
  ASSERT_EQ(batches[0].messages.size(), 2u);
  EXPECT_EQ(batches[0].messages[0].recipients.size(), 2u);
  EXPECT_EQ(batches[0].messages[0].stored, "body");
  EXPECT_EQ(batches[0].envelopes.size(), 3u);
}

TEST(BatchBuilderTest, AMessageWithManyRecipientsIsCut) {
  std::vector<Envelope> all;
  for (uint32_t i = 1; i <= 250; ++i) all.push_back(Made(1, i));
  const auto batches = BuildBatches(Contents(std::move(all)), Action(), 5);
  size_t recipients = 0;
  for (const PreparedBatch& batch : batches) {
    for (const BatchMessage& m : batch.messages) {
      EXPECT_LE(m.recipients.size(), kMaxBatchRecipients);
      EXPECT_EQ(m.stored, "body");
      recipients += m.recipients.size();
    }
  }
  EXPECT_EQ(recipients, 250u);
}

TEST(BatchBuilderTest, NoMoreThanMayBeOpen) {
  std::vector<Envelope> all;
  for (uint32_t i = 1; i <= 200; ++i) all.push_back(Made(i, 1));
  const auto batches = BuildBatches(Contents(std::move(all)), Action(), 2);
  ASSERT_EQ(batches.size(), 2u);
  for (const PreparedBatch& batch : batches) {
    EXPECT_EQ(batch.messages.size(), kMaxBatchMessages);
  }
}

TEST(BatchBuilderTest, BackupNamesAreNotMixed) {
  Action backup;
  backup.backup = true;
  Envelope a = Made(1, 1);
  a.smtpname = "one.test";
  Envelope b = Made(2, 1);
  b.smtpname = "two.test";
  auto batches = BuildBatches(Contents({a, b}), backup, 20);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[0].backup_name, "one.test");
  EXPECT_EQ(batches[1].backup_name, "two.test");
  backup.backup_mx = "mx.test";
  batches = BuildBatches(Contents({a, b}), backup, 1);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].backup_name, "mx.test");
}

// Each recipient's domain stands behind the sender of what was forwarded.
TEST(BatchBuilderTest, RewrittenSendersAreNotMixed) {
  const SrsRewriter srs(
      "k", "", 4, [](absl::string_view) { return std::string(20, '\0'); });
  Action action;
  action.srs = true;
  std::vector<Envelope> all;
  for (uint32_t i = 1; i <= 4; ++i) {
    Envelope e = Made(1, i);
    e.sender = {"ann", "a.test"};
    e.rcpt = {"bob", i < 3 ? "one.test" : "two.test"};
    e.dest = {"bob", "far.test"};
    if (i == 4) e.dest = e.rcpt;
    all.push_back(e);
  }
  const absl::Time now = absl::FromUnixSeconds(1700000000);
  auto batches = BuildBatches(Contents(all), action, 1, {&srs, now, '+'});
  ASSERT_EQ(batches.size(), 1u);
  ASSERT_EQ(batches[0].messages.size(), 3u);
  EXPECT_EQ(batches[0].messages[0].sender.ToString(),
            "SRS0=AAAA=G3=a.test=ann@one.test");
  EXPECT_EQ(batches[0].messages[0].recipients.size(), 2u);
  EXPECT_EQ(batches[0].messages[1].sender.ToString(),
            "SRS0=AAAA=G3=a.test=ann@two.test");
  EXPECT_EQ(batches[0].messages[2].sender.ToString(), "ann@a.test");
  // Without a key all stays as it is.
  batches = BuildBatches(Contents(all), action, 1);
  ASSERT_EQ(batches[0].messages.size(), 1u);
  EXPECT_EQ(batches[0].messages[0].sender.ToString(), "ann@a.test");
}

TEST(BatchBuilderTest, VerpIsATransactionForEachRecipient) {
  Action action;
  action.method = ActionMethod::kRelay;
  action.verp = true;
  std::vector<Envelope> all;
  for (uint32_t i = 1; i <= 40; ++i) {
    Envelope e = Made(1, i);
    e.sender = {"list", "a.test"};
    e.dest = e.rcpt = {absl::StrCat("bob", i), "far.test"};
    all.push_back(e);
  }
  const SenderRewriting with{nullptr, absl::UnixEpoch(), '-'};
  auto batches = BuildBatches(Contents(all), action, 1, with);
  ASSERT_EQ(batches.size(), 1u);
  ASSERT_EQ(batches[0].messages.size(), 40u);
  for (const BatchMessage& m : batches[0].messages) {
    ASSERT_EQ(m.recipients.size(), 1u);
    EXPECT_EQ(
        m.sender.ToString(),
        absl::StrCat("list-", m.recipients[0].dest.user, "=far.test@a.test"));
  }
  // The null sender has no other form.
  for (Envelope& e : all) e.sender = {};
  batches = BuildBatches(Contents(all), action, 1, with);
  ASSERT_EQ(batches[0].messages.size(), 1u);
  EXPECT_TRUE(batches[0].messages[0].sender.IsNull());
}

TEST(BatchBuilderTest, WhatAWorkerMustKnow) {
  Envelope e = Made(1, 1);
  e.flags = kFlagInDoubt;
  e.dsn_notify = kNotifySuccess;
  e.dsn_orcpt = "rfc822;bob";
  e.dsn_envid = "QQ";
  e.dsn_ret = DsnReturn::kHeaders;
  e.mda_subaddress = "list";
  const auto batches = BuildBatches(Contents({e}), Action(), 1);
  const BatchMessage& m = batches[0].messages[0];
  EXPECT_EQ(m.dsn_envid, "QQ");
  EXPECT_EQ(m.dsn_ret, DsnReturn::kHeaders);
  EXPECT_TRUE(m.recipients[0].in_doubt);
  EXPECT_EQ(m.recipients[0].dsn_notify, kNotifySuccess);
  EXPECT_EQ(m.recipients[0].dsn_orcpt, "rfc822;bob");
  EXPECT_EQ(m.recipients[0].subaddress, "list");
}

}  // namespace
}  // namespace holdfast
