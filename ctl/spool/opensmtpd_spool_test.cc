#include "ctl/spool/opensmtpd_spool.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

constexpr absl::string_view kRelayed =
    "version: 3\ndispatcher: out\ntag: inside\ntype: mta\nsmtpname: "
    "mx.example\n"
    "helo: client.example\nhostname: localhost\nusername: jo\n"
    "errorline: 450 4.2.1 Try: later\nsockaddr: [2001:db8::1]\n"
    "sender: alice@from.example\nrcpt: a@alias.example\ndest: bob@one.example\n"
    "ctime: 1795396589\nlast-try: 0\nlast-bounce: 1795396600\nttl: 0\n"
    "retry: 3\nflags: authenticated internal\ndsn-notify: 6\ndsn-ret: HDRS\n"
    "dsn-envid: QQ+3D1\ndsn-orcpt: rfc822;a+2Bx@alias.example\nesc-class: 4\n"
    "esc-code: 21\n";

std::string With(absl::string_view from, absl::string_view to) {
  std::string text(kRelayed);
  return text.replace(text.find(std::string(from)), from.size(),
                      std::string(to));
}

TEST(OpensmtpdSpoolTest, ReadsEveryField) {
  const auto read = ParseOpensmtpdEnvelope(kRelayed);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->is_report);
  const Envelope& e = read->envelope;
  EXPECT_EQ(e.kind, DeliveryKind::kMta);
  EXPECT_EQ(e.action, "out");
  EXPECT_EQ(e.tag, "inside");
  EXPECT_EQ(e.smtpname, "mx.example");
  EXPECT_EQ(e.username, "jo");
  EXPECT_EQ(e.error_line, "450 4.2.1 Try: later");
  EXPECT_EQ(e.sockaddr, "[2001:db8::1]");
  EXPECT_EQ(e.sender.ToString(), "alice@from.example");
  EXPECT_EQ(e.rcpt.ToString(), "a@alias.example");
  EXPECT_EQ(e.dest.ToString(), "bob@one.example");
  EXPECT_EQ(e.created, absl::FromUnixSeconds(1795396589));
  EXPECT_EQ(e.last_bounce, absl::FromUnixSeconds(1795396600));
  EXPECT_EQ(e.retry, 3u);
  EXPECT_EQ(e.flags, uint32_t{kFlagAuthenticated | kFlagInternal});
  EXPECT_EQ(e.dsn_notify, kNotifyFailure | kNotifyDelay);
  EXPECT_EQ(e.dsn_ret, DsnReturn::kHeaders);
  EXPECT_EQ(e.dsn_envid, "QQ+3D1");
  EXPECT_EQ(e.dsn_orcpt, "rfc822;a+2Bx@alias.example");
  EXPECT_EQ(e.status.klass, 4);
  EXPECT_EQ(e.status.code, 21);
}

TEST(OpensmtpdSpoolTest, OursShowsItAsItWas) {
  auto read = ParseOpensmtpdEnvelope(kRelayed);
  ASSERT_TRUE(read.ok());
  read->envelope.expires = read->envelope.created + absl::Hours(1);
  const auto again = ParseOpensmtpdEnvelope(EnvelopeToText(read->envelope));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->envelope.dest, read->envelope.dest);
  EXPECT_EQ(again->envelope.dsn_orcpt, read->envelope.dsn_orcpt);
}

TEST(OpensmtpdSpoolTest, LocalMailAndReports) {
  const auto local = ParseOpensmtpdEnvelope(
      With("type: mta", "type: mda\nmda-user: bob\nmda-exec: /bin/true x"));
  ASSERT_TRUE(local.ok()) << local.status();
  EXPECT_EQ(local->envelope.kind, DeliveryKind::kMda);
  EXPECT_EQ(local->envelope.mda_user, "bob");
  EXPECT_EQ(local->envelope.mda_exec, "/bin/true x");
  const auto report = ParseOpensmtpdEnvelope(
      With("type: mta", "type: bounce\nbounce-ttl: 0\nbounce-type: failed"));
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->is_report);
}

TEST(OpensmtpdSpoolTest, NullSenderAndAddressTypeThatIsMissing) {
  const auto null =
      ParseOpensmtpdEnvelope(With("sender: alice@from.example", "sender: @"));
  ASSERT_TRUE(null.ok());
  EXPECT_TRUE(null->envelope.sender.IsNull());
  const auto bare = ParseOpensmtpdEnvelope(With("rfc822;a+", "a+"));
  ASSERT_TRUE(bare.ok());
  EXPECT_EQ(bare->envelope.dsn_orcpt, "rfc822;a+2Bx@alias.example");
}

TEST(OpensmtpdSpoolTest, RefusesWhatOpensmtpdWouldNotLoad) {
  for (const auto& [from, to] :
       std::initializer_list<std::pair<absl::string_view, absl::string_view>>{
           {"version: 3", "version: 2"},
           {"version: 3\n", ""},
           {"helo: client.example\n", ""},
           {"hostname: localhost\n", ""},
           {"dispatcher: out\n", ""},
           {"type: mta", "type: ufo"},
           {"type: mta\n", ""},
           {"retry: 3", "retry: -3"},
           {"retry: 3", "retry: 3x"},
           {"ctime: 1795396589\n", ""},
           {"ctime: 1795396589", "ctime: 99999999999999"},
           {"flags: authenticated", "flags: blue"},
           {"dsn-ret: HDRS", "dsn-ret: SOME"},
           {"dsn-notify: 6", "dsn-notify: 16"},
           {"rcpt: a@alias.example", "rcpt: alias.example"},
           {"tag: inside", "colour: blue"},
           {"tag: inside", "nothing"},
           {"tag: inside", "tag: in\rside"}}) {
    EXPECT_FALSE(ParseOpensmtpdEnvelope(With(from, to)).ok()) << to;
  }
  EXPECT_FALSE(ParseOpensmtpdEnvelope("").ok());
  EXPECT_FALSE(
      ParseOpensmtpdEnvelope(With("Try", std::string(70'000, 'x'))).ok());
}

}  // namespace
}  // namespace holdfast
