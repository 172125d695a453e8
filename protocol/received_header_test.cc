#include "protocol/received_header.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

ReceivedFacts Facts() {
  ReceivedFacts facts;
  facts.helo = "client.test";
  facts.rdns = "host.client.test";
  facts.address = "192.0.2.1";
  facts.by = "mx.test";
  facts.extended = true;
  facts.message = MessageId(0x30e4722c);
  facts.recipient = "rcpt@domain.test";
  facts.now = absl::FromUnixSeconds(1795324300);
  facts.zone = absl::UTCTimeZone();
  return facts;
}

TEST(ReceivedHeaderTest, NamesClientServerMessageAndRecipient) {
  EXPECT_EQ(ReceivedHeader(Facts()),
            "Received: from client.test (host.client.test [192.0.2.1])\n"
            "\tby mx.test (Holdfast) with ESMTP id 30e4722c\n"
            "\tfor <rcpt@domain.test>;\n"
            "\tSun, 22 Nov 2026 05:11:40 +0000 (UTC)\n");
}

TEST(ReceivedHeaderTest, LeavesTheForLineOutWithSeveralRecipients) {
  ReceivedFacts facts = Facts();
  facts.recipient.clear();
  facts.extended = false;
  facts.address = "[2001:db8::1]";
  facts.rdns = "<unknown>";
  EXPECT_EQ(ReceivedHeader(facts),
            "Received: from client.test (<unknown> [2001:db8::1])\n"
            "\tby mx.test (Holdfast) with SMTP id 30e4722c;\n"
            "\tSun, 22 Nov 2026 05:11:40 +0000 (UTC)\n");
}

TEST(ReceivedHeaderTest, MaskedSourceKeepsTheSpaceOfTheReference) {
  ReceivedFacts facts = Facts();
  facts.mask_source = true;
  facts.recipient.clear();
  EXPECT_EQ(ReceivedHeader(facts),
            "Received: \n"
            "\tby mx.test (Holdfast) with ESMTP id 30e4722c;\n"
            "\tSun, 22 Nov 2026 05:11:40 +0000 (UTC)\n");
}

TEST(ReceivedHeaderTest, TheLocalSocketIsAuthenticated) {
  ReceivedFacts facts = Facts();
  facts.helo = "localhost";
  facts.rdns = "mx.test";
  facts.address = "local";
  facts.authenticated = true;
  facts.recipient.clear();
  EXPECT_EQ(ReceivedHeader(facts),
            "Received: from localhost (mx.test [local])\n"
            "\tby mx.test (Holdfast) with ESMTPA id 30e4722c;\n"
            "\tSun, 22 Nov 2026 05:11:40 +0000 (UTC)\n");
}

}  // namespace
}  // namespace holdfast
