#include "protocol/delivery_report.h"

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

DeliveryReport Failed() {
  DeliveryReport report;
  report.smtpname = "mx.example.org";
  report.to = {"alice", "example.com"};
  report.date = absl::FromUnixSeconds(1795324049);
  report.arrival = absl::FromUnixSeconds(1795324040);
  report.boundary = 1234567890123456789u;
  report.recipients.push_back({{"bob", "example.net"},
                               "",
                               {5, 11},
                               "550 5.1.1 No such user",
                               absl::UnixEpoch()});
  return report;
}

TEST(DeliveryReport, Failed) {
  EXPECT_EQ(ReportHead(Failed()) + "Subject: hello\n" + ReportTail(Failed()),
            R"(Subject: Delivery status notification: failed
From: Mailer Daemon <MAILER-DAEMON@mx.example.org>
To: alice@example.com
Date: Sun, 22 Nov 2026 05:07:29 +0000 (UTC)
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="1234567890123456789/mx.example.org"

This is a MIME-encapsulated message.

--1234567890123456789/mx.example.org
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

    Hi!

    This is the MAILER-DAEMON, please DO NOT REPLY to this email.

    An error has occurred while attempting to deliver a message for
    the following list of recipients:

bob@example.net: 550 5.1.1 No such user

    Below is a copy of the original message:

--1234567890123456789/mx.example.org
Content-Description: Delivery Report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org
Arrival-Date: Sun, 22 Nov 2026 05:07:20 +0000 (UTC)

Final-Recipient: rfc822; bob@example.net
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 No such user

--1234567890123456789/mx.example.org
Content-Description: Message headers
Content-Type: text/rfc822-headers

Subject: hello

--1234567890123456789/mx.example.org--
)");
}

TEST(DeliveryReport, DelayedSaysTheRealTimes) {
  DeliveryReport report = Failed();
  report.action = ReportAction::kDelayed;
  report.delay = absl::Hours(4);
  report.ttl = absl::Hours(96);
  report.dsn_envid = "QQ+2B314";
  report.recipients[0].dsn_orcpt = "rfc822;Bob+40example.net";
  report.recipients[0].status = {4, 0};
  report.recipients[0].error_line = "Network error on destination MXs";
  report.recipients[0].expires = absl::FromUnixSeconds(1795324040 + 345600);
  const std::string head = ReportHead(report);
  EXPECT_THAT(head, HasSubstr(R"(
    A message is delayed for more than 4 hours for the following
    list of recipients:

bob@example.net: Network error on destination MXs

    Please note that this is only a temporary failure report.
    The message is kept in the queue for up to 4 days.
    You DO NOT NEED to re-send the message to these recipients.

    Below is a copy of the original message:

--)"));
  EXPECT_THAT(head, HasSubstr(R"(
Original-Envelope-Id: QQ+314
Reporting-MTA: dns; mx.example.org
Arrival-Date: Sun, 22 Nov 2026 05:07:20 +0000 (UTC)

Original-Recipient: rfc822; Bob@example.net
Final-Recipient: rfc822; bob@example.net
Action: delayed
Status: 4.0.0
Diagnostic-Code: x-holdfast; Network error on destination MXs
Will-Retry-Until: Thu, 26 Nov 2026 05:07:20 +0000 (UTC)

)"));
}

TEST(DeliveryReport, SuccessHasAnEmptyLineBehindTheAddress) {
  DeliveryReport report = Failed();
  report.action = ReportAction::kDelivered;
  report.recipients[0].status = {2, 0};
  report.recipients[0].error_line = "";
  EXPECT_THAT(ReportHead(report), HasSubstr(R"(
    Your message was successfully delivered to these recipients.

bob@example.net: 

    Below)"));
  EXPECT_THAT(ReportHead(report), HasSubstr("Action: delivered\nStatus: "
                                            "2.0.0\n\n--"));
  report.action = ReportAction::kRelayed;
  EXPECT_THAT(ReportHead(report),
              HasSubstr("    Your message was relayed to these recipients.\n"));
}

TEST(DeliveryReport, TheStatusAgreesWithTheAction) {
  DeliveryReport report = Failed();
  report.recipients[0].status = {4, 47};
  EXPECT_THAT(ReportHead(report), HasSubstr("\nStatus: 5.4.7\n"));
  report.recipients[0].status = {0, 200};
  EXPECT_THAT(ReportHead(report), HasSubstr("\nStatus: 5.0.0\n"));
}

TEST(DeliveryReport, FullIsAMessage) {
  DeliveryReport report = Failed();
  report.full = true;
  report.eight_bit = true;
  report.message_id = "0011223344556677@mx.example.org";
  const std::string head = ReportHead(report);
  EXPECT_THAT(head, HasSubstr("Content-Description: Original message\n"
                              "Content-Type: message/rfc822\n"
                              "Content-Transfer-Encoding: 8bit\n\n"));
  EXPECT_THAT(
      head, HasSubstr("mx.example.org\"\n"
                      "Content-Transfer-Encoding: 8bit\n"
                      "Message-ID: <0011223344556677@mx.example.org>\n\nThis"));
}

TEST(DeliveryReport, RepliesAreForPeople) {
  DeliveryReport report = Failed();
  report.recipients[0].error_line = "550-5.1.1 No such user";
  EXPECT_THAT(ReportHead(report),
              HasSubstr("bob@example.net: 550 5.1.1 No such user\n"));
  report.recipients[0].error_line = "110 Loop detected";
  EXPECT_THAT(ReportHead(report), HasSubstr("bob@example.net: Loop detected"));
}

// RFC 3464 sections 2.3.5 and 2.3.7.
TEST(DeliveryReport, SaysWhoRefusedAndWhen) {
  DeliveryReport report = Failed();
  report.recipients[0].remote_mta = "mx.example.net";
  report.recipients[0].last_attempt = absl::FromUnixSeconds(1795324045);
  EXPECT_THAT(ReportHead(report),
              HasSubstr("\nStatus: 5.1.1\n"
                        "Remote-MTA: dns; mx.example.net\n"
                        "Diagnostic-Code: smtp; 550 5.1.1 No such user\n"
                        "Last-Attempt-Date: Sun, 22 Nov 2026 05:07:25 +0000 "
                        "(UTC)\n\n--"));
  // What we found ourselves nobody has said.
  report.recipients[0].error_line =
      "certificate verification failed: self-signed certificate";
  EXPECT_THAT(ReportHead(report), Not(HasSubstr("Remote-MTA")));
  EXPECT_THAT(
      ReportHead(report),
      HasSubstr("\nDiagnostic-Code: x-holdfast; certificate verification "
                "failed: self-signed certificate\n"));
}

TEST(DeliveryReport, ManyRecipients) {
  DeliveryReport report = Failed();
  report.recipients.push_back({{"carol", "example.net"},
                               "rfc822;list+40x.test",
                               {5, 22},
                               "552-5.2.2 Mailbox full",
                               absl::UnixEpoch()});
  const std::string head = ReportHead(report);
  EXPECT_THAT(head, HasSubstr("\n\nbob@example.net: 550 5.1.1 No such user\n"
                              "carol@example.net: 552 5.2.2 Mailbox full\n\n"));
  EXPECT_THAT(head, HasSubstr("\n\nFinal-Recipient: rfc822; bob@example.net\n"
                              "Action: failed\nStatus: 5.1.1\n"
                              "Diagnostic-Code: smtp; 550 5.1.1 No such user\n"
                              "\nOriginal-Recipient: rfc822; list@x.test\n"
                              "Final-Recipient: rfc822; carol@example.net\n"
                              "Action: failed\nStatus: 5.2.2\n"
                              "Diagnostic-Code: smtp; 552 5.2.2 Mailbox full\n"
                              "\n--"));
}

TEST(DeliveryReport, NoLineIsTooLongForSmtp) {
  DeliveryReport report = Failed();
  report.recipients[0].dest = {std::string(255, 'u'), std::string(255, 'd')};
  report.recipients[0].error_line = "550 " + std::string(2000, 'e');
  for (const absl::string_view line : absl::StrSplit(ReportHead(report), '\n'))
    EXPECT_LE(line.size(), 998u);
}

ReportText Parsed(absl::string_view text) {
  return std::get<ReportText>(ReportText::Parse(text));
}

TEST(DeliveryReport, InTheAdministratorsWords) {
  DeliveryReport report = Failed();
  const ReportText text = Parsed(
      "[failed]\nSubject: \xc3\x9c"
      "ber %{smtpname}\n\n"
      "Ihre Nachricht (%{envid}) f\xc3\xbcr\n\n    %{recipients}\n\n"
      "%{sender}: 100 %%\n\n[delayed]\nplain\n");
  report.dsn_envid = "QQ+2B1";
  report.words = text.For(ReportAction::kFailed);
  const std::string head = ReportHead(report);
  EXPECT_THAT(head, StartsWith("Subject: =?utf-8?B?w5xiZXIgbXguZXhhbXBsZS5vcmc="
                               "?=\nFrom: Mailer Daemon"));
  EXPECT_THAT(head, HasSubstr("\nContent-Transfer-Encoding: 8bit\n\nThis is"));
  EXPECT_THAT(head,
              HasSubstr("Content-Type: text/plain; charset=utf-8\n"
                        "Content-Transfer-Encoding: 8bit\n\n"
                        "Ihre Nachricht (QQ+1) f\xc3\xbcr\n\n"
                        "    bob@example.net: 550 5.1.1 No such user\n\n"
                        "alice@example.com: 100 %\n\n--1234567890123456789/"));
  EXPECT_THAT(head, Not(HasSubstr("Hi!")));
  // ASCII stays what it is.
  report.words = text.For(ReportAction::kDelayed);
  EXPECT_THAT(ReportHead(report),
              HasSubstr("Content-Type: text/plain; charset=us-ascii\n\n"
                        "plain\n\n--"));
  EXPECT_THAT(ReportHead(report),
              StartsWith("Subject: Delivery status notification: failed\n"));
}

TEST(DeliveryReport, NothingFromOutsideMakesALineOfTheWords) {
  DeliveryReport report = Failed();
  const ReportText text =
      Parsed("[failed]\nSubject: %{sender}: %{reason}\n%{reason} %{sender}\n");
  report.words = text.For(ReportAction::kFailed);
  report.to = {"=?utf-8?B?YQ==?=\nBcc: c", "example.com"};
  report.recipients[0].error_line =
      "550 a\r\n\r\n--1234567890123456789/mx.example.org\r\nX-Bad: 1";
  const std::string head = ReportHead(report);
  EXPECT_THAT(head, StartsWith("Subject: =?utf-8?B?PT91"));
  EXPECT_THAT(head, Not(HasSubstr("\nX-Bad")));
  EXPECT_THAT(head, Not(HasSubstr("\nBcc")));
  EXPECT_THAT(head,
              HasSubstr("550 a\?\?\?\?--1234567890123456789/mx.example.org\?\?"
                        "X-Bad: 1 =?utf-8?B?YQ==?=?Bcc: c@example.com\n"));
}

TEST(DeliveryReport, NothingFromOutsideMakesALine) {
  DeliveryReport report = Failed();
  report.to = {"a\r\nBcc: c", "example.com"};
  report.smtpname = "mx\nX-Bad: 1";
  report.dsn_envid = "x+0D+0AX-Bad: 1";
  report.recipients[0].dest.user = "b\nX-Bad: 1";
  report.recipients[0].dsn_orcpt = "rfc822;x+0AX-Bad: 1";
  report.recipients[0].error_line =
      "550 \xff\x1b[31m\r\nX-Bad: 1" + std::string(5000, 'x');
  const std::string head = ReportHead(report);
  EXPECT_THAT(head, Not(HasSubstr("\nX-Bad")));
  EXPECT_THAT(head, Not(HasSubstr("\nBcc")));
  EXPECT_THAT(head, Not(HasSubstr("\r")));
  EXPECT_THAT(head, HasSubstr("550 ??[31m??X-Bad: 1xxx"));
  EXPECT_LT(head.size(), 6000u);
  EXPECT_THAT(head, HasSubstr("xxx...\n"));
}

TEST(DeliveryReport, ABoundaryIsAtMost70Long) {
  DeliveryReport report = Failed();
  report.smtpname = std::string(200, 'a') + ".org";
  EXPECT_EQ(ReportTail(report).size(), 3 + 70 + 3u);
}

TEST(DeliveryReport, MalformedXtextStaysAsItIs) {
  DeliveryReport report = Failed();
  report.dsn_envid = "a+2Bb";
  EXPECT_THAT(ReportHead(report), HasSubstr("Original-Envelope-Id: a+b\n"));
  report.dsn_envid = "+GG+4";
  EXPECT_THAT(ReportHead(report), HasSubstr("Original-Envelope-Id: +GG+4\n"));
}

TEST(DeliveryReport, SecurityStatusesHaveLongDetails) {
  DeliveryReport report = Failed();
  report.recipients[0].status = EnhancedStatus::Make(5, 7, 30);
  EXPECT_THAT(ReportHead(report), HasSubstr("\nStatus: 5.7.30\n"));
}

TEST(DeliveryReport, SaysByWhenItWasWanted) {
  DeliveryReport report = Failed();
  report.deliver_by = absl::FromUnixSeconds(1795324045);
  EXPECT_THAT(ReportHead(report),
              HasSubstr("\nDeliver-By-Date: Sun, 22 Nov 2026 05:07:25 +0000 "
                        "(UTC)\n\nFinal-Recipient"));
}

TEST(DeliveryReport, QuotedLocalPartsStayAsTheyAre) {
  DeliveryReport report = Failed();
  report.recipients[0].dest = {R"("a \"b\\ c@d")", "example.net"};
  EXPECT_THAT(
      ReportHead(report),
      HasSubstr(
          "\nFinal-Recipient: rfc822; \"a \\\"b\\\\ c@d\"@example.net\n"));
}

// RFC 6533.
TEST(DeliveryReport, InternationalizedMailIsReportedInUtf8) {
  DeliveryReport report = Failed();
  report.utf8 = true;
  report.to = {"j\xc3\xb6rg", "example.com"};
  report.recipients[0].dest = {"\xe5\xb1\xb1",
                               "b\xc3\xbc"
                               "cher.example"};
  report.recipients[0].dsn_orcpt =
      "utf-8;\\x{5C71}\\x{1F600}@b\xc3\xbc.example";
  report.recipients[0].error_line = "550 5.1.1 Gibt\xe2\x80\x99s nicht";
  report.recipients.push_back(
      {{"bob", "example.net"}, "rfc822;b", {5, 11}, "", absl::UnixEpoch()});
  const std::string head = ReportHead(report);
  EXPECT_THAT(head, HasSubstr("\nTo: j\xc3\xb6rg@example.com\n"));
  EXPECT_THAT(head, HasSubstr("report-type=global-delivery-status;\n"));
  EXPECT_THAT(head, HasSubstr("Content-Type: text/plain; charset=utf-8\n"
                              "Content-Transfer-Encoding: 8bit\n\n"));
  EXPECT_THAT(head, HasSubstr("Content-Type: message/global-delivery-status\n"
                              "Content-Transfer-Encoding: 8bit\n\nReporting"));
  EXPECT_THAT(
      head,
      HasSubstr("\nOriginal-Recipient: utf-8; "
                "\xe5\xb1\xb1\xf0\x9f\x98\x80@b\xc3\xbc.example\n"
                "Final-Recipient: utf-8; \xe5\xb1\xb1@b\xc3\xbc"
                "cher.example\n"
                "Action: failed\nStatus: 5.1.1\n"
                "Diagnostic-Code: smtp; 550 5.1.1 Gibt\xe2\x80\x99s nicht\n"));
  EXPECT_THAT(head, HasSubstr("\nOriginal-Recipient: rfc822; b\n"
                              "Final-Recipient: rfc822; bob@example.net\n"));
  EXPECT_THAT(head, HasSubstr("Content-Type: message/global-headers\n"
                              "Content-Transfer-Encoding: 8bit\n\n"));
  report.full = true;
  EXPECT_THAT(ReportHead(report), HasSubstr("Content-Type: message/global\n"));
}

// It then needs no SMTPUTF8 on its way.
TEST(DeliveryReport, ADomainAloneGoesAsALabels) {
  DeliveryReport report = Failed();
  report.utf8 = true;
  report.to = {"joe",
               "b\xc3\xbc"
               "cher.example"};
  EXPECT_THAT(ReportHead(report),
              HasSubstr("\nTo: joe@xn--bcher-kva.example\n"));
}

// RFC 6533 section 3: in a report of ASCII the characters stay encoded.
TEST(DeliveryReport, AnInternationalizedOrcptInAnAsciiReport) {
  DeliveryReport report = Failed();
  report.recipients[0].dsn_orcpt = "utf-8;\\x{5C71}@example.net";
  EXPECT_THAT(
      ReportHead(report),
      HasSubstr("\nOriginal-Recipient: utf-8; \\x{5C71}@example.net\n"));
}

TEST(DeliveryReport, WhatIsNotUtf8DoesNotBecomeSo) {
  DeliveryReport report = Failed();
  report.utf8 = true;
  report.recipients[0].dest = {"\xff\xc3", "example.net"};
  report.recipients[0].error_line = std::string(511, 'x') + "\xc3\xb6\xc3\xb6";
  report.recipients[0].dsn_orcpt = "utf-8;\\x{D}\\x{110000}\\x{}\\x{D800}@b";
  const std::string head = ReportHead(report);
  EXPECT_THAT(head, HasSubstr("\nFinal-Recipient: rfc822; ??@example.net\n"));
  EXPECT_THAT(head, HasSubstr(std::string(509, 'x') + "...\n"));
  EXPECT_THAT(head, Not(HasSubstr("\r")));
}

}  // namespace
}  // namespace holdfast
