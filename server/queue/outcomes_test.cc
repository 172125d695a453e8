#include "server/queue/outcomes.h"

#include <vector>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

using Result = WorkerOutcome::Result;
using Stored = EnvelopeOutcome::Result;

const absl::Time kCreated = absl::FromUnixSeconds(1795324048);

Envelope Made(DeliveryKind kind, uint8_t notify = 0) {
  Envelope e;
  e.id = EnvelopeId(0x0000000700000001);
  e.kind = kind;
  e.sender = {"alice", "example.com"};
  e.dest = e.rcpt = {"bob", "example.net"};
  e.created = kCreated;
  e.dsn_notify = notify;
  return e;
}

WorkerOutcome Said(Result result, std::string text = "",
                   bool peer_dsn = false) {
  WorkerOutcome o;
  o.envelope = EnvelopeId(0x0000000700000001);
  o.result = result;
  o.text = std::move(text);
  o.peer_dsn = peer_dsn;
  return o;
}

// Who is told of what: RFC 3461 section 4.1 against every result.
struct NoticeCase {
  DeliveryKind kind;
  uint8_t notify;
  Result result;
  bool peer_dsn;
  bool report;
  ReportKind report_kind;
  Ending ending;
};

TEST(OutcomesTest, NotifyMatrix) {
  constexpr auto kMda = DeliveryKind::kMda;
  constexpr auto kMta = DeliveryKind::kMta;
  constexpr uint8_t kAll = kNotifySuccess | kNotifyFailure | kNotifyDelay;
  const std::vector<NoticeCase> cases = {
      {kMta, 0, Result::kOk, false, false, {}, Ending::kDelivered},
      {kMta, kNotifyFailure, Result::kOk, false, false, {}, Ending::kDelivered},
      {kMta, kNotifySuccess, Result::kOk, false, true, ReportKind::kRelayed,
       Ending::kDelivered},
      {kMta, kNotifySuccess, Result::kOk, true, false, {}, Ending::kDelivered},
      {kMda, kNotifySuccess, Result::kOk, false, true, ReportKind::kDelivered,
       Ending::kDelivered},
      {kMda, kAll, Result::kOk, true, true, ReportKind::kDelivered,
       Ending::kDelivered},
      {kMda, kNotifyNever, Result::kOk, false, false, {}, Ending::kDelivered},
      {kMta, 0, Result::kPermFail, false, true, ReportKind::kFailed,
       Ending::kReported},
      {kMta, kNotifyFailure, Result::kPermFail, false, true,
       ReportKind::kFailed, Ending::kReported},
      {kMta,
       kNotifySuccess,
       Result::kPermFail,
       false,
       false,
       {},
       Ending::kSilent},
      {kMta,
       kNotifyDelay,
       Result::kPermFail,
       false,
       false,
       {},
       Ending::kSilent},
      {kMda,
       kNotifyNever,
       Result::kPermFail,
       false,
       false,
       {},
       Ending::kSilent},
      {kMda, kAll, Result::kLoop, false, true, ReportKind::kFailed,
       Ending::kReported},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(i);
    const NoticeCase& c = cases[i];
    const Verdict v =
        Judge(Made(c.kind, c.notify), Said(c.result, "text", c.peer_dsn), false,
              kCreated);
    EXPECT_EQ(v.record.result, Stored::kEnded);
    EXPECT_EQ(v.record.ending, c.ending);
    EXPECT_EQ(v.record.report, c.report);
    if (c.report) {
      EXPECT_EQ(v.record.report_kind, c.report_kind);
    }
    EXPECT_EQ(v.warning, "");
  }
}

TEST(OutcomesTest, NobodyToTell) {
  Envelope null_sender = Made(DeliveryKind::kMta);
  null_sender.sender = {};
  Verdict v =
      Judge(null_sender, Said(Result::kPermFail, "550 no"), false, kCreated);
  EXPECT_EQ(v.warning, "warn: queue: no return path!");
  EXPECT_EQ(v.record.ending, Ending::kSilent);
  EXPECT_FALSE(v.record.report);

  Envelope report = Made(DeliveryKind::kMta);
  report.sender = {};
  report.flags = kFlagBounce;
  v = Judge(report, Said(Result::kPermFail, "550 no"), false, kCreated);
  EXPECT_EQ(v.warning, "warn: queue: double bounce!");
  EXPECT_EQ(v.record.ending, Ending::kSilent);

  report.dsn_notify = kNotifySuccess;
  v = Judge(report, Said(Result::kOk), false, kCreated);
  EXPECT_FALSE(v.record.report) << "reports are never answered";
}

TEST(OutcomesTest, TemporaryFailureIsDueByTheFormula) {
  Envelope e = Made(DeliveryKind::kMta);
  e.retry = 1;
  const Verdict v = Judge(e, Said(Result::kTempFail, "450 4.2.1 Try later"),
                          false, kCreated + absl::Seconds(401));
  EXPECT_EQ(v.result, "TempFail");
  EXPECT_EQ(v.record.result, Stored::kRetry);
  EXPECT_TRUE(v.record.count_retry);
  EXPECT_EQ(v.record.due, kCreated + absl::Seconds(1600));
  EXPECT_EQ(v.record.error_line, "450 4.2.1 Try later");
  EXPECT_EQ(v.record.status.klass, 4);
  EXPECT_FALSE(v.record.in_doubt);
}

TEST(OutcomesTest, StatusKeepsTheRemoteCodeWithTheClassOfTheResult) {
  WorkerOutcome said = Said(Result::kPermFail, "550 5.1.1 no");
  said.status = {5, 11};
  Verdict v = Judge(Made(DeliveryKind::kMta), said, false, kCreated);
  EXPECT_EQ(v.record.status.klass, 5);
  EXPECT_EQ(v.record.status.code, 11);

  said.status = {2, 11};  // 550 2.1.1: nonsense
  v = Judge(Made(DeliveryKind::kMta), said, false, kCreated);
  EXPECT_EQ(v.record.status.klass, 5);

  v = Judge(Made(DeliveryKind::kMda), Said(Result::kTempFail, "x"), false,
            kCreated);
  EXPECT_EQ(v.record.status.code, 30);
}

TEST(OutcomesTest, LoopFailsWith546) {
  const Verdict v = Judge(Made(DeliveryKind::kMda), Said(Result::kLoop, "huh"),
                          false, kCreated);
  EXPECT_EQ(v.result, "PermFail");
  EXPECT_EQ(v.stat, "Loop detected");
  EXPECT_EQ(v.record.status.klass, 5);
  EXPECT_EQ(v.record.status.code, 46);
  EXPECT_EQ(v.record.report_kind, ReportKind::kFailed);
}

TEST(OutcomesTest, NotTriedIsReturnedSilently) {
  const Verdict v =
      Judge(Made(DeliveryKind::kMta), Said(Result::kReturned), false, kCreated);
  EXPECT_EQ(v.record.result, Stored::kReturn);
  EXPECT_EQ(v.result, "");
}

TEST(OutcomesTest, DoubtIsARetryThatLooksForTheFile) {
  const Verdict v =
      Judge(Made(DeliveryKind::kMda), Said(Result::kInDoubt, "killed"), false,
            kCreated + absl::Seconds(1));
  EXPECT_EQ(v.record.result, Stored::kRetry);
  EXPECT_TRUE(v.record.in_doubt);
  EXPECT_EQ(v.record.due, kCreated + absl::Seconds(10));
}

TEST(OutcomesTest, AttemptsSayWhatTheWorkerSaid) {
  const AttemptSide side{"192.0.2.1", "198.51.100.9 (mx.example.net)",
                         "TLSv1.3:X:256 verified"};
  WorkerOutcome said = Said(Result::kTempFail, "450 4.2.1 later");
  EXPECT_FALSE(AttemptOf(Made(DeliveryKind::kMta), said, side).has_value())
      << "no attempt was made";
  said.began = kCreated + absl::Seconds(5);
  said.took = absl::Seconds(2);
  const auto attempt = AttemptOf(Made(DeliveryKind::kMta), said, side);
  ASSERT_TRUE(attempt.has_value());
  EXPECT_EQ(attempt->began, said.began);
  EXPECT_EQ(attempt->took, said.took);
  EXPECT_EQ(attempt->result, Attempt::Result::kTempFail);
  EXPECT_EQ(attempt->source, "192.0.2.1");
  EXPECT_EQ(attempt->relay, "198.51.100.9 (mx.example.net)");
  EXPECT_EQ(attempt->tls, "TLSv1.3:X:256 verified");
  EXPECT_EQ(attempt->answer, "450 4.2.1 later");

  said.result = Result::kReturned;
  EXPECT_FALSE(AttemptOf(Made(DeliveryKind::kMta), said, side).has_value());
  const std::pair<Result, Attempt::Result> kResults[] = {
      {Result::kOk, Attempt::Result::kOk},
      {Result::kPermFail, Attempt::Result::kPermFail},
      {Result::kLoop, Attempt::Result::kLoop},
      {Result::kInDoubt, Attempt::Result::kInDoubt}};
  for (const auto& [from, to] : kResults) {
    said.result = from;
    EXPECT_EQ(AttemptOf(Made(DeliveryKind::kMta), said, side)->result, to);
  }
  Envelope local = Made(DeliveryKind::kMda);
  local.mda_user = "bob";
  EXPECT_EQ(AttemptOf(local, said, {})->relay, "bob");
}

TEST(OutcomesTest, ADoubtMayBeHeld) {
  Verdict v = Judge(Made(DeliveryKind::kMda), Said(Result::kInDoubt, "killed"),
                    false, kCreated);
  EXPECT_TRUE(HoldDoubt(&v));
  EXPECT_EQ(v.record.result, Stored::kHold);
  EXPECT_TRUE(v.record.in_doubt);
  v = Judge(Made(DeliveryKind::kMda), Said(Result::kTempFail, "450"), false,
            kCreated);
  EXPECT_FALSE(HoldDoubt(&v));
  EXPECT_EQ(v.record.result, Stored::kRetry);
  // A removal that waited for the attempt goes first.
  v = Judge(Made(DeliveryKind::kMda), Said(Result::kInDoubt), true, kCreated);
  EXPECT_FALSE(HoldDoubt(&v));
  EXPECT_EQ(v.record.ending, Ending::kRemoved);
}

TEST(OutcomesTest, RemovalWaitsForTheAttempt) {
  for (const Result r :
       {Result::kTempFail, Result::kReturned, Result::kInDoubt}) {
    const Verdict v = Judge(Made(DeliveryKind::kMta), Said(r), true, kCreated);
    EXPECT_EQ(v.record.result, Stored::kEnded);
    EXPECT_EQ(v.record.ending, Ending::kRemoved);
    EXPECT_FALSE(v.record.report);
  }
  // What was delivered, or failed for good, has ended already.
  EXPECT_EQ(Judge(Made(DeliveryKind::kMta), Said(Result::kOk), true, kCreated)
                .record.ending,
            Ending::kDelivered);
  EXPECT_EQ(
      Judge(Made(DeliveryKind::kMta), Said(Result::kPermFail), true, kCreated)
          .record.ending,
      Ending::kReported);
}

TEST(OutcomesTest, ErrorLinesAreCut) {
  const Verdict v =
      Judge(Made(DeliveryKind::kMta),
            Said(Result::kTempFail, std::string(100000, 'x')), false, kCreated);
  EXPECT_EQ(v.record.error_line.size(), kMaxErrorLine);
  EXPECT_EQ(v.record.error_line.substr(kMaxErrorLine - 4), "x...");
  EXPECT_EQ(CutErrorLine("short"), "short");
}

TEST(OutcomesTest, DeliverByIsReportedWhenRelayed) {
  const auto report = [](bool trace, bool peer, uint8_t notify,
                         DeliveryKind kind = DeliveryKind::kMta) {
    Envelope e = Made(kind, notify);
    e.deliver_by = kCreated + absl::Hours(1);
    e.deliver_by_trace = trace;
    WorkerOutcome said = Said(Result::kOk, "250 ok", /*peer_dsn=*/true);
    said.peer_deliver_by = peer;
    const Verdict v = Judge(e, said, false, kCreated);
    if (v.record.report) {
      EXPECT_EQ(v.record.report_kind, ReportKind::kRelayed);
    }
    return v.record.report;
  };
  EXPECT_TRUE(report(true, true, 0)) << "trace";
  EXPECT_TRUE(report(true, false, kNotifyFailure));
  EXPECT_FALSE(report(true, true, kNotifyNever));
  EXPECT_TRUE(report(false, false, 0)) << "nobody keeps the time from here on";
  EXPECT_TRUE(report(false, false, kNotifyDelay));
  EXPECT_FALSE(report(false, false, kNotifyFailure));
  EXPECT_FALSE(report(false, true, 0));
  EXPECT_FALSE(report(true, false, 0, DeliveryKind::kMda)) << "it is delivered";
}

TEST(OutcomesTest, LongDetailsOfSecurityAreKept) {
  WorkerOutcome said = Said(Result::kPermFail, "REQUIRETLS support required");
  said.status = EnhancedStatus::Make(5, 7, 30);
  const Verdict v = Judge(Made(DeliveryKind::kMta), said, false, kCreated);
  EXPECT_EQ(v.record.status.subject(), 7);
  EXPECT_EQ(v.record.status.detail(), 30);
}

}  // namespace
}  // namespace holdfast
