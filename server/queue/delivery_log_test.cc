#include "server/queue/delivery_log.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

const absl::Time kCreated = absl::FromUnixSeconds(1795324048);

Envelope Relayed() {
  Envelope e;
  e.id = EnvelopeId(0x686036a322ceea0e);
  e.kind = DeliveryKind::kMta;
  e.sender = {"sender", "example.com"};
  e.rcpt = e.dest = {"ok", "example.net"};
  e.created = kCreated;
  return e;
}

TEST(DeliveryLogTest, Delays) {
  EXPECT_EQ(FormatDelay(absl::ZeroDuration()), "0s");
  EXPECT_EQ(FormatDelay(absl::Milliseconds(999)), "0s");
  EXPECT_EQ(FormatDelay(absl::Seconds(-3)), "0s");
  EXPECT_EQ(FormatDelay(absl::Seconds(11)), "11s");
  EXPECT_EQ(FormatDelay(absl::Seconds(3600)), "1h");
  EXPECT_EQ(FormatDelay(absl::Seconds(86400 + 2 * 3600 + 3 * 60 + 4)),
            "1d2h3m4s");
  EXPECT_EQ(FormatDelay(absl::Seconds(86404)), "1d4s");
}

TEST(DeliveryLogTest, RelayLineAsTheManualShowsIt) {
  EXPECT_EQ(DeliveryLogLine(
                Relayed(),
                {SessionId(0x103e0bd9bfd81d8e), "127.0.0.1",
                 "127.0.0.1 (localhost)", "Ok", "250 2.0.0 queued as SINK1"},
                kCreated),
            "103e0bd9bfd81d8e mta delivery evpid=686036a322ceea0e "
            "from=<sender@example.com> to=<ok@example.net> rcpt=<-> "
            "source=\"127.0.0.1\" relay=\"127.0.0.1 (localhost)\" delay=0s "
            "result=\"Ok\" stat=\"250 2.0.0 queued as SINK1\"");
}

TEST(DeliveryLogTest, RelayLineWithoutASession) {
  Envelope e = Relayed();
  e.dest = {"x", "refused.test"};
  e.rcpt = e.dest;
  EXPECT_EQ(DeliveryLogLine(e,
                            {SessionId(0), "", "", "TempFail",
                             "Network error on destination MXs"},
                            kCreated + absl::Seconds(11)),
            "0000000000000000 mta delivery evpid=686036a322ceea0e "
            "from=<sender@example.com> to=<x@refused.test> rcpt=<-> "
            "source=\"-\" relay=\"refused.test\" delay=11s "
            "result=\"TempFail\" stat=\"Network error on destination MXs\"");
}

TEST(DeliveryLogTest, LocalLineHasNoQuotesAndTheRealRecipient) {
  Envelope e = Relayed();
  e.kind = DeliveryKind::kMda;
  e.mda_user = "bob";
  EXPECT_EQ(DeliveryLogLine(
                e, {SessionId(0x815434722aaa7757), "", "", "Ok", "Delivered"},
                kCreated),
            "815434722aaa7757 mda delivery evpid=686036a322ceea0e "
            "from=<sender@example.com> to=<ok@example.net> "
            "rcpt=<ok@example.net> user=bob delay=0s result=Ok stat=Delivered");
}

TEST(DeliveryLogTest, NullSenderAndRewrittenRecipient) {
  Envelope e = Relayed();
  e.sender = {};
  e.rcpt = {"alias", "here.test"};
  const std::string line = DeliveryLogLine(
      e, {SessionId(1), "", "", "PermFail", "550 no"}, kCreated);
  EXPECT_NE(line.find(" from=<> to=<ok@example.net> rcpt=<alias@here.test> "),
            std::string::npos);
  EXPECT_EQ(EndingLogLine(e, "Remove", "Removed by administrator",
                          kCreated + absl::Seconds(7)),
            "relay: Remove for 686036a322ceea0e: from=<@>, "
            "to=<ok@example.net>, rcpt=<alias@here.test>, delay=7s, "
            "stat=Removed by administrator");
  e.kind = DeliveryKind::kMda;
  EXPECT_EQ(
      EndingLogLine(e, "Expire", "Envelope expired", kCreated).substr(0, 21),
      "delivery: Expire for ");
}

TEST(DeliveryLogTest, RepliesCannotForgeLines) {
  const std::string line = DeliveryLogLine(
      Relayed(),
      {SessionId(1), "", "evil\r\n", "TempFail", "450 a\r\nfake \x1b[2J"},
      kCreated);
  for (const char c : line) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
}

}  // namespace
}  // namespace holdfast
