#include "config/delivery_way.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(LmtpDestinationTest, TheFormsOfTheReference) {
  auto socket = ParseLmtpDestination("/run/dovecot/lmtp");
  ASSERT_TRUE(socket);
  EXPECT_EQ(socket->path, "/run/dovecot/lmtp");
  auto host = ParseLmtpDestination("mail.example.org");
  ASSERT_TRUE(host);
  EXPECT_EQ(host->path, "");
  EXPECT_EQ(host->host, "mail.example.org");
  EXPECT_EQ(host->port, 25);
  auto port = ParseLmtpDestination("localhost:24");
  ASSERT_TRUE(port);
  EXPECT_EQ(port->host, "localhost");
  EXPECT_EQ(port->port, 24);
  auto six = ParseLmtpDestination("[2001:db8::1]:2003");
  ASSERT_TRUE(six);
  EXPECT_EQ(six->host, "2001:db8::1");
  EXPECT_EQ(six->port, 2003);
  auto plain = ParseLmtpDestination("[::1]");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->port, 25);
}

TEST(LmtpDestinationTest, WhatOnlyAShellUnderstandsIsNone) {
  for (const char* text :
       {"", "localhost:", "localhost:lmtp", "localhost:0", "localhost:65536",
        "localhost:+24", "::1", "[::1", "[::1]24", "/run/lmtp sock",
        "/run/%{user.username}", "/run/$USER", "/run/a;b", "a b", "[]:24",
        "$HOST:24"}) {
    EXPECT_FALSE(ParseLmtpDestination(text)) << text;
  }
  EXPECT_FALSE(ParseLmtpDestination("/" + std::string(107, 'x')));
  EXPECT_TRUE(ParseLmtpDestination("/" + std::string(106, 'x')));
}

TEST(DeliveryWayTest, EachMethod) {
  Action action;
  action.method = ActionMethod::kMbox;
  EXPECT_EQ(WayOf(action), DeliveryWay::kMailbox);
  action.method = ActionMethod::kMda;
  EXPECT_EQ(WayOf(action), DeliveryWay::kCommand);
  action.method = ActionMethod::kMaildir;
  EXPECT_EQ(WayOf(action), DeliveryWay::kMailbox);
  action.method = ActionMethod::kLmtp;
  action.lmtp = "/run/lmtp";
  EXPECT_EQ(WayOf(action), DeliveryWay::kLmtp);
  action.lmtp = "/run/lmtp/%{user.username}";
  EXPECT_EQ(WayOf(action), DeliveryWay::kCommand);
  action.lmtp = "/run/lmtp";
  action.wrapper = "w";
  EXPECT_EQ(WayOf(action), DeliveryWay::kCommand);
  action.method = ActionMethod::kMaildir;
  EXPECT_EQ(WayOf(action), DeliveryWay::kCommand);
  action.method = ActionMethod::kExpandOnly;
  EXPECT_EQ(WayOf(action), DeliveryWay::kNone);
}

TEST(DeliveryWayTest, WhatAWrapperWraps) {
  Action action;
  action.wrapper = "w";
  action.method = ActionMethod::kMaildir;
  EXPECT_EQ(HelperCommand(action, "/lib"), "/lib/mail.maildir");
  action.maildir_path = "~/Mail Dir";
  action.maildir_junk = true;
  EXPECT_EQ(HelperCommand(action, "/lib"),
            "/lib/mail.maildir -j \"%{user.directory}/Mail Dir\"");
  action.maildir_path = "/srv/%{rcpt.user}";
  action.maildir_junk = false;
  EXPECT_EQ(HelperCommand(action, "/lib"),
            "/lib/mail.maildir \"/srv/%{rcpt.user}\"");
  action.method = ActionMethod::kLmtp;
  action.lmtp = "localhost:24";
  EXPECT_EQ(HelperCommand(action, "/lib"), "/lib/mail.lmtp -d localhost:24 -u");
  action.lmtp_rcpt_to = true;
  EXPECT_EQ(HelperCommand(action, "/lib"), "/lib/mail.lmtp -d localhost:24 -r");
  action.wrapper.clear();
  EXPECT_EQ(HelperCommand(action, "/lib"), "");
  action.method = ActionMethod::kMda;
  EXPECT_EQ(HelperCommand(action, "/lib"), "");
}

}  // namespace
}  // namespace holdfast
