#include "server/queue/fake_queue_store.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <variant>

#include "absl/status/status.h"
#include "protocol/attempts.h"
#include "server/queue/fake_queue_view.h"

namespace holdfast {
namespace {

// Applies operations to a FakeDisk.
class Writer {
 public:
  Writer(FakeDisk* disk, bool no_room, bool full, BatchResult* result,
         absl::Time now)
      : d_(*disk),
        no_room_(no_room),
        full_(full),
        result_(*result),
        now_(now) {}

  OperationResult operator()(const AcceptMessage& op) {
    if (no_room_) return Failed(absl::ResourceExhaustedError("no room"));
    for (const ReportKey& key : op.settles) {
      if (!d_.reports.count({key.envelope, key.kind})) {
        return Failed(absl::FailedPreconditionError("report was made"));
      }
    }
    FakeDisk::Message& m = d_.messages[op.message];
    m.row.id = op.message;
    m.row.body = op.body;
    m.row.created = op.created;
    m.row.live = static_cast<uint32_t>(op.envelopes.size());
    const auto incoming = d_.incoming.find(op.message);
    if (incoming != d_.incoming.end()) {
      m.chunks = std::move(incoming->second);
      d_.incoming.erase(incoming);
    } else {
      m.chunks = {op.stored};
    }
    for (size_t i = 0; i < op.envelopes.size(); ++i) {
      const Envelope& e = op.envelopes[i];
      d_.envelopes[e.id] = e;
      InsertLane(e, e.Released());
      d_.deadlines[e.id] =
          i < op.first_deadlines.size() ? op.first_deadlines[i] : e.expires;
      ++d_.ledger.accepted;
      ++d_.ledger.queued;
    }
    for (const ReportKey& key : op.settles) DropReport(key);
    return {};
  }

  OperationResult operator()(const StoreChunk& op) {
    if (no_room_) return Failed(absl::ResourceExhaustedError("no room"));
    std::vector<std::string>& chunks = d_.incoming[op.message];
    if (chunks.size() <= op.index) chunks.resize(op.index + 1);
    chunks[op.index] = op.bytes;
    return {};
  }

  OperationResult operator()(const DropIncoming& op) {
    d_.incoming.erase(op.message);
    return {};
  }

  OperationResult operator()(const ClaimEnvelopes& op) {
    if (full_) return Failed(absl::ResourceExhaustedError("full"));
    for (EnvelopeId id : op.envelopes) {
      if (!d_.due.count(id) || d_.claimed.count(id)) {
        return Failed(absl::FailedPreconditionError("gone or claimed"));
      }
    }
    for (EnvelopeId id : op.envelopes) {
      d_.claims[{op.worker, op.batch}].insert(id);
      d_.claimed[id] = {op.worker, op.batch};
    }
    return {};
  }

  OperationResult operator()(const RecordOutcomes& op) {
    if (full_) return Failed(absl::ResourceExhaustedError("full"));
    OperationResult r;
    for (const EnvelopeOutcome& o : op.outcomes) {
      const auto claim = d_.claimed.find(o.envelope);
      if (claim == d_.claimed.end() ||
          claim->second != FakeDisk::ClaimId(op.worker, op.batch)) {
        continue;  // a worker may report twice
      }
      Record(o);
      const auto e = d_.envelopes.find(o.envelope);
      r.envelopes.push_back(e == d_.envelopes.end() ? ended_ : e->second);
    }
    return r;
  }

  OperationResult operator()(const ReleaseClaim& op) {
    if (full_) return Failed(absl::ResourceExhaustedError("full"));
    OperationResult r;
    const auto it = d_.claims.find({op.worker, op.batch});
    if (it == d_.claims.end()) return Failed(absl::NotFoundError("no claim"));
    const std::set<EnvelopeId> ids = it->second;
    for (EnvelopeId id : ids) {
      Unclaim(id);
      Envelope& e = d_.envelopes[id];
      if (op.in_doubt) {
        e.flags |= kFlagInDoubt;
        d_.in_doubt.insert(id);
        Attempt attempt;
        attempt.result = Attempt::Result::kInDoubt;
        AddAttempt(attempt, &e.attempts);
      }
      if (op.in_doubt && op.hold) {
        e.flags |= kFlagHeld;
        EraseLane(e);
      }
      r.envelopes.push_back(e);
    }
    return r;
  }

  OperationResult operator()(const PostponeDestination& op) {
    const auto it = d_.destinations.find(op.destination);
    if (it == d_.destinations.end()) return Failed(absl::NotFoundError("none"));
    DestinationRow& row = it->second.row;
    const bool postponed = op.until > now_;
    row.postponed_until = postponed ? op.until : absl::InfinitePast();
    row.first_failure = postponed ? op.first_failure : absl::InfinitePast();
    row.failures = postponed ? op.failures : 0;
    row.error = op.error;
    if (!postponed && !it->second.by_due.empty()) {
      Changed(it->second, it->second.by_due.begin()->first);
    }
    return {};
  }

  OperationResult operator()(const ActOnEnvelope& op) {
    const auto it = d_.envelopes.find(op.envelope);
    if (it == d_.envelopes.end()) return Failed(absl::NotFoundError("gone"));
    if (d_.claimed.count(op.envelope)) {
      if (op.next_deadline != absl::InfiniteFuture()) {
        d_.deadlines[op.envelope] = op.next_deadline;
      }
      return Failed(absl::FailedPreconditionError("claimed"));
    }
    Act(op, &it->second);
    OperationResult r;
    const auto after = d_.envelopes.find(op.envelope);
    r.envelopes.push_back(after == d_.envelopes.end() ? ended_ : after->second);
    return r;
  }

  OperationResult operator()(const DropReports& op) {
    for (const ReportKey& key : op.reports) DropReport(key);
    return {};
  }

  OperationResult operator()(const Reseal&) {
    OperationResult result;
    result.reseal.finished = true;
    return result;
  }
  OperationResult operator()(const LeaseIds& op) {
    OperationResult r;
    r.first_id = MessageId(d_.last_message + 1);
    d_.last_message += op.count;
    return r;
  }

 private:
  using Act_ = ActOnEnvelope::Act;

  static OperationResult Failed(absl::Status status) {
    OperationResult r;
    r.status = std::move(status);
    return r;
  }

  FakeDisk::Destination& DestinationOf(const Envelope& e) {
    DestinationId& id = d_.destination_ids[{e.kind, e.action, e.routing_key}];
    if (id == DestinationId(0)) id = DestinationId(++d_.last_destination);
    FakeDisk::Destination& destination = d_.destinations[id];
    destination.row.id = id;
    destination.row.kind = e.kind;
    destination.row.action = e.action;
    destination.row.routing_key = e.routing_key;
    return destination;
  }

  void Changed(const FakeDisk::Destination& destination, absl::Time due) {
    result_.lanes.push_back({destination.row.id, destination.row.kind, due});
  }

  void InsertLane(const Envelope& e, absl::Time due) {
    FakeDisk::Destination& destination = DestinationOf(e);
    destination.lane.insert({-e.priority, due, e.id});
    destination.by_due.insert({due, e.id});
    d_.due[e.id] = due;
    Changed(destination, due);
  }

  void LeaveLane(const Envelope& e) {
    const auto due = d_.due.find(e.id);
    if (due == d_.due.end()) return;
    FakeDisk::Destination& destination = DestinationOf(e);
    destination.lane.erase({-e.priority, due->second, e.id});
    destination.by_due.erase({due->second, e.id});
    d_.due.erase(due);
  }

  // The destination goes with the last row of its lane.
  void EraseLane(const Envelope& e) {
    LeaveLane(e);
    const auto id = d_.destination_ids.find({e.kind, e.action, e.routing_key});
    if (id == d_.destination_ids.end() ||
        !d_.destinations[id->second].lane.empty()) {
      return;
    }
    d_.destinations.erase(id->second);
    d_.destination_ids.erase(id);
  }

  void Unclaim(EnvelopeId id) {
    const auto it = d_.claimed.find(id);
    const auto claim = d_.claims.find(it->second);
    claim->second.erase(id);
    if (claim->second.empty()) d_.claims.erase(claim);
    d_.claimed.erase(it);
    // The row was in its lane all the time.
    Changed(DestinationOf(d_.envelopes[id]), d_.due[id]);
  }

  void End(EnvelopeId id, Ending ending, bool report, ReportKind kind) {
    ended_ = d_.envelopes[id];
    EraseLane(ended_);
    d_.envelopes.erase(id);
    d_.deadlines.erase(id);
    --d_.ledger.queued;
    switch (ending) {
      case Ending::kDelivered:
        ++d_.ledger.delivered;
        break;
      case Ending::kReported:
        ++d_.ledger.reported;
        break;
      case Ending::kRemoved:
        ++d_.ledger.removed;
        break;
      case Ending::kDiscarded:
        ++d_.ledger.discarded;
        break;
      case Ending::kSilent:
        ++d_.ledger.silent;
        break;
    }
    if (report) AddReport(ended_, kind);
    Unhold(MessageOf(id));
  }

  void AddReport(const Envelope& e, ReportKind kind) {
    d_.reports[{e.id, kind}] = {e, now_};
    ++d_.messages[MessageOf(e.id)].row.live;
    result_.reports_added = true;
  }

  void DropReport(const ReportKey& key) {
    if (d_.reports.erase({key.envelope, key.kind}) > 0) {
      Unhold(MessageOf(key.envelope));
    }
  }

  void Unhold(MessageId id) {
    if (--d_.messages[id].row.live == 0) d_.messages.erase(id);
  }

  void Record(const EnvelopeOutcome& o) {
    Unclaim(o.envelope);
    Envelope& e = d_.envelopes[o.envelope];
    e.flags &= ~kFlagInDoubt;
    if (o.attempt) AddAttempt(*o.attempt, &e.attempts);
    if (o.in_doubt) {
      e.flags |= kFlagInDoubt;
      d_.in_doubt.insert(e.id);
    }
    switch (o.result) {
      case EnvelopeOutcome::Result::kEnded:
        e.status = o.status;
        e.error_line = o.error_line;
        return End(o.envelope, o.ending, o.report, o.report_kind);
      case EnvelopeOutcome::Result::kRetry:
        if (o.count_retry) ++e.retry;
        e.status = o.status;
        e.error_line = o.error_line;
        e.last_try = now_;
        return Retime(e, o.due);
      case EnvelopeOutcome::Result::kReturn:
        return;
      case EnvelopeOutcome::Result::kHold:
        e.flags |= kFlagHeld;
        return EraseLane(e);
    }
  }

  void Retime(const Envelope& e, absl::Time due) {
    LeaveLane(e);
    InsertLane(e, due);
  }

  // `change` moves its row in a lane, if it has one; due then at the latest.
  template <class Change>
  void Move(Envelope* e, Change change,
            absl::Time latest = absl::InfiniteFuture()) {
    const auto due = d_.due.find(e->id);
    if (due == d_.due.end()) return change();
    const absl::Time when = std::min(due->second, latest);
    EraseLane(*e);
    change();
    InsertLane(*e, when);
  }

  void Act(const ActOnEnvelope& op, Envelope* e) {
    switch (op.act) {
      case Act_::kSchedule:
        e->flags &= ~kFlagHeld;
        e->hold_until = std::min(e->hold_until, op.due);
        return Retime(*e, op.due);
      case Act_::kMove:
        e->flags |= kFlagMoving;
        return EraseLane(*e);
      case Act_::kMoveBack:
        e->flags &= ~kFlagMoving;
        return Retime(*e, now_);
      case Act_::kMoved:
      case Act_::kRemove:
        return End(e->id, Ending::kRemoved, false, ReportKind::kFailed);
      case Act_::kExpire:
        e->status = op.status;
        e->error_line = op.error_line;
        return End(e->id, op.report ? Ending::kReported : Ending::kSilent,
                   op.report, ReportKind::kFailed);
      case Act_::kWarn:
        e->last_bounce = op.due;
        if (op.report) {
          Envelope reported = *e;
          if (!op.error_line.empty()) {
            reported.status = op.status;
            reported.error_line = op.error_line;
          }
          AddReport(reported, ReportKind::kDelayed);
        }
        d_.deadlines[e->id] = op.next_deadline;
        return;
      case Act_::kReroute:
        return Move(
            e,
            [&] {
              e->kind = op.kind;
              e->action = op.action;
              e->routing_key = op.routing_key;
            },
            std::max(op.due, e->hold_until));
      case Act_::kSet:
        if (op.expires.has_value()) {
          e->expires = *op.expires;
          d_.deadlines[e->id] = op.next_deadline;
        }
        return Move(e,
                    [&] { e->priority = op.priority.value_or(e->priority); });
      case Act_::kSuspend:
        e->flags |= kFlagSuspended;
        return EraseLane(*e);
      case Act_::kHold:
        e->flags |= kFlagHeld;
        if (!op.error_line.empty()) e->error_line = op.error_line;
        return EraseLane(*e);
      case Act_::kResume:
        e->flags &= ~kFlagSuspended;
        return Retime(*e, now_);
      case Act_::kRelease:
        e->flags &= ~kFlagHeld;
        return Retime(*e, now_);
    }
  }

  FakeDisk& d_;
  const bool no_room_;
  const bool full_;
  BatchResult& result_;
  const absl::Time now_;
  Envelope ended_;
};

}  // namespace

FakeDiskStore::FakeDiskStore(EventLoop* loop, FakeDisk* disk)
    : loop_(loop), disk_(disk) {
  ++disk_->starts;
}

FakeDiskView::Source FakeDiskStore::Source() const {
  return {disk_, &damaged_, commits_, !no_room_};
}

void FakeDiskStore::Submit(QueueBatch batch, Done done) {
  waiting_.emplace_back(std::move(batch), std::move(done));
  if (!hold_) ScheduleCommit();
}

void FakeDiskStore::ScheduleCommit() {
  if (scheduled_) return;
  scheduled_ = true;
  loop_->Post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    scheduled_ = false;
    if (!hold_) CommitNow();
  });
}

void FakeDiskStore::CommitNow() {
  std::deque<std::pair<QueueBatch, Done>> group;
  group.swap(waiting_);
  if (group.empty()) return;
  ++commits_;
  for (auto& [batch, done] : group) {
    BatchResult result;
    if (fail_sync_) {
      result.status = absl::AbortedError("fdatasync: Input/output error");
    } else {
      Writer writer(disk_, no_room_, full_, &result, loop_->Now());
      for (const QueueOperation& op : batch) {
        result.operations.push_back(std::visit(writer, op));
      }
    }
    done(std::move(result));
  }
}

absl::StatusOr<std::unique_ptr<QueueView>> FakeDiskStore::View() {
  return std::unique_ptr<QueueView>(new FakeDiskView(Source()));
}

void FakeDiskStore::ReadLater(
    absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)> read) {
  ++reads_;
  loop_->Post([this, alive = std::weak_ptr<bool>(alive_),
               read = std::move(read)]() mutable {
    if (alive.expired()) return;
    const FakeDiskView view(Source());
    read(&view);
  });
}

}  // namespace holdfast
