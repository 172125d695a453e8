#include "server/relay/lmtp_delivery.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(LmtpDeliveryTest, WhichTargets) {
  RelayTarget target;
  target.domain = "lmtp:/run/lmtp";
  EXPECT_TRUE(IsLmtpAction(target));
  target.domain = "lmtp://localhost:24";
  EXPECT_TRUE(IsLmtpAction(target));
  target.smarthost = true;  // host lmtp://localhost:24
  EXPECT_FALSE(IsLmtpAction(target));
  target.smarthost = false;
  target.domain = "lmtp.example.org";
  EXPECT_FALSE(IsLmtpAction(target));
}

TEST(LmtpDeliveryTest, NameOrAddress) {
  Action action;
  BatchMessage::Recipient recipient;
  recipient.rcpt = {"info", "example.org"};
  recipient.dest = {"joe", "example.org"};
  recipient.mailbox_user = "joe";
  EXPECT_EQ(LmtpRecipient(&action, recipient), "joe");
  EXPECT_EQ(LmtpRecipient(nullptr, recipient), "joe");
  action.lmtp_rcpt_to = true;
  EXPECT_EQ(LmtpRecipient(&action, recipient), "joe@example.org");
}

TEST(LmtpDeliveryTest, TheTraceDoesNotTellOfOthers) {
  BatchMessage message;
  message.sender = {"a", "example.com"};
  message.recipients.resize(2);
  message.recipients[0].rcpt = {"b", "example.org"};
  message.recipients[1].rcpt = {"secret", "example.org"};
  EXPECT_EQ(LmtpTrace(message, {0}),
            "Return-Path: <a@example.com>\nDelivered-To: b@example.org\n");
  EXPECT_EQ(LmtpTrace(message, {0, 1}), "Return-Path: <a@example.com>\n");
  message.sender = {};
  EXPECT_EQ(LmtpTrace(message, {0, 1}), "");
  EXPECT_EQ(LmtpTrace(message, {1}), "Delivered-To: secret@example.org\n");
}

TEST(LmtpDeliveryTest, OutcomesReadAsTheReferenceHasThem) {
  WorkerOutcome outcome;
  outcome.result = WorkerOutcome::Result::kOk;
  outcome.text = "250 2.0.0 <joe> Saved";
  AsLocalDelivery(&outcome);
  EXPECT_EQ(outcome.text, "");
  outcome.result = WorkerOutcome::Result::kPermFail;
  outcome.text = "550 5.1.1 <joe> User doesn't exist: joe";
  AsLocalDelivery(&outcome);
  EXPECT_EQ(outcome.text,
            "Error (service unavailable: \"mail.lmtp: LMTP server error: "
            "550 5.1.1 <joe> User doesn't exist: joe\")");
  outcome.result = WorkerOutcome::Result::kTempFail;
  outcome.text = "Connection closed unexpectedly";
  AsLocalDelivery(&outcome);
  EXPECT_EQ(outcome.text,
            "Error (temporary failure: \"mail.lmtp: Connection closed "
            "unexpectedly\")");
  outcome.result = WorkerOutcome::Result::kReturned;
  outcome.text = "x";
  AsLocalDelivery(&outcome);
  EXPECT_EQ(outcome.text, "x");
}

}  // namespace
}  // namespace holdfast
