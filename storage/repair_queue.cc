#include "storage/repair_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/body_codec.h"
#include "storage/keys.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

constexpr uint8_t kTheEnvelope = 0;  // in keys of `aside`

MessageId MessageIn(absl::string_view key) {
  return MessageId{KeyReader(key.substr(0, 4)).Get32()};
}
EnvelopeId EnvelopeIn(absl::string_view key) {
  return EnvelopeId{KeyReader(key.substr(0, 8)).Get64()};
}

class Repair {
 public:
  Repair(LmdbTxn* txn, std::string folder, uint64_t digest_seed, absl::Time now,
         StateRecord* state, absl::FunctionRef<void(absl::string_view)> say)
      : txn_(txn),
        folder_(absl::StrCat(folder, "/repaired-", absl::ToUnixMicros(now))),
        digest_seed_(digest_seed),
        now_(now),
        state_(*state),
        say_(say) {}

  absl::Status Run() {
    DropIncoming();
    FindBadBodies();
    ReadEnvelopes();
    SetAsideReports();
    MendDestinations();
    Reconcile(Table::kLanes, &lanes_);
    Reconcile(Table::kHeld, &held_);
    Reconcile(Table::kDeadlines, &deadlines_);
    Reconcile(Table::kAgenda, &agenda_);
    Reconcile(Table::kDestinationIds, &destination_ids_);
    MendClaims();
    MendAside();
    CountLive();
    CollectOrphans();
    MendHistory();
    MendDoubts();
    MendCounters();
    return txn_->ok() ? failure_ : txn_->status();
  }
  bool changed() const { return changed_; }

 private:
  struct Destination {
    DestinationRecord record;
    bool known = false;  // there was a row that could be read
    uint64_t lane = 0, held = 0;
    absl::Time next_due = absl::InfiniteFuture();
  };

  void Mend(absl::string_view line) {
    changed_ = true;
    say_(line);
  }

  template <class Wanted>
  std::vector<std::string> Keys(Table table, absl::string_view prefix,
                                Wanted wanted) {
    std::vector<std::string> keys;
    for (LmdbCursor row(txn_, table, prefix);
         row.valid() && absl::StartsWith(row.key(), prefix); row.Next())
      if (wanted(row)) keys.emplace_back(row.key());
    return keys;
  }

  void PutAside(EnvelopeId id, uint8_t kind, const std::string& reason,
                const std::string& bytes) {
    const Key key = ReportRowKey(id, kind);
    txn_->Put(Table::kAside, key,
              SealRow(key, AsideRecord{now_, reason, bytes}));
  }

  void DropIncoming();
  void FindBadBodies();
  std::string WhatIsWrong(MessageId id, const BodyInfo& body);
  void LoseBody(MessageId id, MessageRecord record, bool known,
                const std::string& why);
  void Salvage(MessageId id, const BodyInfo* body);
  void ReadEnvelopes();
  std::string Fault(absl::string_view key,
                    const absl::StatusOr<EnvelopeRecord>& record);
  void Note(EnvelopeId id, const EnvelopeRecord& record);
  void SetAsideReports();
  void NeedMessage(MessageId id);
  void MendDestinations();
  void MendDestination(DestinationId id, Destination* d);
  void Reconcile(Table table, std::vector<std::string>* wanted);
  void MendClaims();
  void MendAside();
  void CountLive();
  void DeletePieces(MessageId id);
  void CollectOrphans();
  void MendHistory();
  void MendDoubts();
  void MendCounters();

  LmdbTxn* const txn_;
  const std::string folder_;
  const uint64_t digest_seed_;
  const absl::Time now_;
  StateRecord& state_;
  absl::FunctionRef<void(absl::string_view)> say_;
  bool changed_ = false;
  absl::Status failure_;  // of the files
  // Of messages whose envelopes can't be delivered.
  absl::flat_hash_map<MessageId, std::string> lost_;
  std::map<DestinationId, Destination> destinations_;
  // The keys that must be in the tables.
  std::vector<std::string> lanes_, held_, deadlines_, agenda_, destination_ids_;
  absl::flat_hash_set<EnvelopeId> in_lane_;
};

// Nobody is in the middle of anything.
void Repair::DropIncoming() {
  for (const std::string& key :
       Keys(Table::kIncoming, {}, [](const LmdbCursor&) { return true; })) {
    txn_->Delete(Table::kIncoming, key);
    if (!txn_->Has(Table::kMessages, key)) txn_->Put(Table::kGarbage, key, {});
    Mend(absl::StrCat("body ", ToString(MessageIn(key)),
                      ": was never finished: dropped"));
  }
}

// Empty: nothing is.
std::string Repair::WhatIsWrong(MessageId id, const BodyInfo& body) {
  uint64_t bytes = 0;
  uint32_t chunks = 0;
  uint16_t piece = 0;
  const Key prefix = MessageKey(id);
  for (LmdbCursor row(txn_, Table::kBodies, prefix);
       row.valid() && absl::StartsWith(row.key(), prefix); row.Next()) {
    KeyReader key(row.key());
    key.Get32();
    const uint32_t row_chunk = key.Get32();
    const uint16_t row_piece = key.Get16();
    if (row_piece == 0) {
      ++chunks;
      piece = 0;
    }
    if (row_chunk + 1 != chunks || row_piece != piece++)
      return "pieces of its body are missing";
    const auto record = OpenRecord(Table::kBodies, row.key(), row.value());
    if (!record.ok()) return "its body is damaged";
    bytes += record->payload.size();
  }
  return chunks == body.chunks && bytes == body.stored_bytes
             ? ""
             : "its body is not whole";
}

void Repair::FindBadBodies() {
  struct Bad {
    MessageId id;
    MessageRecord record;
    bool known;
    std::string why;
  };
  std::vector<Bad> all;
  for (LmdbCursor row(txn_, Table::kMessages); row.valid(); row.Next()) {
    const MessageId id = MessageIn(row.key());
    const auto record = OpenRow<MessageRecord>(row.key(), row.value());
    if (!record.ok()) {
      all.push_back({id, {}, false, "its record is damaged"});
    } else if (record->body.chunks > 0) {
      const std::string why = WhatIsWrong(id, record->body);
      if (!why.empty()) all.push_back({id, *record, true, why});
    }
  }
  for (Bad& bad : all) LoseBody(bad.id, bad.record, bad.known, bad.why);
}

void Repair::LoseBody(MessageId id, MessageRecord record, bool known,
                      const std::string& why) {
  Salvage(id, known ? &record.body : nullptr);
  DeletePieces(id);
  record.body = BodyInfo();
  if (!known) record.created = now_;
  txn_->Put(Table::kMessages, MessageKey(id), SealRow(MessageKey(id), record));
  lost_[id] = why;
  Mend(absl::StrCat("message ", ToString(id), ": ", why,
                    ": what is left of it is in ", folder_, "/", ToString(id)));
}

// With `body` as text, as far as it goes; else as it is stored.
void Repair::Salvage(MessageId id, const BodyInfo* body) {
  if (mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST)
    failure_ =
        absl::InternalError(absl::StrCat(folder_, ": ", strerror(errno)));
  const std::string path = absl::StrCat(folder_, "/", ToString(id));
  const OwnedFd fd(
      open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  std::map<uint32_t, std::string> chunks;
  const Key prefix = MessageKey(id);
  for (LmdbCursor row(txn_, Table::kBodies, prefix);
       row.valid() && absl::StartsWith(row.key(), prefix); row.Next()) {
    const auto record = OpenRecord(Table::kBodies, row.key(), row.value());
    if (!record.ok()) break;
    absl::StrAppend(&chunks[KeyReader(row.key().substr(4, 4)).Get32()],
                    record->payload);
  }
  std::string text;
  if (body == nullptr) {
    for (const auto& [index, bytes] : chunks) text += bytes;
  } else {
    BodyDecompressor reader(*body);
    for (uint32_t next = 0;;) {
      const auto progress = reader.Read(kSmallBodyBytes, &text);
      if (!progress.ok() || *progress == BodyDecompressor::kEnd) break;
      if (*progress != BodyDecompressor::kNeedsChunk) continue;
      const auto chunk = chunks.find(next++);
      if (chunk == chunks.end()) break;
      reader.Feed(std::move(chunk->second));
    }
  }
  if (!fd ||
      write(fd.get(), text.data(), text.size()) !=
          static_cast<ssize_t>(text.size()) ||
      fsync(fd.get()) != 0)
    failure_ = absl::InternalError(absl::StrCat(path, ": ", strerror(errno)));
}

// Why it can't stay in the queue; empty: it can.
std::string Repair::Fault(absl::string_view key,
                          const absl::StatusOr<EnvelopeRecord>& record) {
  if (!record.ok()) return std::string(record.status().message());
  if (record->envelope.id != EnvelopeIn(key)) return "holds another one";
  const auto lost = lost_.find(MessageIn(key));
  if (lost != lost_.end()) return lost->second;
  return txn_->Has(Table::kMessages, key.substr(0, 4)) ? ""
                                                       : "its message is gone";
}

void Repair::ReadEnvelopes() {
  std::map<std::string, std::pair<std::string, std::string>> bad;
  for (LmdbCursor row(txn_, Table::kEnvelopes); row.valid(); row.Next()) {
    const auto record = OpenEnvelope(row.key(), row.value());
    const std::string fault = Fault(row.key(), record);
    if (fault.empty()) {
      Note(EnvelopeIn(row.key()), *record);
    } else {
      bad[std::string(row.key())] = {fault, std::string(row.value())};
    }
  }
  for (const auto& [key, what] : bad) {
    const EnvelopeId id = EnvelopeIn(key);
    txn_->Delete(Table::kEnvelopes, key);
    PutAside(id, kTheEnvelope, what.first, what.second);
    NeedMessage(MessageOf(id));
    Mend(absl::StrCat("envelope ", ToString(id), ": ", what.first,
                      ": set aside"));
  }
}

void Repair::Note(EnvelopeId id, const EnvelopeRecord& record) {
  deadlines_.push_back(DeadlineKey(record.deadline, id).ToString());
  Destination& d = destinations_[record.destination];
  if (d.record.action.empty()) {
    d.record.kind = record.envelope.kind;
    d.record.action = record.envelope.action;
    d.record.routing_key = record.envelope.routing_key;
  }
  if (!record.InLane()) {
    ++d.held;
    held_.push_back(HeldKey(record.destination, id).ToString());
    return;
  }
  ++d.lane;
  d.next_due = std::min(d.next_due, record.due);
  in_lane_.insert(id);
  lanes_.push_back(
      LaneKey(record.destination, record.envelope.priority, record.due, id)
          .ToString());
}

// What holds a message that is gone keeps its place.
void Repair::NeedMessage(MessageId id) {
  const Key key = MessageKey(id);
  if (txn_->Has(Table::kMessages, key)) return;
  MessageRecord record;
  record.created = now_;
  txn_->Put(Table::kMessages, key, SealRow(key, record));
  txn_->Delete(Table::kGarbage, key);
  DeletePieces(id);
}

void Repair::SetAsideReports() {
  std::map<std::string, std::pair<std::string, std::string>> bad;
  for (LmdbCursor row(txn_, Table::kReports); row.valid(); row.Next()) {
    const auto record = OpenReport(row.key(), row.value());
    if (!record.ok())
      bad[std::string(row.key())] = {std::string(record.status().message()),
                                     std::string(row.value())};
  }
  for (const auto& [key, what] : bad) {
    const EnvelopeId id = EnvelopeIn(key);
    txn_->Delete(Table::kReports, key);
    PutAside(id, static_cast<uint8_t>(key.back()), what.first, what.second);
    Mend(absl::StrCat("report of ", ToString(id), ": ", what.first,
                      ": set aside"));
  }
  for (const std::string& key :
       Keys(Table::kReports, {}, [this](const LmdbCursor& row) {
         return !txn_->Has(Table::kMessages, row.key().substr(0, 4));
       })) {
    NeedMessage(MessageIn(key));
    Mend(absl::StrCat("message ", ToString(MessageIn(key)),
                      ": is gone: a report is made without it"));
  }
}

void Repair::MendDestinations() {
  std::vector<std::string> surplus;
  for (LmdbCursor row(txn_, Table::kDestinations); row.valid(); row.Next()) {
    const auto d =
        destinations_.find(DestinationId{KeyReader(row.key()).Get32()});
    const auto record = OpenRow<DestinationRecord>(row.key(), row.value());
    if (d == destinations_.end()) {
      surplus.emplace_back(row.key());
    } else if (record.ok()) {
      d->second.record = *record;
      d->second.known = true;
    }
  }
  for (const std::string& key : surplus) {
    txn_->Delete(Table::kDestinations, key);
    Mend(absl::StrCat("destination ", KeyReader(key).Get32(),
                      ": holds nothing: removed"));
  }
  for (auto& [id, d] : destinations_) MendDestination(id, &d);
}

void Repair::MendDestination(DestinationId id, Destination* d) {
  DestinationRecord& r = d->record;
  if (!d->known || r.envelopes != d->lane || r.next_due != d->next_due) {
    r.envelopes = d->lane;
    r.next_due = d->next_due;
    txn_->Put(Table::kDestinations, DestinationKey(id),
              SealRow(DestinationKey(id), r));
    Mend(absl::StrCat("destination ", static_cast<uint32_t>(id), " (", r.action,
                      " ", r.routing_key,
                      "): ", d->known ? "counted again" : "made anew"));
  }
  if (d->lane > 0) agenda_.push_back(AgendaKey(r.AgendaDue(), id).ToString());
  destination_ids_.push_back(
      DestinationIdKey(DestinationDigest(r, digest_seed_), id).ToString());
  state_.next_destination =
      std::max(state_.next_destination, static_cast<uint32_t>(id) + 1);
}

// Both in order, side by side.
void Repair::Reconcile(Table table, std::vector<std::string>* wanted) {
  std::sort(wanted->begin(), wanted->end());
  std::vector<std::string> surplus, missing;
  auto next = wanted->begin();
  for (LmdbCursor row(txn_, table); row.valid(); row.Next()) {
    while (next != wanted->end() && *next < row.key())
      missing.push_back(*next++);
    if (next != wanted->end() && *next == row.key()) {
      ++next;
    } else {
      surplus.emplace_back(row.key());
    }
  }
  missing.insert(missing.end(), next, wanted->end());
  for (const std::string& key : surplus) txn_->Delete(table, key);
  for (const std::string& key : missing) txn_->Put(table, key, {});
  if (!surplus.empty())
    Mend(absl::StrCat(TableName(table), ": ", surplus.size(),
                      " rows too many: removed"));
  if (!missing.empty())
    Mend(absl::StrCat(TableName(table), ": ", missing.size(),
                      " rows were missing: made"));
}

void Repair::MendClaims() {
  absl::flat_hash_set<EnvelopeId> claimed;
  for (const std::string& key :
       Keys(Table::kClaims, {}, [&](const LmdbCursor& row) {
         const EnvelopeId id = EnvelopeIn(row.key().substr(16));
         const bool good =
             in_lane_.contains(id) ||
             (!txn_->Has(Table::kEnvelopes, EnvelopeKey(id)) &&
              txn_->Has(Table::kAside, ReportRowKey(id, kTheEnvelope)));
         return !good || !claimed.insert(id).second;
       })) {
    txn_->Delete(Table::kClaims, key);
    Mend(absl::StrCat("claim of ", ToString(EnvelopeIn(key.substr(16))),
                      ": holds nothing: removed"));
  }
}

void Repair::MendAside() {
  for (const std::string& key :
       Keys(Table::kAside, {}, [this](const LmdbCursor& row) {
         return row.key().back() == kTheEnvelope &&
                txn_->Has(Table::kEnvelopes, row.key().substr(0, 8));
       })) {
    txn_->Delete(Table::kAside, key);
    Mend(absl::StrCat("envelope ", ToString(EnvelopeIn(key)),
                      ": is in the queue: set aside no more"));
  }
  for (const std::string& key :
       Keys(Table::kAside, {}, [this](const LmdbCursor& row) {
         return !txn_->Has(Table::kMessages, row.key().substr(0, 4));
       })) {
    NeedMessage(MessageIn(key));
    Mend(absl::StrCat("message ", ToString(MessageIn(key)),
                      ": is gone: kept for what was set aside"));
  }
}

void Repair::CountLive() {
  std::vector<std::pair<std::string, MessageRecord>> wrong;
  for (LmdbCursor row(txn_, Table::kMessages); row.valid(); row.Next()) {
    auto record = OpenRow<MessageRecord>(row.key(), row.value());
    if (!record.ok()) continue;  // none is left
    uint32_t live = 0;
    for (const Table table :
         {Table::kEnvelopes, Table::kReports, Table::kAside})
      live +=
          static_cast<uint32_t>(Keys(table, row.key(), [](const LmdbCursor&) {
                                  return true;
                                }).size());
    if (live == record->live && live > 0) continue;
    record->live = live;
    wrong.emplace_back(std::string(row.key()), *std::move(record));
  }
  for (const auto& [key, record] : wrong) {
    const std::string name = absl::StrCat("message ", ToString(MessageIn(key)));
    if (record.live > 0) {
      txn_->Put(Table::kMessages, key, SealRow(key, record));
      if (!lost_.contains(MessageIn(key))) Mend(name + ": counted again");
    } else {
      txn_->Delete(Table::kMessages, key);
      txn_->Put(Table::kGarbage, key, {});
      Mend(name + ": nothing holds it: removed");
    }
  }
}

void Repair::DeletePieces(MessageId id) {
  const Key prefix = MessageKey(id);
  LmdbCursor row(txn_, Table::kBodies, prefix);
  while (row.valid() && absl::StartsWith(row.key(), prefix))
    row.DeleteAndNext();
}

void Repair::CollectOrphans() {
  for (const std::string& key :
       Keys(Table::kGarbage, {}, [this](const LmdbCursor& row) {
         return txn_->Has(Table::kMessages, row.key());
       })) {
    txn_->Delete(Table::kGarbage, key);
    Mend(absl::StrCat("message ", ToString(MessageIn(key)),
                      ": was to be freed: kept"));
  }
  std::vector<MessageId> orphans;
  LmdbCursor row(txn_, Table::kBodies);
  while (row.valid()) {
    const MessageId id = MessageIn(row.key());
    if (!txn_->Has(Table::kMessages, MessageKey(id)) &&
        !txn_->Has(Table::kGarbage, MessageKey(id)))
      orphans.push_back(id);
    if (static_cast<uint32_t>(id) == ~0u) break;
    row.Seek(MessageKey(MessageId{static_cast<uint32_t>(id) + 1}));
  }
  for (const MessageId id : orphans) {
    txn_->Put(Table::kGarbage, MessageKey(id), {});
    Mend(absl::StrCat("body ", ToString(id), ": belongs to nothing: freed"));
  }
}

void Repair::MendHistory() {
  std::vector<std::string> bad, ids;
  uint64_t last = 0;
  for (LmdbCursor row(txn_, Table::kHistory); row.valid(); row.Next()) {
    KeyReader key(row.key());
    const uint64_t serial = key.Get64();
    const EnvelopeId id{key.Get64()};
    const auto record = OpenHistory(row.key(), row.value());
    if (record.ok() && record->envelope.id == id) {
      ids.push_back(HistoryIdKey(id, serial).ToString());
      last = serial;
    } else {
      bad.emplace_back(row.key());
    }
  }
  for (const std::string& key : bad) {
    txn_->Delete(Table::kHistory, key);
    Mend(absl::StrCat("history of ", ToString(EnvelopeIn(key.substr(8))),
                      ": damaged: removed"));
  }
  Reconcile(Table::kHistoryIds, &ids);
  if (state_.serial < last) {
    state_.serial = last;
    Mend("counters: history was ahead of them");
  }
}

void Repair::MendDoubts() {
  for (const std::string& key :
       Keys(Table::kDoubts, {}, [](const LmdbCursor& row) {
         return !OpenRow<DoubtRecord>(row.key(), row.value()).ok();
       })) {
    txn_->Delete(Table::kDoubts, key);
    Mend("a doubt: damaged: removed");
  }
}

// Promise P2: what is there was accepted.
void Repair::MendCounters() {
  uint64_t queued = txn_->Rows(Table::kEnvelopes);
  for (LmdbCursor row(txn_, Table::kAside); row.valid(); row.Next())
    queued += row.key().back() == kTheEnvelope;
  const uint64_t ended = state_.delivered + state_.reported + state_.removed +
                         state_.discarded + state_.silent;
  if (state_.queued != queued || state_.accepted != ended + queued) {
    Mend(absl::StrCat("ledger: queued ", state_.queued, ", accepted ",
                      state_.accepted, ": now ", queued, ", ", ended + queued));
    state_.queued = queued;
    state_.accepted = ended + queued;
  }
  if (changed_) txn_->Put(Table::kMeta, kStateKey, SealRow(kStateKey, state_));
}

}  // namespace

absl::Status RepairQueue(LmdbEnv* env, const std::string& folder,
                         uint64_t digest_seed, absl::Time now,
                         StateRecord* state,
                         absl::FunctionRef<void(absl::string_view)> say) {
  LmdbTxn txn(env, LmdbTxn::kWrite);
  StateRecord mended = *state;
  Repair repair(&txn, folder, digest_seed, now, &mended, say);
  absl::Status status = repair.Run();
  if (!status.ok() || !repair.changed()) return status;
  status = txn.Commit();
  if (status.ok()) *state = mended;
  return status;
}

}  // namespace holdfast
