#include "server/queue/lmtp_batch.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

Action LmtpAction(const std::string& to) {
  Action action;
  action.name = "l";
  action.method = ActionMethod::kLmtp;
  action.lmtp = to;
  return action;
}

TEST(LmtpBatchTest, Targets) {
  EXPECT_EQ(LmtpTarget(LmtpAction("/run/lmtp")).domain, "lmtp:/run/lmtp");
  EXPECT_EQ(LmtpTarget(LmtpAction("/run/lmtp")).action, "l");
  EXPECT_EQ(LmtpTarget(LmtpAction("localhost:24")).domain,
            "lmtp://localhost:24");
  EXPECT_EQ(LmtpTarget(LmtpAction("localhost")).domain, "lmtp://localhost:25");
  EXPECT_EQ(LmtpTarget(LmtpAction("[::1]:24")).domain, "lmtp://[::1]:24");
}

TEST(LmtpBatchTest, CommandsOfUsersAreNotForTheServer) {
  Envelope envelope;
  envelope.kind = DeliveryKind::kMda;
  EXPECT_TRUE(GoesByLmtp(LmtpAction("/run/lmtp"), envelope));
  envelope.mda_exec = "|cat";
  EXPECT_FALSE(GoesByLmtp(LmtpAction("/run/lmtp"), envelope));
  envelope.mda_exec.clear();
  Action wrapped = LmtpAction("/run/lmtp");
  wrapped.wrapper = "w";
  EXPECT_FALSE(GoesByLmtp(wrapped, envelope));
  envelope.kind = DeliveryKind::kMta;
  EXPECT_FALSE(GoesByLmtp(LmtpAction("/run/lmtp"), envelope));
}

TEST(LmtpBatchTest, TheServerIsNotAskedForReports) {
  std::vector<BatchMessage> messages(1);
  messages[0].dsn_ret = DsnReturn::kFull;
  messages[0].dsn_envid = "e";
  messages[0].deliver_by = absl::FromUnixSeconds(9);
  messages[0].flags = kFlagRequireTls;
  messages[0].recipients.resize(1);
  messages[0].recipients[0].dsn_notify = kNotifySuccess;
  messages[0].recipients[0].dsn_orcpt = "rfc822;a@b";
  std::vector<BatchMessage> remote = messages;
  EndOfTheWay(LmtpAction("/run/lmtp"), &messages);
  EXPECT_EQ(messages[0].dsn_ret, DsnReturn::kUnset);
  EXPECT_EQ(messages[0].dsn_envid, "");
  EXPECT_EQ(messages[0].deliver_by, absl::UnixEpoch());
  EXPECT_EQ(messages[0].recipients[0].dsn_notify, 0);
  EXPECT_EQ(messages[0].recipients[0].dsn_orcpt, "");
  EXPECT_EQ(messages[0].flags, 0u);
  remote[0].flags |= kFlagSmtpUtf8;
  EndOfTheWay(LmtpAction("192.0.2.1:24"), &remote);
  EXPECT_EQ(remote[0].flags, uint32_t{kFlagRequireTls});
}

TEST(LmtpBatchTest, SmtpUtf8IsForAddressesOnly) {
  std::vector<BatchMessage> messages(1);
  messages[0].flags = kFlagSmtpUtf8;
  messages[0].recipients.resize(1);
  messages[0].recipients[0].dest = {"j\xc3\xb6", "example.org"};
  messages[0].recipients[0].mailbox_user = "joe";
  std::vector<BatchMessage> addresses = messages;
  EndOfTheWay(LmtpAction("/run/lmtp"), &messages);
  EXPECT_EQ(messages[0].flags, 0u);
  Action by_address = LmtpAction("/run/lmtp");
  by_address.lmtp_rcpt_to = true;
  EndOfTheWay(by_address, &addresses);
  EXPECT_EQ(addresses[0].flags, uint32_t{kFlagSmtpUtf8});
}

}  // namespace
}  // namespace holdfast
