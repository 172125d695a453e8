#include "protocol/smtp_parameters.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

constexpr char kBad[] = "501 5.5.4 Invalid command arguments: ";

ParameterRules Rules() {
  ParameterRules rules;
  rules.now = absl::FromUnixSeconds(1800000000);  // 2027-01-15 08:00:00 UTC
  rules.futurerelease_max = absl::Hours(24);
  return rules;
}

// The refusal, or "ok".
std::string Mail(absl::string_view text, ParameterRules rules = Rules()) {
  MailParameters parameters;
  const auto refusal = ParseMailParameters(text, rules, &parameters);
  return refusal ? refusal->FirstLine() : "ok";
}
std::string Rcpt(absl::string_view text, ParameterRules rules = Rules()) {
  RcptParameters parameters;
  const auto refusal = ParseRcptParameters(text, rules, &parameters);
  return refusal ? refusal->FirstLine() : "ok";
}
MailParameters MailParametersOf(absl::string_view text) {
  MailParameters parameters;
  EXPECT_FALSE(ParseMailParameters(text, Rules(), &parameters)) << text;
  return parameters;
}
RcptParameters RcptParametersOf(absl::string_view text) {
  RcptParameters parameters;
  EXPECT_FALSE(ParseRcptParameters(text, Rules(), &parameters)) << text;
  return parameters;
}
void ExpectAllInvalid(absl::string_view name,
                      std::initializer_list<const char*> values) {
  for (const char* value : values) {
    EXPECT_EQ(Mail(absl::StrCat(name, "=", value)),
              absl::StrCat(kBad, "Invalid ", name))
        << value;
  }
}

TEST(SmtpParametersTest, ReadsThoseOfMail) {
  const MailParameters p = MailParametersOf(
      "size=100 BODY=8BITMIME ret=hdrs ENVID=x+2By AUTH=<> SMTPUTF8");
  EXPECT_EQ(p.size, 100u);
  EXPECT_EQ(p.body, MailParameters::Body::k8BitMime);
  EXPECT_EQ(p.dsn_ret, DsnReturn::kHeaders);
  EXPECT_EQ(p.dsn_envid, "x+2By");
  EXPECT_EQ(p.auth, "<>");
  EXPECT_TRUE(p.smtputf8);
  EXPECT_EQ(MailParametersOf("RET=FULL").dsn_ret, DsnReturn::kFull);
  EXPECT_EQ(MailParametersOf("body=binarymime").body,
            MailParameters::Body::kBinaryMime);
  EXPECT_EQ(MailParametersOf("AUTH=joe+40x").auth, "joe+40x");
}

TEST(SmtpParametersTest, SizeIsANumberOfAtMostTwentyDigits) {
  EXPECT_EQ(MailParametersOf("SIZE=18446744073709551615").size,
            18446744073709551615u);
  EXPECT_EQ(MailParametersOf("SIZE=99999999999999999999").size,
            18446744073709551615u);
  ExpectAllInvalid("SIZE",
                   {"", "-1", "+1", "1k", "0x10", "111111111111111111111"});
}

TEST(SmtpParametersTest, RefusesWhatIsUnknownOrTwice) {
  const std::string prefix =
      "503 5.5.4 Invalid command arguments: Unsupported option ";
  for (const char* unknown : {"FOO=1", "FOO", "BODY=9BIT", "BODY", "SIZE",
                              "BODY=", "RET", "BY", "=", "=x", "X-A=b"})
    EXPECT_EQ(Mail(unknown), prefix + unknown);
  EXPECT_EQ(Rcpt("FOO"), "503 Unsupported option FOO");
  EXPECT_EQ(Rcpt("SIZE=1"), "503 Unsupported option SIZE=1");
  for (const char* twice :
       {"SIZE=1 size=2", "SMTPUTF8 SMTPUTF8", "BODY=7BIT SIZE=1 BODY=8BITMIME",
        "RET=FULL RET=FULL", "BY=1;R BY=1;R", "HOLDFOR=1 HOLDFOR=2"})
    EXPECT_EQ(Mail(twice), absl::StrCat(kBad, "Duplicate option")) << twice;
  EXPECT_EQ(Rcpt("NOTIFY=NEVER NOTIFY=NEVER"),
            absl::StrCat(kBad, "Duplicate option"));
}

TEST(SmtpParametersTest, WhatIsNotOfferedIsUnknown) {
  const std::string prefix =
      "503 5.5.4 Invalid command arguments: Unsupported option ";
  ParameterRules none = Rules();
  none.offered = {false, false, false, false, false, false, false,
                  false, false, false, false, false, false};
  for (const char* text :
       {"SIZE=1", "BODY=7BIT", "BODY=8BITMIME", "BODY=BINARYMIME", "RET=FULL",
        "ENVID=x", "SMTPUTF8", "REQUIRETLS", "MT-PRIORITY=1", "BY=1;N",
        "HOLDFOR=1", "HOLDUNTIL=2027-01-15T09:00:00Z"}) {
    EXPECT_EQ(Mail(text), "ok") << text;
    EXPECT_EQ(Mail(text, none), prefix + text);
  }
  EXPECT_EQ(Rcpt("NOTIFY=NEVER", none), "503 Unsupported option NOTIFY=NEVER");
  EXPECT_EQ(Rcpt("ORCPT=rfc822;x", none),
            "503 Unsupported option ORCPT=rfc822;x");
}

TEST(SmtpParametersTest, FlagsHaveNoValue) {
  EXPECT_EQ(Mail("SMTPUTF8=1"), absl::StrCat(kBad, "Invalid SMTPUTF8"));
  EXPECT_EQ(Mail("REQUIRETLS="), absl::StrCat(kBad, "Invalid REQUIRETLS"));
  EXPECT_TRUE(MailParametersOf("RequireTls").requiretls);
}

// ---- RFC 3461

TEST(SmtpParametersTest, RetAndEnvidAreChecked) {
  ExpectAllInvalid("RET", {"", "ALL", "FULL,HDRS"});
  ExpectAllInvalid("ENVID", {"a+zz", "a\rb", "a+00", "a+0D+0A", "a+1F", "a=b",
                             "a+7F", "a+2b"});
  EXPECT_EQ(Mail("ENVID=" + std::string(100, 'x')), "ok");
  EXPECT_EQ(
      Mail("ENVID=" + std::string(101, 'x')),
      "503 5.5.4 Invalid command arguments: option too large, truncated: " +
          std::string(100, 'x'));
  EXPECT_EQ(Mail("ENVID=a+20+2B+7E+C3+BC"), "ok");
}

TEST(SmtpParametersTest, NotifyIsChecked) {
  const RcptParameters p =
      RcptParametersOf("NOTIFY=success,DELAY ORCPT=rfc822;a+2Bc@b");
  EXPECT_EQ(p.dsn_notify, kNotifySuccess | kNotifyDelay);
  EXPECT_EQ(p.dsn_orcpt, "rfc822;a+2Bc@b");
  EXPECT_EQ(RcptParametersOf("notify=never").dsn_notify, kNotifyNever);
  EXPECT_EQ(RcptParametersOf("NOTIFY=SUCCESS,FAILURE,DELAY").dsn_notify, 7);
  for (const char* never : {"NEVER,DELAY", "FAILURE,NEVER"}) {
    EXPECT_EQ(Rcpt(absl::StrCat("NOTIFY=", never)),
              "553 NOTIFY option NEVER cannot be combined with other options");
  }
  for (const char* bad : {"", "junk", "SUCCESS,junk", "SUCCESS,", ",SUCCESS",
                          "SUCCESS,SUCCESS", "NEVER,NEVER", "SUCCESS;DELAY"}) {
    EXPECT_EQ(Rcpt(absl::StrCat("NOTIFY=", bad)),
              absl::StrCat(kBad, "Invalid NOTIFY"))
        << bad;
  }
}

TEST(SmtpParametersTest, OrcptIsChecked) {
  const std::string refusal = "553 ORCPT address syntax error";
  for (const std::string& bad :
       {std::string("a@b"), std::string(";a@b"), std::string("rfc822;a+b"),
        std::string("rfc822;a+0Ab"), std::string("rfc822;a+00"),
        std::string("rfc822;a\xe9"), std::string("rfc 822;a"),
        std::string("utf-8;a+2B"), std::string("utf-8;\\x{0}"),
        std::string("utf-8;caf\xc3\xa9"), std::string("a\"b;c"),
        "rfc822;" + std::string(500, 'x')})
    EXPECT_EQ(Rcpt("ORCPT=" + bad).substr(0, refusal.size()), refusal) << bad;
  EXPECT_EQ(Rcpt("ORCPT=utf-8;caf\\x{E9}@x"), "ok");
  ParameterRules rules = Rules();
  rules.smtputf8 = true;
  EXPECT_EQ(Rcpt("ORCPT=UTF-8;caf\xc3\xa9@x", rules), "ok");
  EXPECT_EQ(Rcpt("ORCPT=utf-8;caf\xc3", rules), refusal);
}

TEST(SmtpParametersTest, AuthIsXtext) {
  ExpectAllInvalid("AUTH", {"", "a+zz", "a=b", "\xc3\xa9", "a+0D"});
}

// ---- RFC 6710

TEST(SmtpParametersTest, PrioritiesGoFromMinusNineToNine) {
  EXPECT_EQ(MailParametersOf("MT-PRIORITY=0").mt_priority, 0);
  EXPECT_EQ(MailParametersOf("mt-priority=9").mt_priority, 9);
  EXPECT_EQ(MailParametersOf("MT-PRIORITY=-9").mt_priority, -9);
  EXPECT_EQ(MailParametersOf("SIZE=1").mt_priority, std::nullopt);
  ExpectAllInvalid("MT-PRIORITY",
                   {"", "10", "-10", "+1", "-0", "00", "01", "x", "-", "1x"});
}

// ---- RFC 2852

TEST(SmtpParametersTest, DeliverBy) {
  const auto by = MailParametersOf("BY=+120;rt").deliver_by;
  ASSERT_TRUE(by);
  EXPECT_EQ(by->seconds, 120);
  EXPECT_EQ(by->mode, 'R');
  EXPECT_TRUE(by->trace);
  EXPECT_EQ(MailParametersOf("BY=-999999999;N").deliver_by->seconds,
            -999999999);
  EXPECT_EQ(MailParametersOf("BY=0;N").deliver_by->trace, false);
  ExpectAllInvalid(
      "BY", {"", ";", "1", "1;", ";R", "1;X", "1;RX", "1;RTT", "1;TR", "1;R;",
             "x;R", "1x;R", "--1;N", "+-1;N", "1000000000;N", "1 ;N"});
  // Too late already to be returned when it is late.
  ExpectAllInvalid("BY", {"0;R", "-1;R"});
  ParameterRules rules = Rules();
  rules.deliverby_min = absl::Seconds(60);
  EXPECT_EQ(Mail("BY=60;R", rules), "ok");
  EXPECT_EQ(Mail("BY=59;R", rules),
            "555 5.5.4 Invalid command arguments: BY is less than the least "
            "time");
  EXPECT_EQ(Mail("BY=59;N", rules), "ok");
}

// ---- RFC 4865

TEST(SmtpParametersTest, FutureRelease) {
  EXPECT_EQ(MailParametersOf("HOLDFOR=86400").hold_for, absl::Hours(24));
  EXPECT_EQ(MailParametersOf("HOLDUNTIL=2027-01-16T08:00:00Z").hold_until,
            absl::FromUnixSeconds(1800000000) + absl::Hours(24));
  EXPECT_EQ(MailParametersOf("holduntil=2027-01-15t09:00:00+01:00").hold_until,
            absl::FromUnixSeconds(1800000000));
  // What is past holds nothing.
  EXPECT_EQ(Mail("HOLDUNTIL=1999-01-01T00:00:00Z"), "ok");
  const std::string too_long =
      absl::StrCat(kBad, "Message would be held for too long");
  EXPECT_EQ(Mail("HOLDFOR=86401"), too_long);
  EXPECT_EQ(Mail("HOLDUNTIL=2027-01-16T08:00:01Z"), too_long);
  EXPECT_EQ(Mail("HOLDUNTIL=9999-12-31T23:59:59Z"), too_long);
  ExpectAllInvalid("HOLDFOR", {"", "0", "-1", "+1", "1000000000", "1s"});
  ExpectAllInvalid("HOLDUNTIL",
                   {"", "now", "infinite-future", "2027-01-15",
                    "2027-01-15T08:00:00", "2027-13-15T08:00:00Z",
                    "2027-01-15T25:00:00Z", "1800000000", "20270115T080000Z"});
  EXPECT_EQ(Mail("HOLDFOR=1 HOLDUNTIL=2027-01-15T08:00:00Z"),
            absl::StrCat(kBad, "Invalid HOLDUNTIL"));
  EXPECT_EQ(Mail("HOLDUNTIL=2027-01-15T08:00:00Z HOLDFOR=1"),
            absl::StrCat(kBad, "Invalid HOLDFOR"));
}

}  // namespace
}  // namespace holdfast
