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
    return RelaySender(action, from, rcpt, to, {&srs, now, '+'}).ToString();
  };
  EXPECT_EQ(sender(kAlice, dest), "alice@example.com");
  action.srs = true;
  EXPECT_EQ(sender(kAlice, dest), "SRS0=AAAA=G3=example.com=alice@fwd.test");
  EXPECT_EQ(sender(kAlice, rcpt), "alice@example.com");
  EXPECT_EQ(sender({}, dest), "@");
  EXPECT_EQ(RelaySender(action, kAlice, rcpt, dest, {nullptr, now, '+'}),
            kAlice);
  action.mail_from = "list";
  EXPECT_EQ(sender(kAlice, dest), "SRS0=AAAA=G3=example.com=list@fwd.test");
}

std::string Verp(const std::string& sender, const std::string& dest,
                 char delimiter = '+') {
  return VerpSender(SplitAddress(sender), SplitAddress(dest), delimiter)
      .ToString();
}

TEST(VerpSender, TellsTheRecipient) {
  EXPECT_EQ(Verp("list@x.test", "bob@example.net"),
            "list+bob=example.net@x.test");
  EXPECT_EQ(Verp("list@x.test", "bob@example.net", '-'),
            "list-bob=example.net@x.test");
  EXPECT_EQ(Verp("list+a@x.test", "bob+b=c@example.net"),
            "list+a+bob+b=c=example.net@x.test");
  EXPECT_EQ(Verp("list@x.test",
                 "bob@b\xc3\xbc"
                 "cher.example"),
            "list+bob=xn--bcher-kva.example@x.test");
}

TEST(VerpSender, WhatStaysAsItIs) {
  EXPECT_TRUE(VerpSender({}, {"bob", "example.net"}, '+').IsNull());
  EXPECT_EQ(VerpSender({"", "x.test"}, {"bob", "example.net"}, '+').ToString(),
            "@x.test");
  for (const char* dest :
       {"\"b b\"@example.net", "bob@[192.0.2.1]", "bob@[IPv6:2001:db8::1]",
        "j\xc3\xb6rg@example.net", "@example.net", "bob@"})
    EXPECT_EQ(Verp("list@x.test", dest), "list@x.test") << dest;
  EXPECT_EQ(Verp("\"li st\"@x.test", "bob@example.net"), "\"li st\"@x.test");
  EXPECT_EQ(Verp("list@x.test", "bob@example.net", ':'), "list@x.test");
}

TEST(VerpSender, ALocalPartHas64Octets) {
  const std::string dest = std::string(47, 'b') + "@example.net";
  EXPECT_EQ(Verp("list@x.test", dest),
            "list+" + std::string(47, 'b') + "=example.net@x.test");
  EXPECT_EQ(Verp("lists@x.test", dest), "lists@x.test");
}

TEST(RelaySender, VerpComesBehindMailFromAndNotWithSrs) {
  const SrsRewriter srs(
      "k", "", 4, [](absl::string_view) { return std::string(20, '\0'); });
  const SenderRewriting with{&srs, absl::FromUnixSeconds(1700000000), '-'};
  const MailAddress rcpt{"bob", "fwd.test"}, dest{"bob", "far.test"};
  Action action;
  action.verp = true;
  EXPECT_EQ(RelaySender(action, kAlice, rcpt, dest, with).ToString(),
            "alice-bob=far.test@example.com");
  action.mail_from = "list@x.test";
  EXPECT_EQ(RelaySender(action, kAlice, rcpt, dest, with).ToString(),
            "list-bob=far.test@x.test");
  EXPECT_TRUE(RelaySender(action, {}, rcpt, dest, with).IsNull());
  action.srs = true;
  EXPECT_EQ(RelaySender(action, kAlice, rcpt, dest, with).ToString(),
            "SRS0=AAAA=G3=x.test=list@fwd.test");
  // Not forwarded.
  EXPECT_EQ(RelaySender(action, kAlice, dest, dest, with).ToString(),
            "list-bob=far.test@x.test");
}

}  // namespace
}  // namespace holdfast
