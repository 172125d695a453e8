#include "server/queue/report_sender.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/queue/fake_queue.h"

namespace holdfast {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr MessageId kOriginal{0x00000a01};

class ReportSenderTest : public ::testing::Test {
 protected:
  ReportSenderTest() {
    store().AddMessage(kOriginal,
                       "Received: from x\nSubject: hi\n\n.dot\nbody text\n");
  }

  FakeQueueStore& store() { return *services_.store(); }

  PendingReport Report(uint32_t low, MessageId message = kOriginal) {
    PendingReport report;
    report.key.envelope = MakeEnvelopeId(message, low);
    Envelope& e = report.envelope;
    e.id = report.key.envelope;
    e.smtpname = "in.example.org";
    e.sender = {"alice", "example.com"};
    e.dest = {absl::StrCat("bob", low), "example.net"};
    e.rcpt = e.dest;
    e.created = services_.loop()->Now() - absl::Hours(5);
    e.expires = e.created + absl::Hours(96);
    e.status = {5, 11};
    e.error_line = "550 No such user";
    report.added = services_.loop()->Now();
    return report;
  }

  void Advance(absl::Duration d) {
    services_.loop()->Advance(d);
    services_.loop()->RunReady();
  }

  std::string OnlyReport() {
    if (store().accepted.size() != 1)
      return absl::StrCat(store().accepted.size(), " reports");
    return store().TextOf(store().accepted[0].message);
  }

  FakeQueueServices services_;
};

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

TEST_F(ReportSenderTest, OfAnEndlessHeaderAPartIsQuoted) {
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
TEST_F(ReportSenderTest, EightBitOriginalsStayAsTheyAre) {
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

TEST_F(ReportSenderTest, AFullReportKeepsEveryByte) {
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

// RFC 8689 section 5: a report is protected like the original.
TEST_F(ReportSenderTest, AReportOfProtectedMailIsProtectedAndShort) {
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

TEST_F(ReportSenderTest, OfBinaryMailOnlyTheHeaderIsQuoted) {
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
TEST_F(ReportSenderTest, InternationalizedMailHasInternationalizedReports) {
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
TEST_F(ReportSenderTest, AnInternationalizedDomainNeedsNoSmtpUtf8) {
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

TEST_F(ReportSenderTest, TheLastAttemptIsTold) {
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

class ReportWordsTest : public ReportSenderTest {
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

TEST_F(ReportSenderTest, ADeliverByTimeIsNamed) {
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

// docs/ARCHITECTURE.md: memory is bounded whatever the size of the original.
TEST_F(ReportSenderTest, ALargeOriginalIsStreamed) {
  std::mt19937 random(1);
  std::string raw = "Subject: large\n\n";
  while (raw.size() < (8 << 20)) {
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
  EXPECT_GT(store().accepted[0].body.chunks, 100u);
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

TEST_F(ReportSenderTest, ADamagedOriginalIsReportedWithoutQuoting) {
  store().messages[kOriginal].chunks[0][5] ^= 0x55;
  store().messages[kOriginal].row.body.digest ^= 1;
  store().AddReport(Report(1));
  ReportSender sender(&services_);
  Advance(absl::Seconds(2));
  EXPECT_THAT(OnlyReport(), HasSubstr("text/rfc822-headers\n\n\n--"));
  EXPECT_THAT(store().reports, IsEmpty());
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
