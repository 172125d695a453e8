#include "ctl/submission/sendmail_options.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;

TEST(SendmailOptions, WhatPeopleUse) {
  const SendmailOptions o = ParseSendmailOptions(
      {"-i", "-FCronDaemon", "-B8BITMIME", "-oem", "-odb", "-f", "<a@b>", "-t",
       "root", "-v", "-N", "never", "-Rhdrs", "-V", "id", "--", "-x@y"});
  EXPECT_FALSE(o.exit);
  EXPECT_EQ(o.full_name, "CronDaemon");
  EXPECT_EQ(o.sender, "a@b");
  EXPECT_TRUE(o.recipients_from_headers);
  EXPECT_TRUE(o.verbose);
  EXPECT_EQ(o.notify, "never");
  EXPECT_EQ(o.ret, "hdrs");
  EXPECT_EQ(o.envid, "id");
  EXPECT_THAT(o.recipients, ElementsAre("root", "-x@y"));
}

TEST(SendmailOptions, NullSender) {
  EXPECT_EQ(ParseSendmailOptions({"-f", ""}).sender, "");
  EXPECT_EQ(ParseSendmailOptions({"-r<>"}).sender, "");
  EXPECT_EQ(ParseSendmailOptions({"x"}).sender, std::nullopt);
}

TEST(SendmailOptions, Letters) {
  const SendmailOptions o = ParseSendmailOptions({"-tvimx", "-bm", "-E"});
  EXPECT_TRUE(o.recipients_from_headers);
  EXPECT_TRUE(o.verbose);
  EXPECT_FALSE(o.newaliases);
  EXPECT_FALSE(o.exit);
  EXPECT_TRUE(ParseSendmailOptions({"x", "-bi"}).newaliases);
}

TEST(SendmailOptions, Errors) {
  const std::string usage =
      "usage: sendmail [-tv] [-f from] [-F name] to ...\n";
  SendmailOptions o = ParseSendmailOptions({"-h"});
  EXPECT_EQ(o.exit, 1);
  EXPECT_EQ(o.error, "sendmail: invalid option -- 'h'\n" + usage);
  o = ParseSendmailOptions({"-f"});
  EXPECT_EQ(o.error, "sendmail: option requires an argument -- 'f'\n" + usage);
  o = ParseSendmailOptions({"-f", "<a@b"});
  EXPECT_EQ(o.exit, 1);
  EXPECT_EQ(o.error, "sendmail: leading < but no trailing >\n");
  EXPECT_EQ(ParseSendmailOptions({"-J"}).error, usage);
  o = ParseSendmailOptions({"-q1h"});
  EXPECT_EQ(o.exit, 70);
  EXPECT_EQ(o.error, "");
}

}  // namespace
}  // namespace holdfast
