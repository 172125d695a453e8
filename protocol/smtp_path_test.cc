#include "protocol/smtp_path.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

PathOptions Options(bool dsn = true) { return {"mx.test", dsn}; }

std::string Mail(absl::string_view argument, bool dsn = true) {
  auto parsed = ParseMailArgument(argument, Options(dsn));
  if (const Reply* refusal = std::get_if<Reply>(&parsed))
    return refusal->FirstLine();
  return std::get<ReversePath>(parsed).address.ToString();
}
std::string Rcpt(absl::string_view argument, bool dsn = true) {
  auto parsed = ParseRcptArgument(argument, Options(dsn));
  if (const Reply* refusal = std::get_if<Reply>(&parsed))
    return refusal->FirstLine();
  return std::get<ForwardPath>(parsed).address.ToString();
}
MailParameters MailParametersOf(absl::string_view argument) {
  return std::get<ReversePath>(ParseMailArgument(argument, Options()))
      .parameters;
}
RcptParameters RcptParametersOf(absl::string_view argument) {
  return std::get<ForwardPath>(ParseRcptArgument(argument, Options()))
      .parameters;
}

constexpr char kSenderSyntax[] = "553 5.1.0 Sender address syntax error";
constexpr char kRcptSyntax[] = "501 5.1.3 Recipient address syntax error";

TEST(SmtpPathTest, ParsesAndCompletesSenders) {
  EXPECT_EQ(Mail("<a@b.test>"), "a@b.test");
  EXPECT_EQ(Mail("<a@b.test>   SIZE=1"), "a@b.test");
  EXPECT_EQ(Mail("<joe>"), "joe@mx.test");
  EXPECT_EQ(Mail("<>"), "@");
  EXPECT_EQ(Mail("<@a,@b:joe@c.test>"), "joe@c.test");
  EXPECT_EQ(Mail("<joe@[192.0.2.1]>"), "joe@[192.0.2.1]");
  EXPECT_EQ(Mail("<joe@[IPv6:2001:db8::1]>"), "joe@[IPv6:2001:db8::1]");
  EXPECT_EQ(Mail("<x%y!z+w=v@d_x>"), "x%y!z+w=v@d_x");
}

TEST(SmtpPathTest, RefusesSendersThatAreNotPaths) {
  for (const char* bad : {"",
                          "a@b",
                          "<a@b",
                          "<\"a b\"@c>",
                          "<a b@c>",
                          "<@b.test>",
                          "<a..b@c>",
                          "<.a@c>",
                          "<a.@c>",
                          "<a@b..c>",
                          "<a@b.>",
                          "<a@-b>",
                          "<a@[foo]>",
                          "<a@[1.2.3]>",
                          "<a@[999.1.1.1]>",
                          "<a@[fe80::1%eth0]>",
                          "<a@[>",
                          "<caf\xc3\xa9@d>",
                          "<a@d\xc3\xa9>",
                          "<a;rm@d>",
                          "<a`id`\n@d>",
                          "<a\\@d>",
                          "<|sh@d,e>",
                          "<a@b@[c]>"}) {
    EXPECT_EQ(Mail(bad), kSenderSyntax) << bad;
  }
  EXPECT_EQ(Mail("<" + std::string(255, 'a') + "@d>").size(), 257u);
  EXPECT_EQ(Mail("<" + std::string(256, 'a') + "@d>"), kSenderSyntax);
  EXPECT_EQ(Mail("<a@" + std::string(256, 'd') + ">"), kSenderSyntax);
}

TEST(SmtpPathTest, ARecipientIsNeverNull) {
  EXPECT_EQ(Rcpt("<joe@mx.test>"), "joe@mx.test");
  EXPECT_EQ(Rcpt("<@a,@b:joe@mx.test>"), "joe@mx.test");
  EXPECT_EQ(Rcpt("<postmaster>"), "postmaster@mx.test");
  EXPECT_EQ(Rcpt("<>"), kRcptSyntax);
  EXPECT_EQ(Rcpt("joe"), kRcptSyntax);
  EXPECT_EQ(Rcpt("<joe@mx.test"), kRcptSyntax);
}

TEST(SmtpPathTest, ReadsMailParameters) {
  const MailParameters p = MailParametersOf(
      "<a@b> size=100 BODY=8BITMIME ret=hdrs ENVID=x+2By "
      "AUTH=<>");
  EXPECT_EQ(p.size, 100u);
  EXPECT_EQ(p.dsn_ret, DsnReturn::kHeaders);
  EXPECT_EQ(p.dsn_envid, "x+2By");
  EXPECT_EQ(MailParametersOf("<a@b> RET=FULL").dsn_ret, DsnReturn::kFull);
  EXPECT_EQ(MailParametersOf("<a@b> RET=ALL").dsn_ret, DsnReturn::kUnset);
}

TEST(SmtpPathTest, SizeIsANumberOfAtMostTwentyDigits) {
  EXPECT_EQ(MailParametersOf("<a@b> SIZE=18446744073709551615").size,
            18446744073709551615u);
  EXPECT_EQ(MailParametersOf("<a@b> SIZE=99999999999999999999").size,
            18446744073709551615u);
  for (const char* bad : {"SIZE=", "SIZE=-1", "SIZE=1k", "SIZE=0x10",
                          "SIZE=111111111111111111111"}) {
    EXPECT_EQ(Mail(absl::StrCat("<a@b> ", bad)),
              "501 5.5.4 Invalid command arguments: Invalid SIZE")
        << bad;
  }
}

TEST(SmtpPathTest, RefusesUnknownMailParameters) {
  const std::string prefix =
      "503 5.5.4 Invalid command arguments: Unsupported option ";
  EXPECT_EQ(Mail("<a@b> FOO=1"), prefix + "FOO=1");
  EXPECT_EQ(Mail("<a@b> BODY=BINARYMIME"), prefix + "BODY=BINARYMIME");
  EXPECT_EQ(Mail("<a@b> SMTPUTF8"), prefix + "SMTPUTF8");
  EXPECT_EQ(Mail("<a@b> RET=FULL", false), prefix + "RET=FULL");
  EXPECT_EQ(Mail("<a@b> ENVID=x", false), prefix + "ENVID=x");
  EXPECT_EQ(Mail("<a@b> SIZE=1 size=2"),
            "501 5.5.4 Invalid command arguments: Duplicate option");
}

TEST(SmtpPathTest, EnvidIsShortXtext) {
  EXPECT_EQ(Mail("<a@b> ENVID=" + std::string(100, 'x')), "a@b");
  EXPECT_EQ(
      Mail("<a@b> ENVID=" + std::string(101, 'x')),
      "503 5.5.4 Invalid command arguments: option too large, truncated: " +
          std::string(100, 'x'));
  EXPECT_EQ(Mail("<a@b> ENVID=a+zz"),
            "501 5.5.4 Invalid command arguments: Invalid ENVID");
  EXPECT_EQ(Mail("<a@b> ENVID=a\rb"),
            "501 5.5.4 Invalid command arguments: Invalid ENVID");
  for (const char* encoded : {"+00", "+0D+0A", "+1F", "+7F"}) {
    EXPECT_EQ(Mail(absl::StrCat("<a@b> ENVID=a", encoded)),
              "501 5.5.4 Invalid command arguments: Invalid ENVID")
        << encoded;
  }
  EXPECT_EQ(Mail("<a@b> ENVID=a+20+2B+7E+C3+BC"), "a@b");
}

TEST(SmtpPathTest, ReadsRcptParameters) {
  const RcptParameters p =
      RcptParametersOf("<a@b> NOTIFY=success,DELAY,junk ORCPT=rfc822;a+2Bc@b");
  EXPECT_EQ(p.dsn_notify, kNotifySuccess | kNotifyDelay);
  EXPECT_EQ(p.dsn_orcpt, "rfc822;a+2Bc@b");
  EXPECT_EQ(RcptParametersOf("<a@b> notify=never").dsn_notify, kNotifyNever);
}

TEST(SmtpPathTest, RefusesBadRcptParameters) {
  EXPECT_EQ(Rcpt("<a@b> FOO"), "503 Unsupported option FOO");
  EXPECT_EQ(Rcpt("<a@b> NOTIFY=NEVER", false),
            "503 Unsupported option NOTIFY=NEVER");
  EXPECT_EQ(Rcpt("<a@b> NOTIFY=NEVER,DELAY"),
            "553 NOTIFY option NEVER cannot be combined with other options");
  for (const std::string& bad :
       {std::string("ORCPT=a@b"), std::string("ORCPT=;a@b"),
        std::string("ORCPT=rfc822;a+b"), std::string("ORCPT=rfc822;a+0Ab"),
        std::string("ORCPT=rfc822;a+00"), std::string("ORCPT=rfc822;a\xe9"),
        std::string("ORCPT=rfc 822;a"),
        "ORCPT=rfc822;" + std::string(500, 'x')}) {
    EXPECT_EQ(Rcpt("<a@b> " + bad).substr(0, 30),
              "553 ORCPT address syntax error")
        << bad;
  }
}

TEST(SmtpPathTest, KnowsDomains) {
  for (const char* good : {"x", "192.0.2.1", "a-b.c_d", "[192.0.2.1]",
                           "[IPv6:::1]", "[::1]", "[ipv6:2001:db8::1]"}) {
    EXPECT_TRUE(IsValidDomain(good)) << good;
  }
  const std::string longest(63, 'a');
  EXPECT_TRUE(IsValidDomain(longest + "." + longest));
  EXPECT_FALSE(IsValidDomain("x.a" + longest + ".y"));
  for (const char* bad : {"", "foo.", "a..b", "[foo]", "-a", "a b", ".", "[]",
                          "[192.0.2.1", "[IPv6:192.0.2.1]", "a/b"}) {
    EXPECT_FALSE(IsValidDomain(bad)) << bad;
  }
}

}  // namespace
}  // namespace holdfast
