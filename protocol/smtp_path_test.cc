#include "protocol/smtp_path.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

PathOptions Options() { return {"mx.test", {}}; }

std::string Mail(absl::string_view argument,
                 const PathOptions& options = Options()) {
  auto parsed = ParseMailArgument(argument, options);
  if (const Reply* refusal = std::get_if<Reply>(&parsed))
    return refusal->FirstLine();
  return std::get<ReversePath>(parsed).address.ToString();
}
std::string Rcpt(absl::string_view argument,
                 const PathOptions& options = Options()) {
  auto parsed = ParseRcptArgument(argument, options);
  if (const Reply* refusal = std::get_if<Reply>(&parsed))
    return refusal->FirstLine();
  return std::get<ForwardPath>(parsed).address.ToString();
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
                          "<a@d\xc3>",
                          "<\xff@d>",
                          "<@>",
                          "<@a>",
                          "<@a:>",
                          "<@\"a:b\":c@d>",
                          "<a:b@c>",
                          "<\"a@b>",
                          "<a\"b\"@c>",
                          "<\"a\"b@c>",
                          "<\"a\".\"b\"@c>",
                          "<\"a\\\"@c>",
                          "<\"a\tb\"@c>",
                          "<\"a\\\tb\"@c>",
                          "<\"a\"b\"@c>",
                          "<\"@>",
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

// ---- Quoted local parts (RFC 5321 section 4.1.2)

TEST(SmtpPathTest, QuotedLocalPartsHaveOnePrintedForm) {
  EXPECT_EQ(Mail("<\"a b\"@x>"), "\"a b\"@x");
  EXPECT_EQ(Mail("<\"a\\ b\"@x>"), "\"a b\"@x");
  EXPECT_EQ(Mail("<\"a\\\"b\"@x>"), "\"a\\\"b\"@x");
  EXPECT_EQ(Mail("<\"a\\\\b\"@x>"), "\"a\\\\b\"@x");
  EXPECT_EQ(Mail("<\"\"@x>"), "\"\"@x");
  EXPECT_EQ(Mail("<\"a..b\"@x>"), "\"a..b\"@x");
  // What needs no quotes has none.
  EXPECT_EQ(Mail("<\"joe\"@x>"), "joe@x");
  EXPECT_EQ(Mail("<\"j\\oe.x\"@x>"), "joe.x@x");
  // Nothing that is quoted ends or splits anything.
  EXPECT_EQ(Mail("<\"a>b\"@x> SIZE=1"), "\"a>b\"@x");
  EXPECT_EQ(Mail("<\"a@b\"@x>"), "\"a@b\"@x");
  EXPECT_EQ(Mail("<\"a@b\">"), "\"a@b\"@mx.test");
  EXPECT_EQ(Mail("<\"@a:b\"@x>"), "\"@a:b\"@x");
  EXPECT_EQ(Rcpt("<@r,@s:\"a:b\"@x>"), "\"a:b\"@x");
  EXPECT_EQ(Rcpt("<\"<script>\"@x>"), "\"<script>\"@x");
  EXPECT_EQ(Mail("<\"" + std::string(253, ' ') + "\"@d>").size(), 257u);
  EXPECT_EQ(Mail("<\"" + std::string(254, ' ') + "\"@d>"), kSenderSyntax);
}

TEST(SmtpPathTest, EveryLocalPartComesBackFromItsPrintedForm) {
  // All contents of up to three of the characters that matter.
  const std::string letters = "ab.\"\\@<>: ;,(\xc3\xa9";
  uint32_t state = 1;
  const auto next = [&state](uint32_t below) {
    state = state * 1664525 + 1013904223;
    return (state >> 16) % below;
  };
  PathOptions options = Options();
  options.rules.smtputf8 = true;
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = "\"";
    for (uint32_t n = next(8); n > 0; --n)
      text.push_back(letters[next(static_cast<uint32_t>(letters.size()))]);
    text += "\"";
    const auto canonical = CanonicalLocalPart(text, true);
    if (!canonical) continue;
    ++accepted;
    EXPECT_EQ(CanonicalLocalPart(*canonical, true), *canonical) << text;
    const std::string path = "<" + *canonical + "@x.test>";
    const auto parsed = ParseRcptArgument(path, options);
    ASSERT_TRUE(std::holds_alternative<ForwardPath>(parsed)) << path;
    const MailAddress& address = std::get<ForwardPath>(parsed).address;
    EXPECT_EQ(address.user, *canonical);
    EXPECT_EQ("<" + address.ForPath() + ">", path);
  }
  EXPECT_GT(accepted, 1000);
}

// ---- SMTPUTF8 (RFC 6531)

TEST(SmtpPathTest, Utf8NeedsItsParameter) {
  EXPECT_EQ(Mail("<caf\xc3\xa9@d> SMTPUTF8"), "caf\xc3\xa9@d");
  EXPECT_EQ(Mail("<a@d\xc3\xa9.test> smtputf8"), "a@d\xc3\xa9.test");
  EXPECT_EQ(Mail("<\"caf\xc3\xa9 x\"@d> SMTPUTF8"), "\"caf\xc3\xa9 x\"@d");
  const std::string refusal =
      "550 5.6.7 Non-ASCII sender address needs SMTPUTF8";
  EXPECT_EQ(Mail("<caf\xc3\xa9@d>"), refusal);
  EXPECT_EQ(Mail("<a@d\xc3\xa9>"), refusal);
  EXPECT_EQ(Rcpt("<caf\xc3\xa9@d>"),
            "553 5.6.7 Non-ASCII recipient address needs SMTPUTF8");
  PathOptions options = Options();
  options.rules.smtputf8 = true;
  EXPECT_EQ(Rcpt("<caf\xc3\xa9@d>", options), "caf\xc3\xa9@d");
  EXPECT_EQ(Rcpt("<caf\xc3@d>", options), kRcptSyntax);
  // Where it isn't offered, it is bad syntax, as in the reference.
  options.rules = {};
  options.rules.offered.smtputf8 = false;
  EXPECT_EQ(Mail("<caf\xc3\xa9@d>", options), kSenderSyntax);
  EXPECT_EQ(Rcpt("<caf\xc3\xa9@d>", options), kRcptSyntax);
}

}  // namespace
}  // namespace holdfast
