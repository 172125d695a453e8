#include "storage/queue_txn.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/keys.h"

namespace holdfast {
namespace {

Key LaneKeyOf(const EnvelopeRecord& r) {
  return LaneKey(r.destination, r.envelope.priority, r.due, r.envelope.id);
}

}  // namespace

QueueTxn::QueueTxn(LmdbTxn* txn, const QueueTxnContext& context,
                   const StateRecord& state)
    : txn_(txn),
      context_(context),
      state_before_(Encode(state)),
      state_(state),
      room_pages_(static_cast<int64_t>(
          std::min<uint64_t>(context.room_pages, INT64_MAX))),
      report_room_pages_(static_cast<int64_t>(
          std::min<uint64_t>(context.report_room_pages, INT64_MAX))),
      free_bytes_(static_cast<int64_t>(context.free_bytes)) {}

OperationResult QueueTxn::Apply(const QueueOperation& operation) {
  return std::visit([this](const auto& op) { return Do(op); }, operation);
}

std::vector<LaneChange> QueueTxn::TakeLanes() {
  std::vector<LaneChange> lanes;
  lanes.reserve(lanes_.size());
  for (const auto& [id, change] : lanes_) lanes.push_back(change);
  lanes_.clear();
  std::sort(lanes.begin(), lanes.end(),
            [](const LaneChange& a, const LaneChange& b) {
              return a.destination < b.destination;
            });
  return lanes;
}

void QueueTxn::Flush() {
  for (auto& [id, entry] : messages_) FlushMessage(id, &entry);
  for (auto& [id, entry] : destinations_) {
    FlushDestination(id, &entry);
    backlogs_.push_back({id, entry.record.envelopes});
  }
  // A transaction that changed nothing costs no sync.
  if (Encode(state_) != state_before_)
    txn_->Put(Table::kMeta, kStateKey, SealRow(kStateKey, state_));
  messages_.clear();
  destinations_.clear();
}

// ---- Envelopes

bool QueueTxn::IsClaimed(EnvelopeId id) const {
  const auto change = claim_changes_.find(id);
  if (change != claim_changes_.end()) return change->second;
  return context_.claimed->contains(id);
}

absl::StatusOr<EnvelopeRecord> QueueTxn::LoadEnvelope(EnvelopeId id,
                                                      bool head_only) {
  const Key key = EnvelopeKey(id);
  const auto bytes = txn_->Get(Table::kEnvelopes, key);
  if (!bytes.has_value())
    return absl::NotFoundError(absl::StrCat("no envelope ", ToString(id)));
  absl::StatusOr<EnvelopeRecord> record = OpenEnvelope(key, *bytes, head_only);
  if (!record.ok()) {
    damage_.push_back({Damage::What::kEnvelope, id, 0, MessageOf(id),
                       std::string(record.status().message())});
  }
  return record;
}

void QueueTxn::AddEnvelope(const EnvelopeRecord& record) {
  const EnvelopeId id = record.envelope.id;
  const Key key = EnvelopeKey(id);
  txn_->Put(Table::kEnvelopes, key, SealEnvelope(key, record));
  txn_->Put(Table::kDeadlines, DeadlineKey(record.deadline, id), {});
  if (record.InLane()) {
    AddToLane(record);
  } else {
    LoadDestination(record.destination);
    txn_->Put(Table::kHeld, HeldKey(record.destination, id), {});
  }
}

void QueueTxn::ReplaceEnvelope(const EnvelopeRecord& before,
                               const EnvelopeRecord& after) {
  const EnvelopeId id = after.envelope.id;
  const Key key = EnvelopeKey(id);
  txn_->Put(Table::kEnvelopes, key, SealEnvelope(key, after));
  if (before.deadline != after.deadline) {
    txn_->Delete(Table::kDeadlines, DeadlineKey(before.deadline, id));
    txn_->Put(Table::kDeadlines, DeadlineKey(after.deadline, id), {});
  }
  if (before.InLane() == after.InLane() &&
      before.destination == after.destination &&
      (!after.InLane() ||
       (before.due == after.due &&
        before.envelope.priority == after.envelope.priority)))
    return;
  // Its destinations are loaded on every way: one without rows goes.
  if (before.InLane()) {
    RemoveFromLane(before.destination, LaneKeyOf(before));
  } else {
    LoadDestination(before.destination);
    txn_->Delete(Table::kHeld, HeldKey(before.destination, id));
  }
  if (after.InLane()) {
    AddToLane(after);
  } else {
    LoadDestination(after.destination);
    txn_->Put(Table::kHeld, HeldKey(after.destination, id), {});
  }
}

void QueueTxn::RemoveEnvelope(const EnvelopeRecord& record) {
  const EnvelopeId id = record.envelope.id;
  txn_->Delete(Table::kEnvelopes, EnvelopeKey(id));
  txn_->Delete(Table::kDeadlines, DeadlineKey(record.deadline, id));
  if (record.InLane()) {
    RemoveFromLane(record.destination, LaneKeyOf(record));
  } else {
    LoadDestination(record.destination);
    txn_->Delete(Table::kHeld, HeldKey(record.destination, id));
  }
}

void QueueTxn::EndEnvelope(const EnvelopeRecord& record, const Envelope& last,
                           Ending ending) {
  RemoveEnvelope(record);
  AddLive(MessageOf(last.id), -1);
  CountEnding(ending);
  AddHistory(last, ending);
}

void QueueTxn::AddToLane(const EnvelopeRecord& record) {
  DestinationEntry* const entry = LoadDestination(record.destination);
  txn_->Put(Table::kLanes, LaneKeyOf(record), {});
  ++entry->record.envelopes;
  entry->record.next_due = std::min(entry->record.next_due, record.due);
  NoteLane(record.destination, record.envelope.kind, record.due);
}

void QueueTxn::RemoveFromLane(DestinationId destination,
                              absl::string_view lane_key) {
  DestinationEntry* const entry = LoadDestination(destination);
  if (!txn_->Delete(Table::kLanes, lane_key)) return;
  if (entry->record.envelopes > 0) --entry->record.envelopes;
  entry->earliest_gone = true;
}

void QueueTxn::NoteLane(DestinationId id, DeliveryKind kind, absl::Time due) {
  const auto [it, fresh] = lanes_.try_emplace(id, LaneChange{id, kind, due});
  if (!fresh) it->second.due = std::min(it->second.due, due);
}

void QueueTxn::CountEnding(Ending ending) {
  --state_.queued;
  switch (ending) {
    case Ending::kDelivered:
      ++state_.delivered;
      return;
    case Ending::kReported:
      ++state_.reported;
      return;
    case Ending::kRemoved:
      ++state_.removed;
      return;
    case Ending::kDiscarded:
      ++state_.discarded;
      return;
    case Ending::kSilent:
      break;
  }
  ++state_.silent;
}

void QueueTxn::AddReport(const Envelope& envelope, ReportKind kind) {
  const Key key = ReportRowKey(envelope.id, static_cast<uint8_t>(kind));
  // A warning that is still waiting is replaced by the newer one.
  if (!txn_->Has(Table::kReports, key)) AddLive(MessageOf(envelope.id), 1);
  ReportRecord report{context_.now, envelope};
  // Of the attempts a report tells the last.
  std::vector<Attempt>& attempts = report.envelope.attempts;
  if (attempts.size() > 1) attempts.erase(attempts.begin(), attempts.end() - 1);
  txn_->Put(Table::kReports, key, SealReport(key, report));
  reports_added_ = true;
}

// ---- Destinations

uint64_t QueueTxn::DigestOf(const DestinationRecord& record) const {
  return DestinationDigest(record, context_.digest_seed);
}

QueueTxn::DestinationEntry* QueueTxn::LoadDestination(DestinationId id) {
  const auto [it, fresh] = destinations_.try_emplace(id);
  DestinationEntry* const entry = &it->second;
  if (!fresh) return entry;
  const Key key = DestinationKey(id);
  const auto bytes = txn_->Get(Table::kDestinations, key);
  absl::StatusOr<DestinationRecord> record =
      bytes.has_value() ? OpenRow<DestinationRecord>(key, *bytes)
                        : absl::DataLossError("no such row");
  if (!record.ok()) {
    RebuildDestination(id, entry);
    return entry;
  }
  entry->record = *std::move(record);
  entry->in_agenda = entry->record.envelopes > 0;
  entry->agenda_due = entry->record.AgendaDue();
  return entry;
}

DestinationId QueueTxn::FindDestination(const Envelope& envelope) {
  DestinationRecord wanted;
  wanted.kind = envelope.kind;
  wanted.action = envelope.action;
  wanted.routing_key = envelope.routing_key;
  const std::string name = DestinationName(wanted);
  const auto known = destination_names_.find(name);
  if (known != destination_names_.end()) return known->second;

  const uint64_t digest = DigestOf(wanted);
  std::vector<DestinationId> same_digest;
  {
    LmdbCursor row(txn_, Table::kDestinationIds,
                   DestinationIdKey(digest, DestinationId{0}));
    for (; row.valid(); row.Next()) {
      KeyReader key(row.key());
      if (key.Get64() != digest) break;
      same_digest.push_back(DestinationId{key.Get32()});
    }
  }
  for (const DestinationId id : same_digest) {
    if (DestinationName(LoadDestination(id)->record) == name) {
      destination_names_[name] = id;
      return id;
    }
  }
  DestinationId id;
  do {
    id = DestinationId{state_.next_destination++};
    if (state_.next_destination == 0) state_.next_destination = 1;
  } while (txn_->Has(Table::kDestinations, DestinationKey(id)) ||
           destinations_.contains(id));
  destinations_[id].record = wanted;
  txn_->Put(Table::kDestinationIds, DestinationIdKey(digest, id), {});
  destination_names_[name] = id;
  return id;
}

absl::Time QueueTxn::EarliestInLane(DestinationId id) {
  // The first row of each priority that is present.
  absl::Time earliest = absl::InfiniteFuture();
  const Key lane = DestinationKey(id);
  LmdbCursor row(txn_, Table::kLanes, lane);
  while (row.valid() && absl::StartsWith(row.key(), lane)) {
    KeyReader key(row.key());
    key.Get32();
    const uint8_t priority = key.Get8();
    earliest = std::min(earliest, key.GetTime());
    if (priority == 255) break;
    row.Seek(DestinationKey(id).Put8(priority + 1));
  }
  return earliest;
}

bool QueueTxn::HasPrefix(Table table, absl::string_view prefix) {
  LmdbCursor row(txn_, table, prefix);
  return row.valid() && absl::StartsWith(row.key(), prefix);
}

void QueueTxn::FlushDestination(DestinationId id, DestinationEntry* entry) {
  DestinationRecord& record = entry->record;
  if (entry->earliest_gone) record.next_due = EarliestInLane(id);
  if (record.envelopes == 0) record.next_due = absl::InfiniteFuture();
  const bool in_agenda = record.envelopes > 0;
  const absl::Time due = record.AgendaDue();
  if (entry->in_agenda && (!in_agenda || entry->agenda_due != due))
    txn_->Delete(Table::kAgenda, AgendaKey(entry->agenda_due, id));
  if (in_agenda && (!entry->in_agenda || entry->agenda_due != due))
    txn_->Put(Table::kAgenda, AgendaKey(due, id), {});
  const Key key = DestinationKey(id);
  if (!in_agenda && !HasPrefix(Table::kHeld, key)) {
    txn_->Delete(Table::kDestinations, key);
    txn_->Delete(Table::kDestinationIds,
                 DestinationIdKey(DigestOf(record), id));
    return;
  }
  txn_->Put(Table::kDestinations, key, SealRow(key, record));
}

// ---- Messages

QueueTxn::MessageEntry* QueueTxn::LoadMessage(MessageId id) {
  const auto [it, fresh] = messages_.try_emplace(id);
  MessageEntry* const entry = &it->second;
  if (!fresh) return entry;
  const Key key = MessageKey(id);
  const auto bytes = txn_->Get(Table::kMessages, key);
  absl::StatusOr<MessageRecord> record =
      bytes.has_value() ? OpenRow<MessageRecord>(key, *bytes)
                        : absl::DataLossError("no such row");
  if (record.ok()) {
    entry->record = *std::move(record);
  } else {
    // Its body can't be read without it, but what holds it can be counted.
    entry->recount = true;
    entry->record.created = context_.now;
    damage_.push_back({Damage::What::kMessage, EnvelopeId{}, 0, id,
                       std::string(record.status().message())});
  }
  return entry;
}

void QueueTxn::AddLive(MessageId id, int delta) {
  MessageEntry* const entry = LoadMessage(id);
  entry->record.live += static_cast<uint32_t>(delta);
}

void QueueTxn::FlushMessage(MessageId id, MessageEntry* entry) {
  const Key key = MessageKey(id);
  MessageRecord& record = entry->record;
  if (entry->recount) record.live = CountLive(id);
  if (record.live > 0) {
    txn_->Put(Table::kMessages, key, SealRow(key, record));
    return;
  }
  txn_->Delete(Table::kMessages, key);
  // Nothing holds the body.  A small one goes at once.
  const bool fits =
      !context_.pinned && record.body.chunks > 0 &&
      record.body.stored_bytes <=
          static_cast<uint64_t>(std::max<int64_t>(free_bytes_, 0));
  if (fits && FreeBody(id)) return;
  txn_->Put(Table::kGarbage, key, {});
}

bool QueueTxn::FreeBody(MessageId id) {
  const Key prefix = MessageKey(id);
  LmdbCursor row(txn_, Table::kBodies, prefix);
  while (row.valid() && absl::StartsWith(row.key(), prefix)) {
    if (free_bytes_ <= 0) return false;
    free_bytes_ -= static_cast<int64_t>(row.raw_value().size());
    row.DeleteAndNext();
  }
  return true;
}

void QueueTxn::CollectGarbage() {
  if (context_.pinned) return;
  while (free_bytes_ > 0) {
    MessageId id;
    {
      LmdbCursor row(txn_, Table::kGarbage);
      if (!row.valid()) return;
      id = MessageId{KeyReader(row.key()).Get32()};
    }
    if (!FreeBody(id)) return;
    txn_->Delete(Table::kGarbage, MessageKey(id));
  }
}

bool QueueTxn::CleanIncoming(MessageId* from, int rows) {
  std::vector<MessageId> old;
  bool more = false;
  {
    LmdbCursor row(txn_, Table::kIncoming, MessageKey(*from));
    for (; row.valid(); row.Next()) {
      const MessageId id{KeyReader(row.key()).Get32()};
      *from = id;
      if (rows-- == 0) {
        more = true;
        break;
      }
      const auto record = OpenRow<IncomingRecord>(row.key(), row.value());
      if (!record.ok() || record->start < context_.start) old.push_back(id);
    }
  }
  for (const MessageId id : old) {
    txn_->Delete(Table::kIncoming, MessageKey(id));
    txn_->Put(Table::kGarbage, MessageKey(id), {});
  }
  return more;
}

// ---- How much a group may hold

uint64_t DirtyPages(const QueueOperation& operation) {
  // Rows of one message lie together, those of indexes anywhere; of every tree
  // the branch pages are shared by the group.
  struct Guess {
    uint64_t operator()(const AcceptMessage& op) const {
      return 4 + op.stored.size() / kPieceBytes + 2 * op.envelopes.size() +
             op.settles.size() + (op.origin ? op.envelopes.size() : 0);
    }
    uint64_t operator()(const StoreChunk& op) const {
      return 3 + op.bytes.size() / kPieceBytes;
    }
    uint64_t operator()(const DropIncoming&) const { return 2; }
    uint64_t operator()(const ClaimEnvelopes& op) const {
      return 1 + op.envelopes.size() / 64;
    }
    uint64_t operator()(const RecordOutcomes& op) const {
      return 2 + 6 * op.outcomes.size();
    }
    uint64_t operator()(const ReleaseClaim&) const { return 64; }
    uint64_t operator()(const PostponeDestination&) const { return 3; }
    uint64_t operator()(const ActOnEnvelope&) const { return 8; }
    uint64_t operator()(const DropReports& op) const {
      return 3 * op.reports.size();
    }
    uint64_t operator()(const LeaseIds&) const { return 1; }
    uint64_t operator()(const Reseal& op) const { return 16 + op.bytes / 2048; }
  };
  return std::visit(Guess(), operation);
}

}  // namespace holdfast
