#include "protocol/envelope.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

// The example of the reference (part 2, section 1.2), with the ttl filled in.
TEST(EnvelopeTest, PrintsTheReferencesForm) {
  Envelope e;
  e.id = EnvelopeId{0x8d1fc6650ae2cde2};
  e.kind = DeliveryKind::kMta;
  e.action = "relay";
  e.smtpname = "mx.example.org";
  e.helo = "client.test";
  e.hostname = "localhost";
  e.error_line = "450 4.2.1 Try later";
  e.sockaddr = "127.0.0.1";
  e.sender = {"alice", "mx.example.org"};
  e.rcpt = e.dest = {"temp", "example.net"};
  e.created = absl::FromUnixSeconds(1795324048);
  e.expires = e.created + absl::Hours(96);
  e.last_bounce = absl::FromUnixSeconds(1795324049);
  e.retry = 1;
  e.dsn_notify = kNotifyFailure | kNotifyDelay;
  e.dsn_ret = DsnReturn::kFull;
  e.dsn_envid = "QQ314159";
  e.dsn_orcpt = "rfc822;temp@example.net";
  e.status = {4, 0};
  EXPECT_EQ(EnvelopeToText(e),
            "version: 3\n"
            "dispatcher: relay\n"
            "type: mta\n"
            "smtpname: mx.example.org\n"
            "helo: client.test\n"
            "hostname: localhost\n"
            "errorline: 450 4.2.1 Try later\n"
            "sockaddr: 127.0.0.1\n"
            "sender: alice@mx.example.org\n"
            "rcpt: temp@example.net\n"
            "dest: temp@example.net\n"
            "ctime: 1795324048\n"
            "last-try: 0\n"
            "last-bounce: 1795324049\n"
            "ttl: 345600\n"
            "retry: 1\n"
            "dsn-notify: 6\n"
            "dsn-ret: FULL\n"
            "dsn-envid: QQ314159\n"
            "dsn-orcpt: rfc822;temp@example.net\n"
            "esc-class: 4\n"
            "esc-code: 0\n");
}

TEST(EnvelopeTest, PrintsTheNullSenderAndLocalFields) {
  Envelope e;
  e.kind = DeliveryKind::kMda;
  e.mda_user = "bob";
  e.mda_subaddress = "lists";
  e.flags = kFlagAuthenticated | kFlagBounce | kFlagInternal | kFlagHeld;
  const std::string text = EnvelopeToText(e);
  EXPECT_NE(text.find("sender: @\n"), std::string::npos);
  EXPECT_NE(text.find("flags: authenticated bounce internal\n"),
            std::string::npos);
  EXPECT_NE(text.find("mda-subaddress: lists\nmda-user: bob\n"),
            std::string::npos);
}

TEST(EnvelopeTest, PrintsOurFieldsBehindTheReferences) {
  Envelope e;
  e.created = absl::FromUnixSeconds(1000);
  e.expires = absl::FromUnixSeconds(3000);
  e.flags = kFlagTls | kFlag8BitMime;
  EXPECT_EQ(EnvelopeToText(e).find("extensions"), std::string::npos);
  e.flags |= kFlagRequireTls | kFlagSmtpUtf8 | kFlagBinaryMime;
  e.priority = -3;
  e.hold_until = absl::FromUnixSeconds(2000);
  e.deliver_by = absl::FromUnixSeconds(2500);
  e.deliver_by_trace = true;
  const std::string ours =
      "extensions: requiretls smtputf8 binarymime\n"
      "mt-priority: -3\n"
      "hold-until: 2000\n"
      "deliver-by: 2500;NT\n";
  const std::string text = EnvelopeToText(e);
  ASSERT_GT(text.size(), ours.size());
  EXPECT_EQ(text.substr(text.size() - ours.size()), ours);
  e.flags |= kFlagDeliverByReturn;
  e.deliver_by_trace = false;
  EXPECT_NE(EnvelopeToText(e).find("deliver-by: 2500;R\n"), std::string::npos);
}

TEST(EnvelopeTest, PrintsAttemptsLast) {
  Envelope e;
  e.attempts.resize(2);
  e.attempts[0].began = absl::FromUnixSeconds(1795382280);
  e.attempts[0].took = absl::Milliseconds(1234);
  e.attempts[0].source = "192.0.2.1";
  e.attempts[0].relay = "198.51.100.9 (mx.example.net)";
  e.attempts[0].answer = "451 4.7.1 later\r\nflags: auth";
  e.attempts[1].began = absl::UnixEpoch();
  e.attempts[1].result = Attempt::Result::kInDoubt;
  const std::string text = EnvelopeToText(e);
  const std::string wanted =
      "attempt: 1795382280 took=1.234s result=TempFail source=\"192.0.2.1\" "
      "relay=\"198.51.100.9 (mx.example.net)\" "
      "stat=\"451 4.7.1 later\\r\\nflags: auth\"\n"
      "attempt: 0 took=0.000s result=InDoubt\n";
  ASSERT_GT(text.size(), wanted.size());
  EXPECT_EQ(text.substr(text.size() - wanted.size()), wanted);
}

TEST(EnvelopeTest, StatusesKeepTwoDigitsAndLongDetailsOfSecurity) {
  for (int subject = 0; subject <= 9; ++subject) {
    for (int detail = 0; detail <= 9; ++detail) {
      const EnhancedStatus s = EnhancedStatus::Make(5, subject, detail);
      EXPECT_EQ(s.code, subject * 10 + detail);
      EXPECT_EQ(s.subject(), subject);
      EXPECT_EQ(s.detail(), detail);
    }
  }
  for (int detail = 10; detail <= 165; ++detail) {
    const EnhancedStatus s = EnhancedStatus::Make(5, 7, detail);
    EXPECT_EQ(s.subject(), 7);
    EXPECT_EQ(s.detail(), detail);
  }
  EXPECT_EQ(EnhancedStatus::Make(5, 7, 166).code, 70);
  EXPECT_EQ(EnhancedStatus::Make(5, 1, 10).code, 10);
  EXPECT_EQ(EnhancedStatus::Make(5, 12, 1).code, 0);
}

}  // namespace
}  // namespace holdfast
