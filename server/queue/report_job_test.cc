// What is in a report, and what its envelope asks for.
#include "server/queue/report_job.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/queue/report_test_bed.h"

namespace holdfast {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

using ReportJobTest = ReportTestBed;

TEST_F(ReportJobTest, OfAnEndlessHeaderAPartIsQuoted) {
  std::string raw;
  while (raw.size() < 3 * kMaxQuotedHeaders)
    raw += "X-Filler: " + std::string(90, 'x') + "\n";
  store().AddMessage(kOriginal, raw + "\nbody\n");
  store().AddReport(Report(1));
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  const std::string text = OnlyReport();
  EXPECT_LT(text.size(), kMaxQuotedHeaders + 4096);
  EXPECT_GT(text.size(), kMaxQuotedHeaders / 2);
  EXPECT_THAT(text, HasSubstr("xxx\n\n--"));
  EXPECT_THAT(text, EndsWith("--\n"));
}

// As it came, and said to be what it is, whatever RET.
TEST_F(ReportJobTest, EightBitOriginalsStayAsTheyAre) {
  store().AddMessage(kOriginal, "Subject: gr\xfc\xdf\n\n\xff\xfe\n");
  for (const DsnReturn ret : {DsnReturn::kFull, DsnReturn::kHeaders}) {
    PendingReport report = Report(1);
    report.envelope.dsn_ret = ret;
    store().AddReport(report);
    ReportSender sender(&services_);
    Advance(absl::Seconds(2));
    const std::string text = OnlyReport();
    EXPECT_THAT(text, HasSubstr("\nContent-Transfer-Encoding: 8bit\n"
                                "Message-ID: "));
    EXPECT_THAT(text, HasSubstr(ret == DsnReturn::kFull
                                    ? "Content-Type: message/rfc822\n"
                                      "Content-Transfer-Encoding: 8bit\n\n"
                                      "Subject: gr\xfc\xdf\n\n\xff\xfe\n\n--"
                                    : "Content-Type: text/rfc822-headers\n"
                                      "Content-Transfer-Encoding: 8bit\n\n"
                                      "Subject: gr\xfc\xdf\n\n--"));
    store().accepted.clear();
  }
}

TEST_F(ReportJobTest, AFullReportKeepsEveryByte) {
  PendingReport report = Report(1);
  report.envelope.dsn_ret = DsnReturn::kFull;
  store().AddReport(report);
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  const std::string text = OnlyReport();
  EXPECT_THAT(text, HasSubstr("Content-Type: message/rfc822\n"));
  EXPECT_THAT(text, HasSubstr("\n\nReceived: from x\nSubject: hi\n\n.dot\n"
                              "body text\n\n--"));
}

TEST_F(ReportJobTest, ALargeOriginalIsReturnedWithoutItsBody) {
  for (const bool large : {false, true}) {
    SCOPED_TRACE(large);
    const std::string headers = "Subject: long\n";
    const std::string body(
        kMaxReturnedMessage - headers.size() - 1 + (large ? 1 : 0), 'x');
    store().AddMessage(kOriginal, absl::StrCat(headers, "\n", body));
    PendingReport report = Report(1);
    report.envelope.dsn_ret = DsnReturn::kFull;
    store().AddReport(report);
    ReportSender sender(&services_);
    Advance(absl::Seconds(2));
    const std::string text = OnlyReport();
    EXPECT_EQ(text.size() > kMaxReturnedMessage, !large);
    EXPECT_THAT(text, HasSubstr(large ? "Content-Type: text/rfc822-headers\n"
                                      : "Content-Type: message/rfc822\n"));
    EXPECT_THAT(text, HasSubstr("\nSubject: long\n"));
    store().accepted.clear();
  }
}

// RFC 8689 section 5: a report is protected like the original.
TEST_F(ReportJobTest, AReportOfProtectedMailIsProtectedAndShort) {
  PendingReport report = Report(1);
  report.envelope.dsn_ret = DsnReturn::kFull;
  report.envelope.flags = kFlagRequireTls;
  report.envelope.status = EnhancedStatus::Make(5, 7, 30);
  report.envelope.error_line = "REQUIRETLS support required";
  store().AddReport(report);
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  const std::string text = OnlyReport();
  EXPECT_THAT(text, HasSubstr("\nStatus: 5.7.30\n"));
  EXPECT_THAT(text, HasSubstr("Content-Type: text/rfc822-headers\n"));
  EXPECT_THAT(text, Not(HasSubstr("body text")));
  const Envelope& e = store().accepted[0].envelopes[0];
  EXPECT_EQ(e.flags,
            uint32_t{kFlagBounce | kFlagAuthenticated | kFlagRequireTls});
}

TEST_F(ReportJobTest, OfBinaryMailOnlyTheHeaderIsQuoted) {
  PendingReport report = Report(1);
  report.envelope.dsn_ret = DsnReturn::kFull;
  report.envelope.flags = kFlagBinaryMime;
  store().AddReport(report);
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  EXPECT_THAT(OnlyReport(), Not(HasSubstr("body text")));
  EXPECT_EQ(store().accepted[0].envelopes[0].flags & kFlagBinaryMime, 0u);
}

// RFC 6533: and its envelope needs SMTPUTF8 only if its own address does.
TEST_F(ReportJobTest, InternationalizedMailHasInternationalizedReports) {
  for (const bool sender_too : {false, true}) {
    PendingReport report = Report(1);
    report.envelope.flags = kFlagSmtpUtf8;
    report.envelope.dest.user = "j\xc3\xb6rg";
    if (sender_too) report.envelope.sender.user = "\xe5\xb1\xb1";
    store().AddReport(report);
    ReportSender sender(&services_);
    Advance(absl::Seconds(2));
    const std::string text = OnlyReport();
    EXPECT_THAT(text, HasSubstr("message/global-delivery-status\n"));
    EXPECT_THAT(text,
                HasSubstr("Final-Recipient: utf-8; j\xc3\xb6rg@example.net\n"));
    EXPECT_THAT(text, HasSubstr("message/global-headers\n"));
    const Envelope& e = store().accepted[0].envelopes[0];
    EXPECT_EQ((e.flags & kFlagSmtpUtf8) != 0, sender_too);
    store().accepted.clear();
  }
}

// What is not ASCII in the domain alone can go to any next hop.
TEST_F(ReportJobTest, AnInternationalizedDomainNeedsNoSmtpUtf8) {
  PendingReport report = Report(1);
  report.envelope.sender = {"alice",
                            "b\xc3\xbc"
                            "cher.example"};
  store().AddReport(report);
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  const std::string text = OnlyReport();
  EXPECT_THAT(text, HasSubstr("\tfor <alice@xn--bcher-kva.example>;\n"));
  EXPECT_THAT(text, HasSubstr("\nTo: alice@xn--bcher-kva.example\n"));
  EXPECT_THAT(text, HasSubstr("Content-Type: message/delivery-status\n"));
  const Envelope& e = store().accepted[0].envelopes[0];
  EXPECT_EQ(e.flags & kFlagSmtpUtf8, 0u);
  // Rules and mailboxes know it by its own name.
  EXPECT_EQ(e.rcpt, report.envelope.sender);
  EXPECT_EQ(services_.expanded[0].rcpt, report.envelope.sender);
}

TEST_F(ReportJobTest, TheLastAttemptIsTold) {
  PendingReport report = Report(1);
  report.envelope.attempts.resize(2);
  Attempt& last = report.envelope.attempts.back();
  last.began = absl::FromUnixSeconds(1795324040);
  last.took = absl::Seconds(5);
  last.relay = "192.0.2.9 (mx.example.net)";
  last.answer = "550 No such user";
  store().AddReport(report);
  PendingReport other = Report(2);
  other.envelope.attempts.push_back(last);
  other.envelope.attempts[0].relay = "192.0.2.9";
  store().AddReport(other);
  PendingReport expired = Report(3);
  expired.envelope.attempts.push_back(last);
  expired.envelope.attempts[0].answer = "451 Later";
  store().AddReport(expired);
  PendingReport doubtful = Report(4);
  doubtful.envelope.attempts.push_back({});
  doubtful.envelope.attempts[0].began = absl::UnixEpoch();
  store().AddReport(doubtful);
  PendingReport longer = Report(5);
  longer.envelope.error_line = "554 " + std::string(1000, 'x');
  longer.envelope.attempts.push_back(last);
  longer.envelope.attempts[0].answer =
      longer.envelope.error_line.substr(0, kMaxAttemptAnswer - 3) + "...";
  store().AddReport(longer);
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  const std::string text = OnlyReport();
  EXPECT_THAT(text, HasSubstr("bob4@example.net\nAction: failed\n"
                              "Status: 5.1.1\n"
                              "Diagnostic-Code: smtp; 550 No such user\n\n"));
  EXPECT_THAT(text, HasSubstr("bob5@example.net\nAction: failed\n"
                              "Status: 5.1.1\nRemote-MTA: dns; mx.example.net\n"
                              "Diagnostic-Code: smtp; 554 xxx"));
  EXPECT_THAT(text, HasSubstr("bob1@example.net\nAction: failed\n"
                              "Status: 5.1.1\nRemote-MTA: dns; mx.example.net\n"
                              "Diagnostic-Code: smtp; 550 No such user\n"
                              "Last-Attempt-Date: "));
  EXPECT_THAT(text, HasSubstr("bob2@example.net\nAction: failed\n"
                              "Status: 5.1.1\nRemote-MTA: dns; [192.0.2.9]\n"));
  EXPECT_THAT(text, HasSubstr("bob3@example.net\nAction: failed\n"
                              "Status: 5.1.1\nDiagnostic-Code: "));
}

class ReportWordsTest : public ReportJobTest {
 protected:
  ReportWordsTest() {
    Action("one", "/etc/words", "[failed]\nSubject: %{smtpname}\nOur words\n");
    Action("two", "/etc/words", "[failed]\nSubject: %{smtpname}\nOur words\n");
    Action("three", "/etc/other", "[delayed]\nLate\n");
  }

  void Action(const std::string& name, const std::string& path,
              absl::string_view text) {
    holdfast::Action& action = services_.config_.actions[name];
    action.bounce_text = path;
    action.report_text = std::make_shared<const ReportText>(
        std::get<ReportText>(ReportText::Parse(text)));
  }

  void Add(uint32_t low, const std::string& action) {
    PendingReport report = Report(low);
    report.envelope.action = action;
    store().AddReport(report);
  }
};

TEST_F(ReportWordsTest, AreThoseOfTheFailedEnvelopesAction) {
  Add(1, "one");
  Add(2, "two");
  Add(3, "three");
  Add(4, "no more configured");
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  // One for those of the first file; one of the second, which has no words for
  // failures; one without.
  ASSERT_THAT(store().accepted, SizeIs(3));
  EXPECT_THAT(store().reports, IsEmpty());
  int ours = 0;
  for (const AcceptMessage& a : store().accepted) {
    const std::string text = store().TextOf(a.message);
    if (text.find("\n\nOur words\n\n--") == std::string::npos) {
      EXPECT_THAT(text, HasSubstr("Subject: Delivery status notification"));
      continue;
    }
    ++ours;
    EXPECT_THAT(text, HasSubstr("\nSubject: in.example.org\nFrom: Mailer"));
    EXPECT_THAT(text, HasSubstr("Final-Recipient: rfc822; bob1@"));
    EXPECT_THAT(text, HasSubstr("Final-Recipient: rfc822; bob2@"));
    EXPECT_THAT(text, Not(HasSubstr("Hi!")));
  }
  EXPECT_EQ(ours, 1);
}

// They could be too much for the one chunk that there is room for.
TEST_F(ReportWordsTest, AreLeftOutWhileTheStoreIsFull) {
  store().accepting = false;
  Add(1, "one");
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  EXPECT_THAT(OnlyReport(), HasSubstr("\n    Hi!\n"));
}

TEST_F(ReportJobTest, ADeliverByTimeIsNamed) {
  PendingReport report = Report(1);
  report.key.kind = ReportKind::kDelayed;
  report.envelope.deliver_by = report.envelope.created + absl::Hours(2);
  report.envelope.last_bounce = report.envelope.deliver_by;
  report.envelope.status = {4, 47};
  report.envelope.error_line = "Delivery time expired, continuing";
  store().AddReport(report);
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  const std::string text = OnlyReport();
  EXPECT_THAT(text, HasSubstr("delayed for more than 2 hours"));
  EXPECT_THAT(text, HasSubstr("\nDeliver-By-Date: "));
  EXPECT_THAT(text, HasSubstr("\nStatus: 4.4.7\n"));
}

TEST_F(ReportJobTest, ADamagedOriginalIsReportedWithoutQuoting) {
  store().messages[kOriginal].chunks[0][5] ^= 0x55;
  store().messages[kOriginal].row.body.digest ^= 1;
  store().AddReport(Report(1));
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  EXPECT_THAT(OnlyReport(), HasSubstr("text/rfc822-headers\n\n\n--"));
  EXPECT_THAT(store().reports, IsEmpty());
}

}  // namespace
}  // namespace holdfast
