// What happens to envelopes in the queue: claims, outcomes, operators' acts.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/attempts.h"
#include "storage/keys.h"
#include "storage/queue_txn.h"

namespace holdfast {
namespace {

using Act = ActOnEnvelope::Act;
using Result = EnvelopeOutcome::Result;

OperationResult ResultOf(absl::Status status) {
  OperationResult result;
  result.status = std::move(status);
  return result;
}

// When a claim was made; the epoch: by a writer that did not note it.
absl::Time ClaimTime(absl::string_view row) {
  KeyReader reader(row);
  const absl::Time when = reader.GetTime();
  return reader.ok() ? when : absl::UnixEpoch();
}

// All that is known of an attempt whose worker is gone.
Attempt AttemptInDoubt(absl::Time began, absl::Time now) {
  Attempt attempt;
  attempt.began = began;
  if (began != absl::UnixEpoch())
    attempt.took = std::max(now - began, absl::ZeroDuration());
  attempt.result = Attempt::Result::kInDoubt;
  return attempt;
}

void SetFlag(EnvelopeRecord* record, uint32_t flag, bool on) {
  uint32_t& flags = record->envelope.flags;
  flags = on ? flags | flag : flags & ~flag;
  record->flags = flags;
}

}  // namespace

OperationResult QueueTxn::Do(const ClaimEnvelopes& op) {
  absl::flat_hash_set<EnvelopeId> once;
  for (const EnvelopeId id : op.envelopes) {
    const auto record = LoadEnvelope(id, /*head_only=*/true);
    if (record.status().code() == absl::StatusCode::kDataLoss)
      return ResultOf(record.status());
    if (!record.ok() || !record->InLane() || IsClaimed(id) ||
        !once.insert(id).second)
      return ResultOf(absl::FailedPreconditionError(
          absl::StrCat("envelope ", ToString(id), " can't be claimed")));
  }
  for (const EnvelopeId id : op.envelopes) {
    // The time is for the attempt that is made of it if it is never answered.
    txn_->Put(Table::kClaims, ClaimKey(op.worker, op.batch, id),
              Key().Put(context_.now));
    claim_changes_[id] = true;
  }
  return {};
}

void QueueTxn::Strike(WorkerId worker, BatchId batch, EnvelopeId envelope) {
  txn_->Delete(Table::kClaims, ClaimKey(worker, batch, envelope));
  claim_changes_[envelope] = false;
}

void QueueTxn::AddDoubt(const Envelope& envelope) {
  const Key key = SerialKey(++state_.doubt_serial);
  DoubtRecord doubt{envelope.id, context_.now, envelope.kind,
                    envelope.sender.ToString(), envelope.dest.ToString()};
  txn_->Put(Table::kDoubts, key, SealRow(key, doubt));
  if (txn_->Rows(Table::kDoubts) > kMaxDoubts) {
    LmdbCursor oldest(txn_, Table::kDoubts);
    oldest.DeleteAndNext();
  }
}

void QueueTxn::KeepAttempt(const EnvelopeOutcome& outcome, Envelope* envelope) {
  if (!outcome.attempt.has_value() || !context_.keep_attempts) return;
  if (context_.scarce) {
    envelope->attempts.clear();
    return;
  }
  // Nobody would see it.
  if (outcome.result == Result::kEnded && !outcome.report &&
      !context_.history.write)
    return;
  AddAttempt(*outcome.attempt, &envelope->attempts);
}

bool QueueTxn::MayHold(const EnvelopeOutcome& outcome,
                       const Envelope& envelope) const {
  return !context_.hardly_any || outcome.result == Result::kEnded ||
         outcome.error_line.size() <= envelope.error_line.size();
}

OperationResult QueueTxn::Do(const RecordOutcomes& op) {
  OperationResult result;
  for (const EnvelopeOutcome& outcome : op.outcomes) {
    if (!txn_->Has(Table::kClaims,
                   ClaimKey(op.worker, op.batch, outcome.envelope)))
      continue;
    Strike(op.worker, op.batch, outcome.envelope);
    if (!ApplyOutcome(outcome, &result))
      result.status = absl::DataLossError(
          absl::StrCat("envelope ", ToString(outcome.envelope),
                       " is damaged and set aside"));
  }
  return result;
}

// False: the record is damaged.  One that is gone (set aside) is left out.
bool QueueTxn::ApplyOutcome(const EnvelopeOutcome& outcome,
                            OperationResult* result) {
  auto loaded = LoadEnvelope(outcome.envelope);
  if (!loaded.ok()) return absl::IsNotFound(loaded.status());
  const EnvelopeRecord& before = *loaded;
  EnvelopeRecord after = before;
  Envelope& envelope = after.envelope;

  if (outcome.result == Result::kRetry || outcome.result == Result::kEnded) {
    envelope.last_try = context_.now;
    envelope.status = outcome.status;
    if (MayHold(outcome, envelope)) envelope.error_line = outcome.error_line;
  } else if (outcome.result == Result::kHold && !outcome.error_line.empty()) {
    envelope.status = outcome.status;
    envelope.error_line = outcome.error_line;
  }
  KeepAttempt(outcome, &envelope);
  if (outcome.result == Result::kEnded) {
    result->envelopes.push_back(envelope);
    if (outcome.report) AddReport(envelope, outcome.report_kind);
    EndEnvelope(before, envelope, outcome.ending);
    return true;
  }
  if (outcome.in_doubt) {
    SetFlag(&after, kFlagInDoubt, true);
    AddDoubt(envelope);
  } else if (outcome.result == Result::kRetry) {
    // This attempt had an answer.  One that was not made leaves an older doubt
    // as it is, or a mailbox could get the message twice.
    SetFlag(&after, kFlagInDoubt, false);
  }
  if (outcome.result == Result::kHold) SetFlag(&after, kFlagHeld, true);
  if (outcome.result == Result::kRetry) {
    after.due = outcome.due;
    if (outcome.count_retry) ++envelope.retry;
  }
  result->envelopes.push_back(envelope);
  if (outcome.result != Result::kReturn || after.flags != before.flags ||
      outcome.attempt.has_value())
    ReplaceEnvelope(before, after);
  if (after.InLane()) NoteLane(after.destination, envelope.kind, after.due);
  return true;
}

OperationResult QueueTxn::Do(const ReleaseClaim& op) {
  struct Claimed {
    EnvelopeId id;
    absl::Time when;
  };
  std::vector<Claimed> claimed;
  {
    const Key prefix = ClaimKey(op.worker, op.batch);
    LmdbCursor row(txn_, Table::kClaims, prefix);
    for (; row.valid() && absl::StartsWith(row.key(), prefix); row.Next())
      claimed.push_back({EnvelopeId{KeyReader(row.key().substr(16)).Get64()},
                         ClaimTime(row.value())});
  }
  if (claimed.empty()) return ResultOf(absl::NotFoundError("no such claim"));
  OperationResult result;
  for (const auto& [id, when] : claimed) {
    Strike(op.worker, op.batch, id);
    EnvelopeOutcome outcome;
    outcome.envelope = id;
    outcome.result = op.in_doubt && op.hold ? Result::kHold : Result::kReturn;
    outcome.in_doubt = op.in_doubt;
    if (op.in_doubt) outcome.attempt = AttemptInDoubt(when, context_.now);
    if (!ApplyOutcome(outcome, &result))
      result.status = absl::DataLossError(
          absl::StrCat("envelope ", ToString(id), " is damaged and set aside"));
  }
  return result;
}

OperationResult QueueTxn::Do(const PostponeDestination& op) {
  if (!txn_->Has(Table::kDestinations, DestinationKey(op.destination)) &&
      !destinations_.contains(op.destination))
    return ResultOf(absl::NotFoundError("no such destination"));
  DestinationRecord& record = LoadDestination(op.destination)->record;
  record.error = op.error;
  if (op.until > context_.now) {
    record.postponed_until = op.until;
    record.first_failure = op.first_failure;
    record.failures = op.failures;
  } else {
    record.postponed_until = absl::InfinitePast();
    record.first_failure = absl::InfinitePast();
    record.failures = 0;
    if (record.envelopes > 0)
      NoteLane(op.destination, record.kind, record.next_due);
  }
  return {};
}

OperationResult QueueTxn::Do(const DropReports& op) {
  for (const ReportKey& report : op.reports) {
    if (txn_->Delete(
            Table::kReports,
            ReportRowKey(report.envelope, static_cast<uint8_t>(report.kind))))
      AddLive(MessageOf(report.envelope), -1);
  }
  return {};
}

// ---- Acts

OperationResult QueueTxn::Do(const ActOnEnvelope& op) {
  OperationResult result;
  auto record = LoadEnvelope(op.envelope);
  if (!record.ok()) {
    result.status = absl::IsNotFound(record.status()) ? RemoveAside(op, &result)
                                                      : record.status();
    return result;
  }
  const bool names_deadline = op.act == Act::kWarn || op.act == Act::kExpire;
  if (IsClaimed(op.envelope)) {
    if (names_deadline && op.next_deadline != absl::InfiniteFuture()) {
      EnvelopeRecord later = *record;
      later.deadline = op.next_deadline;
      ReplaceEnvelope(*record, later);
    }
    result.status = absl::FailedPreconditionError(
        absl::StrCat("envelope ", ToString(op.envelope), " is in flight"));
    return result;
  }
  // Its time may run on.
  const bool may = op.act == Act::kMoveBack || op.act == Act::kMoved ||
                   (op.act == Act::kWarn && !op.report);
  if (!may && (record->flags & kFlagMoving) != 0) {
    result.status = absl::FailedPreconditionError(
        absl::StrCat("envelope ", ToString(op.envelope), " is being moved"));
    return result;
  }
  result.status = ActOn(*std::move(record), op, &result);
  return result;
}

absl::Status QueueTxn::ActOn(EnvelopeRecord record, const ActOnEnvelope& op,
                             OperationResult* result) {
  EnvelopeRecord after = record;
  Envelope& envelope = after.envelope;
  switch (op.act) {
    case Act::kSchedule:
      after.due = op.due;
      envelope.hold_until = std::min(envelope.hold_until, op.due);
      SetFlag(&after, kFlagHeld, false);
      break;
    case Act::kSuspend:
    case Act::kResume:
      SetFlag(&after, kFlagSuspended, op.act == Act::kSuspend);
      break;
    case Act::kHold:
    case Act::kRelease:
      SetFlag(&after, kFlagHeld, op.act == Act::kHold);
      break;
    case Act::kMove:
    case Act::kMoveBack:
      SetFlag(&after, kFlagMoving, op.act == Act::kMove);
      break;
    case Act::kReroute:
      if (absl::Status status = Reroute(op, &after); !status.ok())
        return status;
      break;
    case Act::kSet:
      envelope.priority = op.priority.value_or(envelope.priority);
      if (op.expires.has_value()) {
        envelope.expires = *op.expires;
        after.deadline = op.next_deadline;
      }
      break;
    case Act::kWarn:
      envelope.last_bounce = op.due;
      after.deadline = op.next_deadline;
      if (op.report) {
        Envelope reported = envelope;
        if (!op.error_line.empty()) {
          reported.status = op.status;
          reported.error_line = op.error_line;
        }
        AddReport(reported, ReportKind::kDelayed);
      }
      break;
    case Act::kExpire:
      if (!op.error_line.empty()) {
        envelope.status = op.status;
        envelope.error_line = op.error_line;
      }
      if (op.report) AddReport(envelope, ReportKind::kFailed);
      [[fallthrough]];
    case Act::kRemove:
    case Act::kMoved:
      EndEnvelope(record, envelope,
                  op.act != Act::kExpire ? Ending::kRemoved
                  : op.report            ? Ending::kReported
                                         : Ending::kSilent);
      result->envelopes.push_back(envelope);
      return absl::OkStatus();
  }
  ReplaceEnvelope(record, after);
  if (after.InLane()) NoteLane(after.destination, envelope.kind, after.due);
  result->envelopes.push_back(envelope);
  return absl::OkStatus();
}

// The new destination gets its row here, and keeps it with the lane row that
// ReplaceEnvelope() adds.
absl::Status QueueTxn::Reroute(const ActOnEnvelope& op, EnvelopeRecord* after) {
  if (op.action.empty() || op.routing_key.empty())
    return absl::InvalidArgumentError("no destination to go to");
  Envelope& envelope = after->envelope;
  envelope.kind = op.kind;
  envelope.action = op.action;
  envelope.routing_key = op.routing_key;
  after->destination = FindDestination(envelope);
  after->due = std::min(after->due, std::max(op.due, envelope.hold_until));
  return absl::OkStatus();
}

// What was set aside can only be removed.
absl::Status QueueTxn::RemoveAside(const ActOnEnvelope& op,
                                   OperationResult* result) {
  const Key prefix = EnvelopeKey(op.envelope);
  if (op.act != Act::kRemove || !HasPrefix(Table::kAside, prefix))
    return absl::NotFoundError(
        absl::StrCat("no envelope ", ToString(op.envelope)));
  if (IsClaimed(op.envelope))
    return absl::FailedPreconditionError(
        absl::StrCat("envelope ", ToString(op.envelope), " is in flight"));
  Envelope envelope;
  envelope.id = op.envelope;
  LmdbCursor row(txn_, Table::kAside, prefix);
  while (row.valid() && absl::StartsWith(row.key(), prefix)) {
    if (row.key().back() == 0) {
      CountEnding(Ending::kRemoved);
      AddHistory(envelope, Ending::kRemoved);
    }
    AddLive(MessageOf(op.envelope), -1);
    row.DeleteAndNext();
  }
  result->envelopes.push_back(envelope);
  return absl::OkStatus();
}

}  // namespace holdfast
