#include "protocol/received_header.h"

#include "gmock/gmock.h"
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

TEST(ReceivedHeaderTest, InternationalizedMailHasAProtocolNameOfItsOwn) {
  ReceivedFacts facts = Facts();
  facts.smtputf8 = true;
  facts.tls = "TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO";
  facts.authenticated = true;
  EXPECT_THAT(ReceivedHeader(facts),
              testing::HasSubstr(" with UTF8SMTPSA id 30e4722c "));
}

TEST(ReceivedHeaderTest, TellsOfTlsAndOfTheUser) {
  ReceivedFacts facts = Facts();
  facts.recipient.clear();
  facts.tls = "TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO";
  const auto with = [&facts] {
    const std::string header = ReceivedHeader(facts);
    const size_t begin = header.find(" with ") + 6;
    return header.substr(begin, header.find(";\n") - begin);
  };
  EXPECT_EQ(with(),
            "ESMTPS id 30e4722c (TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO)");
  facts.tell_auth = true;
  EXPECT_EQ(with(),
            "ESMTPS id 30e4722c (TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO) "
            "auth=no");
  facts.authenticated = true;
  facts.username = "joe";
  EXPECT_EQ(with(),
            "ESMTPSA id 30e4722c (TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO) "
            "auth=yes user=joe");
  facts.username = "joe doe\nX: y";
  EXPECT_THAT(with(), ::testing::EndsWith("auth=yes user=joe\\sdoe\\nX:\\sy"));
  // Not without TLS.
  facts.tls.clear();
  EXPECT_EQ(with(), "ESMTPA id 30e4722c");
}

}  // namespace
}  // namespace holdfast
