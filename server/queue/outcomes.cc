#include "server/queue/outcomes.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/queue/deadline_times.h"
#include "server/queue/retry_times.h"

namespace holdfast {
namespace {

using Result = WorkerOutcome::Result;

constexpr EnhancedStatus kRoutingLoop = {5, 46};
constexpr uint8_t kMailSystemStatus = 30;  // x.3.0: all failures of an agent

// The worker's status with the class that the result means; without one what
// the reference stores.
EnhancedStatus WithClass(EnhancedStatus status, uint8_t klass,
                         DeliveryKind kind) {
  if (status.klass == 0) {
    status.code = kind == DeliveryKind::kMda ? kMailSystemStatus : 0;
  }
  status.klass = klass;
  return status;
}

// RFC 2852 section 4.1.4: a trace is told each relaying; in mode N the sender
// is told that from here on nobody keeps the time.
bool WantsDeliverByReport(const Envelope& envelope,
                          const WorkerOutcome& outcome) {
  if (envelope.deliver_by == absl::UnixEpoch()) return false;
  if (envelope.deliver_by_trace) return true;
  return !outcome.peer_deliver_by && WantsDelayReports(envelope);
}

bool WantsSuccessReport(const Envelope& envelope,
                        const WorkerOutcome& outcome) {
  if (envelope.dsn_notify & kNotifyNever) return false;
  if (envelope.flags & kFlagBounce) return false;
  if (envelope.sender.user.empty()) return false;
  const bool asked = (envelope.dsn_notify & kNotifySuccess) != 0;
  if (envelope.kind == DeliveryKind::kMda) return asked;
  return (asked && !outcome.peer_dsn) ||
         WantsDeliverByReport(envelope, outcome);
}

void Deliver(const Envelope& envelope, const WorkerOutcome& outcome,
             Verdict* v) {
  v->result = "Ok";
  v->record.result = EnvelopeOutcome::Result::kEnded;
  v->record.ending = Ending::kDelivered;
  v->record.status = WithClass(outcome.status, 2, DeliveryKind::kMta);
  v->record.report = WantsSuccessReport(envelope, outcome);
  v->record.report_kind = envelope.kind == DeliveryKind::kMda
                              ? ReportKind::kDelivered
                              : ReportKind::kRelayed;
  if (v->stat.empty() && envelope.kind == DeliveryKind::kMda) {
    v->stat = "Delivered";
  }
}

void Fail(const Envelope& envelope, EnhancedStatus status, Verdict* v) {
  const FailureNotice notice = NoticeOfFailure(envelope);
  v->result = "PermFail";
  v->record.result = EnvelopeOutcome::Result::kEnded;
  v->record.report = notice == FailureNotice::kReport;
  v->record.ending = v->record.report ? Ending::kReported : Ending::kSilent;
  v->record.report_kind = ReportKind::kFailed;
  v->record.status = status;
  v->record.error_line = CutErrorLine(v->stat);
  v->warning = WarningOf(notice);
}

void TryLater(const Envelope& envelope, const WorkerOutcome& outcome,
              absl::Time now, Verdict* v) {
  v->result = "TempFail";
  v->record.result = EnvelopeOutcome::Result::kRetry;
  v->record.due = NextTry(envelope, envelope.retry + 1, now);
  v->record.status = WithClass(outcome.status, 4, envelope.kind);
  v->record.error_line = CutErrorLine(v->stat);
  v->record.in_doubt = outcome.result == Result::kInDoubt;
}

void Return(Verdict* v) { v->record.result = EnvelopeOutcome::Result::kReturn; }

Attempt::Result AttemptResult(Result result) {
  switch (result) {
    case Result::kOk:
      return Attempt::Result::kOk;
    case Result::kPermFail:
      return Attempt::Result::kPermFail;
    case Result::kLoop:
      return Attempt::Result::kLoop;
    case Result::kInDoubt:
      return Attempt::Result::kInDoubt;
    case Result::kTempFail:
    case Result::kReturned:
      break;
  }
  return Attempt::Result::kTempFail;
}

// An operator's removal that waited for the end of the attempt.
void Remove(Verdict* v) {
  v->record.result = EnvelopeOutcome::Result::kEnded;
  v->record.ending = Ending::kRemoved;
  v->record.report = false;
  v->record.in_doubt = false;
}

}  // namespace

std::string CutErrorLine(absl::string_view text) {
  if (text.size() <= kMaxErrorLine) return std::string(text);
  return absl::StrCat(text.substr(0, kMaxErrorLine - 3), "...");
}

std::optional<Attempt> AttemptOf(const Envelope& envelope,
                                 const WorkerOutcome& outcome,
                                 const AttemptSide& side) {
  if (outcome.result == Result::kReturned ||
      outcome.began == absl::UnixEpoch()) {
    return std::nullopt;
  }
  Attempt attempt;
  attempt.began = outcome.began;
  attempt.took = std::max(outcome.took, absl::ZeroDuration());
  attempt.result = AttemptResult(outcome.result);
  attempt.source = std::string(side.source);
  attempt.relay = side.relay.empty() && envelope.kind == DeliveryKind::kMda
                      ? envelope.mda_user
                      : std::string(side.relay);
  attempt.tls = std::string(side.tls);
  attempt.answer = outcome.text;
  return attempt;
}

FailureNotice NoticeOfFailure(const Envelope& envelope) {
  if (envelope.dsn_notify & kNotifyNever) return FailureNotice::kUnwanted;
  if (envelope.flags & kFlagBounce) return FailureNotice::kDoubleBounce;
  if (envelope.sender.user.empty()) return FailureNotice::kNoReturnPath;
  if (envelope.dsn_notify != 0 && !(envelope.dsn_notify & kNotifyFailure)) {
    return FailureNotice::kUnwanted;
  }
  return FailureNotice::kReport;
}

absl::string_view WarningOf(FailureNotice notice) {
  switch (notice) {
    case FailureNotice::kDoubleBounce:
      return "warn: queue: double bounce!";
    case FailureNotice::kNoReturnPath:
      return "warn: queue: no return path!";
    case FailureNotice::kReport:
    case FailureNotice::kUnwanted:
      break;
  }
  return "";
}

Verdict Judge(const Envelope& envelope, const WorkerOutcome& outcome,
              bool remove, absl::Time now) {
  Verdict v;
  v.record.envelope = envelope.id;
  v.stat = outcome.text;
  switch (outcome.result) {
    case Result::kOk:
      Deliver(envelope, outcome, &v);
      return v;
    case Result::kPermFail:
      Fail(envelope, WithClass(outcome.status, 5, envelope.kind), &v);
      return v;
    case Result::kLoop:
      v.stat = "Loop detected";
      Fail(envelope, kRoutingLoop, &v);
      return v;
    case Result::kTempFail:
    case Result::kInDoubt:
      TryLater(envelope, outcome, now, &v);
      break;
    case Result::kReturned:
    default:
      Return(&v);
      break;
  }
  if (remove) Remove(&v);
  return v;
}

bool HoldDoubt(Verdict* verdict) {
  if (!verdict->record.in_doubt) return false;
  verdict->record.result = EnvelopeOutcome::Result::kHold;
  return true;
}

}  // namespace holdfast
