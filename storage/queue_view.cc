#include "storage/queue_view.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/keys.h"

namespace holdfast {
namespace {

DestinationRow ToRow(DestinationId id, DestinationRecord record) {
  DestinationRow row;
  row.id = id;
  row.kind = record.kind;
  row.action = std::move(record.action);
  row.routing_key = std::move(record.routing_key);
  row.envelopes = record.envelopes;
  row.next_due = record.next_due;
  row.postponed_until = record.postponed_until;
  row.first_failure = record.first_failure;
  row.failures = record.failures;
  row.error = std::move(record.error);
  return row;
}

// Of keys whose last 8 octets are an envelope's id.
EnvelopeId LastId(absl::string_view key) {
  return EnvelopeId{KeyReader(key.substr(key.size() - 8)).Get64()};
}

}  // namespace

// Counted before the transaction begins, so that a view is never missed.
LmdbQueueView::LmdbQueueView(const ViewSource* source)
    : source_(source),
      epoch_((source->views->Enter(), source->views->epoch())),
      txn_(source->env, LmdbTxn::kRead) {}

LmdbQueueView::~LmdbQueueView() {
  txn_.End();
  source_->views->Leave();
}

absl::Status LmdbQueueView::Damaged(Damage damage,
                                    const absl::Status& why) const {
  damage.reason = std::string(why.message());
  source_->on_damage(damage);
  return absl::DataLossError(why.message());
}

// A tree that can't be read is not one without the row.
absl::Status LmdbQueueView::Missing(absl::string_view what) const {
  return txn_.ok() ? absl::NotFoundError(what) : txn_.status();
}

// ---- Destinations and lanes

std::vector<std::pair<absl::Time, DestinationId>> LmdbQueueView::Agenda(
    absl::Time after_due, DestinationId after, absl::Time until,
    size_t limit) const {
  std::vector<std::pair<absl::Time, DestinationId>> rows;
  const Key from = AgendaKey(after_due, after);
  LmdbCursor row(&txn_, Table::kAgenda, from);
  for (; row.valid() && rows.size() < limit; row.Next()) {
    if (row.key() == absl::string_view(from)) continue;
    KeyReader key(row.key());
    const absl::Time due = key.GetTime();
    if (due > until) break;
    rows.emplace_back(due, DestinationId{key.Get32()});
  }
  return rows;
}

absl::StatusOr<DestinationRow> LmdbQueueView::Destination(
    DestinationId id) const {
  const Key key = DestinationKey(id);
  const auto bytes = txn_.Get(Table::kDestinations, key);
  if (!bytes.has_value()) return Missing("no such destination");
  auto record = OpenRow<DestinationRecord>(key, *bytes);
  // Rebuilt by the writer when it is next touched.
  if (!record.ok()) return record.status();
  return ToRow(id, *std::move(record));
}

absl::StatusOr<DestinationRow> LmdbQueueView::DestinationOf(
    const Envelope& envelope) const {
  const auto record = LoadEnvelope(envelope.id, /*head_only=*/true);
  if (!record.ok()) return record.status();
  return Destination(record->destination);
}

std::vector<LanePosition> LmdbQueueView::Lane(DestinationId id,
                                              LanePosition after,
                                              absl::Time until,
                                              size_t limit) const {
  std::vector<LanePosition> rows;
  const Key prefix = DestinationKey(id);
  const Key from = LaneKey(id, after.priority, after.due, after.envelope);
  LmdbCursor row(&txn_, Table::kLanes, from);
  if (row.valid() && row.key() == absl::string_view(from)) row.Next();
  while (row.valid() && absl::StartsWith(row.key(), prefix) &&
         rows.size() < limit) {
    KeyReader key(row.key());
    key.Get32();
    const uint8_t inverted = key.Get8();
    LanePosition position;
    position.priority = static_cast<int8_t>(127 - inverted);
    position.due = key.GetTime();
    position.envelope = EnvelopeId{key.Get64()};
    if (position.due <= until) {
      rows.push_back(position);
      row.Next();
      continue;
    }
    // The rest of this priority is later still.
    if (inverted == 255) break;
    row.Seek(DestinationKey(id).Put8(inverted + 1));
  }
  return rows;
}

std::vector<DestinationRow> LmdbQueueView::Destinations(DestinationId after,
                                                        size_t limit) const {
  std::vector<DestinationRow> rows;
  const Key from = DestinationKey(after);
  LmdbCursor row(&txn_, Table::kDestinations, from);
  for (; row.valid() && rows.size() < limit; row.Next()) {
    if (row.key() == absl::string_view(from)) continue;
    auto record = OpenRow<DestinationRecord>(row.key(), row.value());
    if (record.ok())
      rows.push_back(ToRow(DestinationId{KeyReader(row.key()).Get32()},
                           *std::move(record)));
  }
  return rows;
}

absl::StatusOr<DestinationRow> LmdbQueueView::FindDestination(
    DeliveryKind kind, const std::string& action,
    const std::string& routing_key) const {
  DestinationRecord wanted;
  wanted.kind = kind;
  wanted.action = action;
  wanted.routing_key = routing_key;
  const uint64_t digest = DestinationDigest(wanted, source_->digest_seed);
  LmdbCursor row(&txn_, Table::kDestinationIds,
                 DestinationIdKey(digest, DestinationId{0}));
  for (; row.valid(); row.Next()) {
    KeyReader key(row.key());
    if (key.Get64() != digest) break;
    auto found = Destination(DestinationId{key.Get32()});
    if (found.ok() && found->kind == kind && found->action == action &&
        found->routing_key == routing_key)
      return found;
  }
  return Missing("no such destination");
}

// ---- Envelopes

absl::StatusOr<EnvelopeRecord> LmdbQueueView::LoadEnvelope(
    EnvelopeId id, bool head_only) const {
  const Key key = EnvelopeKey(id);
  const auto bytes = txn_.Get(Table::kEnvelopes, key);
  if (!bytes.has_value())
    return Missing(absl::StrCat("no envelope ", ToString(id)));
  auto record = OpenEnvelope(key, *bytes, head_only);
  if (!record.ok()) {
    return Damaged({Damage::What::kEnvelope, id, 0, MessageOf(id), {}},
                   record.status());
  }
  return record;
}

absl::StatusOr<Envelope> LmdbQueueView::FindEnvelope(EnvelopeId id) const {
  auto record = LoadEnvelope(id, /*head_only=*/false);
  if (!record.ok()) return record.status();
  return std::move(record->envelope);
}

std::optional<absl::Time> LmdbQueueView::DueOf(const Envelope& envelope) const {
  const auto record = LoadEnvelope(envelope.id, /*head_only=*/true);
  if (!record.ok() || !record->InLane()) return std::nullopt;
  return record->due;
}

bool LmdbQueueView::IsClaimed(EnvelopeId id) const {
  return source_->status->IsClaimed(id);
}

std::vector<Envelope> LmdbQueueView::Envelopes(EnvelopeId after,
                                               size_t limit) const {
  std::vector<Envelope> envelopes;
  for (EnvelopeRow& row : EnvelopeRows(after, limit))
    envelopes.push_back(std::move(row.envelope));
  return envelopes;
}

EnvelopeRow LmdbQueueView::ToEnvelopeRow(EnvelopeRecord record) const {
  EnvelopeRow row;
  row.destination = record.destination;
  if ((record.flags & (kFlagHeld | kFlagSuspended)) == 0) row.due = record.due;
  row.claimed = IsClaimed(record.envelope.id);
  row.envelope = std::move(record.envelope);
  return row;
}

std::vector<EnvelopeRow> LmdbQueueView::EnvelopeRows(EnvelopeId after,
                                                     size_t limit) const {
  std::vector<EnvelopeRow> rows;
  const Key from = EnvelopeKey(after);
  LmdbCursor row(&txn_, Table::kEnvelopes, from);
  for (; row.valid() && rows.size() < limit; row.Next()) {
    if (row.key() == absl::string_view(from)) continue;
    auto record = OpenEnvelope(row.key(), row.value());
    const EnvelopeId id = LastId(row.key());
    if (record.ok()) {
      rows.push_back(ToEnvelopeRow(*std::move(record)));
    } else {
      Damaged({Damage::What::kEnvelope, id, 0, MessageOf(id), {}},
              record.status())
          .IgnoreError();
    }
  }
  return rows;
}

absl::StatusOr<EnvelopeRow> LmdbQueueView::FindEnvelopeRow(
    EnvelopeId id) const {
  auto record = LoadEnvelope(id, /*head_only=*/false);
  if (!record.ok()) return record.status();
  return ToEnvelopeRow(*std::move(record));
}

std::vector<std::pair<DestinationId, EnvelopeId>> LmdbQueueView::Held(
    DestinationId from, EnvelopeId after, size_t limit) const {
  std::vector<std::pair<DestinationId, EnvelopeId>> rows;
  const Key first = HeldKey(from, after);
  LmdbCursor row(&txn_, Table::kHeld, first);
  for (; row.valid() && rows.size() < limit; row.Next()) {
    if (row.key() == absl::string_view(first)) continue;
    KeyReader key(row.key());
    const DestinationId destination{key.Get32()};
    rows.emplace_back(destination, EnvelopeId{key.Get64()});
  }
  return rows;
}

std::vector<DeadlineRow> LmdbQueueView::Deadlines(absl::Time until,
                                                  size_t limit) const {
  std::vector<DeadlineRow> rows;
  LmdbCursor row(&txn_, Table::kDeadlines);
  for (; row.valid() && rows.size() < limit; row.Next()) {
    const absl::Time when = KeyReader(row.key().substr(0, 8)).GetTime();
    if (when > until) break;
    rows.push_back({when, LastId(row.key())});
  }
  return rows;
}

std::optional<absl::Time> LmdbQueueView::FirstDeadline() const {
  const auto rows = Deadlines(absl::InfiniteFuture(), 1);
  if (rows.empty() || rows[0].when == absl::InfiniteFuture())
    return std::nullopt;
  return rows[0].when;
}

// ---- Messages

absl::StatusOr<MessageRow> LmdbQueueView::FindMessage(MessageId id) const {
  const Key key = MessageKey(id);
  const auto bytes = txn_.Get(Table::kMessages, key);
  if (!bytes.has_value())
    return Missing(absl::StrCat("no message ", ToString(id)));
  const auto record = OpenRow<MessageRecord>(key, *bytes);
  const absl::Status status =
      !record.ok() ? record.status()
      : record->body.chunks == 0
          ? absl::DataLossError("the body of this message is lost")
          : absl::OkStatus();
  if (!status.ok())
    return Damaged({Damage::What::kMessage, EnvelopeId{}, 0, id, {}}, status);
  MessageRow row;
  row.id = id;
  row.serial = record->serial;
  row.body = record->body;
  row.live = record->live;
  row.created = record->created;
  row.origin_store = record->origin_store;
  row.origin_serial = record->origin_serial;
  return row;
}

absl::StatusOr<std::vector<std::string>> LmdbQueueView::BodyChunks(
    MessageId id, uint32_t first, uint32_t count) const {
  std::vector<std::string> chunks;
  const uint64_t end = uint64_t{first} + count;
  const auto damaged = [&](absl::string_view why) {
    return Damaged({Damage::What::kMessage, EnvelopeId{}, 0, id, {}},
                   absl::DataLossError(why));
  };
  LmdbCursor row(&txn_, Table::kBodies, BodyKey(id, first, 0));
  uint16_t next_piece = 0;
  for (; row.valid() && absl::StartsWith(row.key(), MessageKey(id));
       row.Next()) {
    KeyReader key(row.key());
    key.Get32();
    const uint32_t chunk = key.Get32();
    const uint16_t piece = key.Get16();
    if (chunk >= end) break;
    if (piece == 0) {
      chunks.emplace_back();
      next_piece = 0;
    }
    if (chunk != first + chunks.size() - 1 || piece != next_piece++)
      return damaged("a piece of the body is missing");
    const auto record = OpenRecord(Table::kBodies, row.key(), row.value());
    if (!record.ok()) return damaged("a piece of the body is damaged");
    chunks.back().append(record->payload.data(), record->payload.size());
  }
  if (chunks.size() < count) {
    const auto message = FindMessage(id);
    if (!message.ok()) return message.status();
    if (end > message->body.chunks)
      return absl::OutOfRangeError("the body has fewer chunks");
    return damaged("a chunk of the body is missing");
  }
  return chunks;
}

// ---- Reports, claims, doubts

std::vector<PendingReport> LmdbQueueView::Reports(ReportKey after,
                                                  size_t limit) const {
  std::vector<PendingReport> rows;
  // The default key is before every row.
  const uint8_t kind =
      after.envelope == EnvelopeId{0} ? 0 : static_cast<uint8_t>(after.kind);
  const Key from = ReportRowKey(after.envelope, kind);
  LmdbCursor row(&txn_, Table::kReports, from);
  for (; row.valid() && rows.size() < limit; row.Next()) {
    if (row.key() == absl::string_view(from)) continue;
    KeyReader key(row.key());
    const EnvelopeId id{key.Get64()};
    const uint8_t row_kind = key.Get8();
    auto record = OpenReport(row.key(), row.value());
    if (!record.ok()) {
      Damaged({Damage::What::kReport, id, row_kind, MessageOf(id), {}},
              record.status())
          .IgnoreError();
      continue;
    }
    rows.push_back({{id, static_cast<ReportKind>(row_kind)},
                    std::move(record->envelope),
                    record->added});
  }
  return rows;
}

std::vector<ClaimRow> LmdbQueueView::Claims() const {
  std::vector<ClaimRow> rows;
  for (LmdbCursor row(&txn_, Table::kClaims); row.valid(); row.Next()) {
    KeyReader key(row.key());
    const WorkerId worker{key.Get64()};
    const BatchId batch{key.Get64()};
    if (rows.empty() || rows.back().worker != worker ||
        rows.back().batch != batch)
      rows.push_back({worker, batch, {}});
    rows.back().envelopes.push_back(EnvelopeId{key.Get64()});
  }
  return rows;
}

std::vector<DoubtRow> LmdbQueueView::Doubts(size_t limit) const {
  std::vector<DoubtRow> rows;
  LmdbCursor row(&txn_, Table::kDoubts);
  for (row.SeekLast(); row.valid() && rows.size() < limit; row.Previous()) {
    auto record = OpenRow<DoubtRecord>(row.key(), row.value());
    if (!record.ok()) continue;  // CheckQueue() tells
    rows.push_back({record->envelope, record->when, record->kind,
                    std::move(record->sender), std::move(record->dest)});
  }
  return rows;
}

std::vector<HistoryRow> LmdbQueueView::History(EnvelopeId first, uint64_t after,
                                               EnvelopeId last,
                                               size_t limit) const {
  std::vector<HistoryRow> rows;
  const Key from = HistoryIdKey(first, after);
  LmdbCursor row(&txn_, Table::kHistoryIds, from);
  for (; row.valid() && rows.size() < limit; row.Next()) {
    if (row.key() == absl::string_view(from)) continue;
    KeyReader reader(row.key());
    const EnvelopeId id{reader.Get64()};
    const uint64_t serial = reader.Get64();
    if (id > last) break;
    const Key key = HistoryKey(serial, id);
    const auto bytes = txn_.Get(Table::kHistory, key);
    if (!bytes.has_value()) continue;
    auto record = OpenHistory(key, *bytes);
    if (!record.ok()) continue;  // CheckQueue() tells
    rows.push_back(
        {serial, record->ended, record->ending, std::move(record->envelope)});
  }
  return rows;
}

// ---- Counts

Ledger LmdbQueueView::ReadLedger() const {
  const auto bytes = txn_.Get(Table::kMeta, kStateKey);
  if (!bytes.has_value()) return {};
  const auto state = OpenRow<StateRecord>(kStateKey, *bytes);
  if (!state.ok()) return {};
  return {state->accepted,  state->delivered, state->reported, state->removed,
          state->discarded, state->silent,    state->queued};
}

StoreStats LmdbQueueView::Stats() const {
  StoreStats stats;
  stats.messages = txn_.Rows(Table::kMessages);
  stats.envelopes = txn_.Rows(Table::kEnvelopes);
  stats.reports = txn_.Rows(Table::kReports);
  stats.incoming = txn_.Rows(Table::kIncoming);
  stats.garbage = txn_.Rows(Table::kGarbage);
  stats.claims = txn_.Rows(Table::kClaims);
  stats.destinations = txn_.Rows(Table::kDestinations);
  stats.aside = txn_.Rows(Table::kAside);
  stats.history = txn_.Rows(Table::kHistory);
  const LmdbSpace space = source_->env->Space();
  stats.history_bytes =
      (txn_.Pages(Table::kHistory) + txn_.Pages(Table::kHistoryIds)) *
      space.page_bytes;
  stats.used_bytes = txn_.UsedPages() * space.page_bytes;
  const uint64_t map_bytes = space.map_pages * space.page_bytes;
  stats.free_bytes = map_bytes - std::min(map_bytes, stats.used_bytes);
  stats.size_limit = source_->size_limit;
  stats.commits = source_->status->commits;
  stats.last_group = source_->status->last_group;
  stats.accepting = source_->status->accepting;
  return stats;
}

}  // namespace holdfast
