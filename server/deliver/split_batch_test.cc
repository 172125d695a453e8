#include "server/deliver/split_batch.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

BatchMessage::Recipient To(uint64_t envelope, std::string exec = "") {
  BatchMessage::Recipient recipient;
  recipient.envelope = EnvelopeId{envelope};
  recipient.exec = std::move(exec);
  return recipient;
}

Config WithAction(ActionMethod method) {
  Config config;
  config.actions["a"].name = "a";
  config.actions["a"].method = method;
  return config;
}

DeliverBatch TwoMessages() {
  DeliverBatch batch;
  batch.batch = BatchId{7};
  batch.action = "a";
  batch.user = "u";
  batch.messages.resize(2);
  batch.messages[0].stored = "one";
  batch.messages[0].recipients = {To(1), To(2, "|cat"), To(3)};
  batch.messages[1].stored = "two";
  batch.messages[1].recipients = {To(4, "/file")};
  return batch;
}

TEST(SplitBatchTest, MailboxesStayTogetherAndCommandsGoAlone) {
  const std::vector<DeliverBatch> parts =
      SplitBatch(TwoMessages(), WithAction(ActionMethod::kMaildir));
  ASSERT_EQ(parts.size(), 3u);
  ASSERT_EQ(parts[0].messages.size(), 1u);
  EXPECT_EQ(parts[0].messages[0].recipients.size(), 2u);
  EXPECT_EQ(parts[0].messages[0].stored, "one");
  EXPECT_EQ(parts[1].messages[0].recipients[0].exec, "|cat");
  EXPECT_EQ(parts[1].messages[0].stored, "one");
  EXPECT_EQ(parts[2].messages[0].recipients[0].exec, "/file");
  EXPECT_EQ(parts[2].messages[0].stored, "two");
  for (const DeliverBatch& part : parts) {
    EXPECT_EQ(part.batch, BatchId{7});
    EXPECT_EQ(part.user, "u");
  }
}

TEST(SplitBatchTest, EachCopyOfAnMdaGoesAlone) {
  const std::vector<DeliverBatch> parts =
      SplitBatch(TwoMessages(), WithAction(ActionMethod::kMda));
  ASSERT_EQ(parts.size(), 4u);
  for (const DeliverBatch& part : parts) {
    ASSERT_EQ(part.messages.size(), 1u);
    EXPECT_EQ(part.messages[0].recipients.size(), 1u);
  }
}

TEST(SplitBatchTest, ThereIsAlwaysOnePart) {
  DeliverBatch batch;
  batch.action = "gone";
  const std::vector<DeliverBatch> parts = SplitBatch(batch, Config());
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_TRUE(parts[0].messages.empty());
}

}  // namespace
}  // namespace holdfast
