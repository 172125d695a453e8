#include "config/relay_sender.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

const MailAddress kAlice{"alice", "example.com"};

TEST(RewriteSender, MissingPartsStay) {
  EXPECT_EQ(RewriteSender(kAlice, "").ToString(), "alice@example.com");
  EXPECT_EQ(RewriteSender(kAlice, "@new.test").ToString(), "alice@new.test");
  EXPECT_EQ(RewriteSender(kAlice, "bob").ToString(), "bob@example.com");
  EXPECT_EQ(RewriteSender(kAlice, "bob@new.test").ToString(), "bob@new.test");
  EXPECT_TRUE(RewriteSender({}, "bob@new.test").IsNull());
}

TEST(RelaySender, SrsIsForWhatWasForwarded) {
  const SrsRewriter srs(
      "k", "", 4, [](absl::string_view) { return std::string(20, '\0'); });
  const absl::Time now = absl::FromUnixSeconds(1700000000);
  const MailAddress rcpt{"bob", "fwd.test"}, dest{"bob", "far.test"};
  Action action;
  const auto sender = [&](const MailAddress& from, const MailAddress& to) {
    return RelaySender(action, from, rcpt, to, &srs, now).ToString();
  };
  EXPECT_EQ(sender(kAlice, dest), "alice@example.com");
  action.srs = true;
  EXPECT_EQ(sender(kAlice, dest), "SRS0=AAAA=G3=example.com=alice@fwd.test");
  EXPECT_EQ(sender(kAlice, rcpt), "alice@example.com");
  EXPECT_EQ(sender({}, dest), "@");
  EXPECT_EQ(RelaySender(action, kAlice, rcpt, dest, nullptr, now), kAlice);
  action.mail_from = "list";
  EXPECT_EQ(sender(kAlice, dest), "SRS0=AAAA=G3=example.com=list@fwd.test");
}

}  // namespace
}  // namespace holdfast
