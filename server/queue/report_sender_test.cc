#include "server/queue/report_sender.h"

#include <algorithm>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/queue/report_test_bed.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

using ReportSenderTest = ReportTestBed;

TEST_F(ReportSenderTest, RecipientsOfOneMessageBecomeOneReport) {
  ReportSender sender(&services_);
  store().AddReport(Report(1));
  sender.OnReportsAdded();
  Advance(absl::Milliseconds(600));
  store().AddReport(Report(2));
  sender.OnReportsAdded();
  Advance(absl::Milliseconds(600));
  EXPECT_THAT(store().accepted, IsEmpty());
  Advance(absl::Seconds(1));

  const std::string text = OnlyReport();
  EXPECT_THAT(text, StartsWith("Received: from in.example.org "
                               "(mx.example.org [local])\n\tby mx.example.org "
                               "(Holdfast) with ESMTPA id 10000000\n"
                               "\tfor <alice@example.com>;\n"));
  EXPECT_THAT(text, HasSubstr("\nSubject: Delivery status notification: "
                              "failed\n"));
  EXPECT_THAT(text, HasSubstr("\nMessage-ID: <"));
  EXPECT_THAT(text, HasSubstr("bob1@example.net: 550 No such user\n"
                              "bob2@example.net: 550 No such user\n"));
  EXPECT_THAT(text, HasSubstr("text/rfc822-headers\nContent-Transfer-Encoding: "
                              "8bit\n\nReceived: from x\n"
                              "Subject: hi\n\n--"));
  EXPECT_THAT(text, Not(HasSubstr("body text")));
  EXPECT_THAT(store().reports, IsEmpty());
  const AcceptMessage& accept = store().accepted[0];
  EXPECT_THAT(accept.settles, SizeIs(2));
  ASSERT_THAT(accept.envelopes, SizeIs(1));
  const Envelope& e = accept.envelopes[0];
  EXPECT_TRUE(e.sender.IsNull());
  EXPECT_EQ(e.flags & kFlagBounce, kFlagBounce);
  EXPECT_EQ(e.rcpt.ToString(), "alice@example.com");
  EXPECT_EQ(e.sockaddr, "local");
  EXPECT_EQ(MessageOf(e.id), accept.message);
  ASSERT_THAT(services_.expanded, SizeIs(1));
  EXPECT_EQ(services_.expanded[0].sockaddr, "local");
  EXPECT_EQ(services_.expanded[0].helo, "in.example.org");
  EXPECT_TRUE(services_.expanded[0].authenticated);
  EXPECT_TRUE(services_.expanded[0].sender.IsNull());
}

TEST_F(ReportSenderTest, KindsAndMessagesAreNotMixed) {
  store().AddMessage(MessageId(0xb02), "Subject: two\n\nx\n");
  store().AddReport(Report(1));
  PendingReport delayed = Report(2);
  delayed.key.kind = ReportKind::kDelayed;
  delayed.envelope.last_bounce = delayed.envelope.created + absl::Hours(4);
  store().AddReport(delayed);
  store().AddReport(Report(1, MessageId(0xb02)));
  ReportSender sender(&services_);  // finds them at start
  Advance(absl::Seconds(2));
  ASSERT_THAT(store().accepted, SizeIs(3));
  EXPECT_THAT(store().reports, IsEmpty());
  std::string all;
  for (const AcceptMessage& a : store().accepted)
    all += store().TextOf(a.message);
  EXPECT_THAT(all, HasSubstr("delayed for more than 4 hours"));
  EXPECT_THAT(all, HasSubstr("in the queue for up to 4 days."));
  EXPECT_THAT(all, HasSubstr("Subject: two\n\n--"));
}

// docs/ARCHITECTURE.md: memory is bounded whatever the size of the original.
TEST_F(ReportSenderTest, ALargeOriginalIsStreamed) {
  std::mt19937 random(1);
  std::string raw = "Subject: large\n\n";
  // As large as is returned whole.
  while (raw.size() + 100 < kMaxReturnedMessage) {
    for (int i = 0; i < 70; ++i)
      raw.push_back(static_cast<char>('!' + random() % 90));
    raw.push_back('\n');
  }
  store().AddMessage(kOriginal, raw);
  PendingReport report = Report(1);
  report.envelope.dsn_ret = DsnReturn::kFull;
  store().AddReport(report);
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  EXPECT_THAT(OnlyReport(), HasSubstr(raw + "\n--"));
  EXPECT_GT(store().accepted[0].body.chunks, 8u) << "more than in a batch";
  EXPECT_THAT(store().accepted[0].stored, IsEmpty());
  EXPECT_LE(store().max_chunks_in_batch, 8u);
  EXPECT_THAT(store().incoming, IsEmpty());
}

TEST_F(ReportSenderTest, WithoutRoomTheHeadersGoAlone) {
  std::mt19937 random(1);
  std::string raw = "Subject: large\n\n";
  while (raw.size() < (1 << 20))
    raw.push_back(static_cast<char>('!' + random() % 90));
  store().AddMessage(kOriginal, raw);
  store().room = 10000;
  PendingReport report = Report(1);
  report.envelope.dsn_ret = DsnReturn::kFull;
  store().AddReport(report);
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  EXPECT_THAT(OnlyReport(),
              HasSubstr("text/rfc822-headers\nContent-Transfer-Encoding: "
                        "8bit\n\nSubject: large\n\n--"));
  EXPECT_THAT(store().incoming, IsEmpty());
  EXPECT_THAT(store().reports, IsEmpty());
}

TEST_F(ReportSenderTest, NoRoomAtAllIsTriedAgain) {
  store().room = 10;
  store().AddReport(Report(1));
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  EXPECT_THAT(store().accepted, IsEmpty());
  EXPECT_THAT(store().reports, SizeIs(1));
  store().room = 1 << 20;
  Advance(absl::Seconds(11));
  EXPECT_THAT(store().accepted, SizeIs(1));
}

// docs/ARCHITECTURE.md: expiry always frees space.
TEST_F(ReportSenderTest, AFullStoreTakesSmallReportsOneAtATime) {
  store().accepting = false;
  std::string raw;
  for (int i = 0; i < 2000; ++i)
    absl::StrAppend(&raw, "X-Filler-", i, ": ", std::string(900, 'x'), "\n");
  store().AddMessage(kOriginal, raw + "\nbody\n");
  for (uint32_t low = 1; low <= 30; ++low) {
    PendingReport report = Report(low);
    report.envelope.error_line = "550 " + std::string(2000, 'e');
    report.envelope.dsn_ret = DsnReturn::kFull;
    store().AddReport(report);
  }
  ReportSender sender(&services_);
  Advance(absl::Seconds(3));
  EXPECT_THAT(store().reports, IsEmpty());
  ASSERT_THAT(store().accepted, SizeIs(3));
  for (const AcceptMessage& a : store().accepted) {
    EXPECT_EQ(a.body.chunks, 1u);
    EXPECT_LE(a.body.raw_bytes, kSmallBodyBytes);
    EXPECT_LE(a.settles.size(), kMaxSmallRecipients);
  }
  EXPECT_EQ(store().max_chunks_in_batch, 0u);
}

TEST_F(ReportSenderTest, TemporaryRefusalsWaitLongerEachTime) {
  services_.expand = [](const ExpandRequest&) {
    ExpandAnswer answer;
    answer.refusal = "451 Temporary failure";
    return answer;
  };
  store().AddReport(Report(1));
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  EXPECT_THAT(services_.expanded, SizeIs(1));
  Advance(absl::Seconds(10));
  EXPECT_THAT(services_.expanded, SizeIs(2));
  Advance(absl::Seconds(38));
  EXPECT_THAT(services_.expanded, SizeIs(2));
  Advance(absl::Seconds(3));
  EXPECT_THAT(services_.expanded, SizeIs(3));
  EXPECT_THAT(store().reports, SizeIs(1));
  // Until the queue's ttl: then nobody can be told.
  Advance(absl::Hours(24 * 30));
  EXPECT_THAT(store().reports, IsEmpty());
  EXPECT_THAT(store().accepted, IsEmpty());
}

TEST_F(ReportSenderTest, APermanentRefusalDropsTheReport) {
  services_.expand = [](const ExpandRequest&) {
    ExpandAnswer answer;
    answer.refusal = "550 Invalid recipient";
    return answer;
  };
  store().AddReport(Report(1));
  store().AddReport(Report(2));
  ReportSender sender(&services_);
  testing::internal::CaptureStderr();
  Advance(absl::Seconds(2));
  EXPECT_THAT(
      testing::internal::GetCapturedStderr(),
      HasSubstr("warn: PermFail injecting failure report on message 00000a01 "
                "to <alice@example.com> for 2 envelopes: 550 Invalid "
                "recipient: <alice@example.com>\n"));
  EXPECT_THAT(store().reports, IsEmpty());
  EXPECT_THAT(services_.expanded, SizeIs(1));
}

TEST_F(ReportSenderTest, NobodyToTell) {
  PendingReport report = Report(1);
  report.envelope.sender = {};
  store().AddReport(report);
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  EXPECT_THAT(store().reports, IsEmpty());
  EXPECT_THAT(store().accepted, IsEmpty());
}

TEST_F(ReportSenderTest, WaitsWhileSmtpIsPaused) {
  services_.SetSmtpPaused(true);
  store().AddReport(Report(1));
  ReportSender sender(&services_);
  Advance(absl::Seconds(30));
  EXPECT_THAT(store().accepted, IsEmpty());
  services_.SetSmtpPaused(false);
  Advance(absl::Seconds(11));
  EXPECT_THAT(store().accepted, SizeIs(1));
}

TEST_F(ReportSenderTest, ManyMessagesGoThroughAWindow) {
  for (uint32_t i = 1; i <= 2500; ++i) {
    const MessageId id{0x20000 + i};
    store().AddMessage(id, absl::StrCat("Subject: ", i, "\n\n"));
    store().AddReport(Report(1, id));
    store().AddReport(Report(2, id));
  }
  ReportSender sender(&services_);
  Advance(absl::Seconds(3));
  EXPECT_THAT(store().accepted, SizeIs(2500));
  EXPECT_THAT(store().reports, IsEmpty());
  for (const AcceptMessage& a : store().accepted)
    ASSERT_THAT(a.settles, SizeIs(2));
}

TEST_F(ReportSenderTest, DroppedInTheMiddleItTouchesNothing) {
  store().AddReport(Report(1));
  auto sender = std::make_unique<ReportSender>(&services_);
  services_.loop()->Advance(absl::Seconds(1));
  sender.reset();
  Advance(absl::Seconds(5));
  EXPECT_LE(store().accepted.size(), 1u);
  EXPECT_EQ(store().accepted.size() + store().reports.size(), 1u);
}

}  // namespace
}  // namespace holdfast
