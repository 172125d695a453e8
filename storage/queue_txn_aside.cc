// Damage: one record that can't be read must not stop the others.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/keys.h"
#include "storage/queue_txn.h"

namespace holdfast {
namespace {

constexpr uint8_t kTheEnvelope = 0;  // in keys of `aside`

}  // namespace

void QueueTxn::Apply(const SetAside& aside) {
  switch (aside.damage.what) {
    case Damage::What::kEnvelope:
      return AsideEnvelope(aside);
    case Damage::What::kReport:
      return AsideReport(aside);
    case Damage::What::kMessage:
      return AsideMessage(aside);
    case Damage::What::kDestination:
      return;
  }
}

void QueueTxn::PutAside(EnvelopeId id, uint8_t kind, const std::string& reason,
                        absl::string_view bytes) {
  const Key key = ReportRowKey(id, kind);
  txn_->Put(
      Table::kAside, key,
      SealRow(key, AsideRecord{context_.now, reason, std::string(bytes)}));
}

void QueueTxn::AsideEnvelope(const SetAside& aside) {
  const EnvelopeId id = aside.damage.envelope;
  const Key key = EnvelopeKey(id);
  const auto bytes = txn_->Get(Table::kEnvelopes, key);
  // Gone, or not damaged after all (written anew since).
  if (!bytes.has_value() || OpenEnvelope(key, *bytes).ok()) return;
  const std::string copy(bytes->view());
  txn_->Delete(Table::kEnvelopes, key);
  for (const std::string& lane : aside.lane_keys)
    RemoveFromLane(DestinationId{KeyReader(lane.substr(0, 4)).Get32()}, lane);
  for (const std::string& held : aside.held_keys) {
    LoadDestination(DestinationId{KeyReader(held.substr(0, 4)).Get32()});
    txn_->Delete(Table::kHeld, held);
  }
  for (const std::string& deadline : aside.deadline_keys)
    txn_->Delete(Table::kDeadlines, deadline);
  PutAside(id, kTheEnvelope, aside.damage.reason, copy);
}

void QueueTxn::AsideReport(const SetAside& aside) {
  const Key key = ReportRowKey(aside.damage.envelope, aside.damage.report_kind);
  const auto bytes = txn_->Get(Table::kReports, key);
  if (!bytes.has_value() || OpenReport(key, *bytes).ok()) return;
  const std::string copy(bytes->view());
  txn_->Delete(Table::kReports, key);
  PutAside(aside.damage.envelope, aside.damage.report_kind, aside.damage.reason,
           copy);
}

void QueueTxn::AsideMessage(const SetAside& aside) {
  const MessageId id = aside.damage.message;
  const Key prefix = MessageKey(id);
  if (!txn_->Has(Table::kMessages, prefix)) {
    // Envelopes whose message is gone altogether are as lost.
    if (!HasPrefix(Table::kEnvelopes, prefix)) return;
  }
  std::vector<EnvelopeId> envelopes;
  {
    LmdbCursor row(txn_, Table::kEnvelopes, prefix);
    for (; row.valid() && absl::StartsWith(row.key(), prefix); row.Next())
      envelopes.push_back(EnvelopeId{KeyReader(row.key()).Get64()});
  }
  // A damaged row is written anew, without a body but with the right count.
  LoadMessage(id);
  for (const EnvelopeId envelope : envelopes) {
    // In flight: its outcome decides; the next look at the body comes here.
    if (IsClaimed(envelope)) continue;
    const auto record = LoadEnvelope(envelope);
    if (!record.ok()) continue;  // noted, and set aside by itself
    const auto bytes = txn_->Get(Table::kEnvelopes, EnvelopeKey(envelope));
    const std::string copy(bytes.has_value() ? bytes->view() : "");
    RemoveEnvelope(*record);
    PutAside(envelope, kTheEnvelope, aside.damage.reason, copy);
  }
}

uint32_t QueueTxn::CountLive(MessageId id) {
  uint32_t live = 0;
  const Key prefix = MessageKey(id);
  for (const Table table :
       {Table::kEnvelopes, Table::kReports, Table::kAside}) {
    LmdbCursor row(txn_, table, prefix);
    for (; row.valid() && absl::StartsWith(row.key(), prefix); row.Next())
      ++live;
  }
  return live;
}

// All of a destination but its postponement is in other tables.
void QueueTxn::RebuildDestination(DestinationId id, DestinationEntry* entry) {
  DestinationRecord& record = entry->record;
  const Key prefix = DestinationKey(id);
  bool named = false;
  for (const Table table : {Table::kLanes, Table::kHeld}) {
    LmdbCursor row(txn_, table, prefix);
    for (; row.valid() && absl::StartsWith(row.key(), prefix); row.Next()) {
      if (table == Table::kLanes) ++record.envelopes;
      if (named) continue;
      const EnvelopeId envelope{
          KeyReader(row.key().substr(row.key().size() - 8)).Get64()};
      const Key key = EnvelopeKey(envelope);
      const auto bytes = txn_->Get(Table::kEnvelopes, key);
      if (!bytes.has_value()) continue;
      const auto opened = OpenEnvelope(key, *bytes);
      if (!opened.ok()) continue;
      named = true;
      record.kind = opened->envelope.kind;
      record.action = opened->envelope.action;
      record.routing_key = opened->envelope.routing_key;
    }
  }
  record.next_due = EarliestInLane(id);
  for (LmdbCursor row(txn_, Table::kAgenda); row.valid();) {
    if (DestinationId{KeyReader(row.key().substr(8)).Get32()} == id) {
      row.DeleteAndNext();
    } else {
      row.Next();
    }
  }
  for (LmdbCursor row(txn_, Table::kDestinationIds); row.valid();) {
    if (DestinationId{KeyReader(row.key().substr(8)).Get32()} == id) {
      row.DeleteAndNext();
    } else {
      row.Next();
    }
  }
  txn_->Put(Table::kDestinationIds, DestinationIdKey(DigestOf(record), id), {});
  damage_.push_back({Damage::What::kDestination, EnvelopeId{}, 0, MessageId{},
                     absl::StrCat("destination ", static_cast<uint32_t>(id),
                                  " (", record.action, " ", record.routing_key,
                                  ") was damaged and is made anew")});
}

}  // namespace holdfast
