// CheckQueue(): the invariants of FORMAT.md, on one snapshot.  Nothing it holds
// grows with the queue: tables that sort alike are read side by side, and where
// one row must point to another, the pointers are followed one way and the rows
// counted the other.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/keys.h"
#include "storage/queue_store_impl.h"

namespace holdfast {
namespace {

// Between looks at whether the writer needs the snapshot's pages.
constexpr uint64_t kPageRows = 1'000;

class Checker {
 public:
  Checker(const LmdbQueueView* view, uint64_t digest_seed,
          absl::FunctionRef<void(absl::string_view)> problem,
          absl::AnyInvocable<void(uint64_t)> progress)
      : view_(*view),
        txn_(view->txn()),
        digest_seed_(digest_seed),
        problem_(problem),
        progress_(std::move(progress)) {}

  absl::StatusOr<CheckSummary> Run() {
    CheckEnvelopes();
    CheckDestinations();
    CheckAgenda();
    CheckDestinationIds();
    CheckMessages();
    CheckBodies();
    CheckReports();
    CheckClaims();
    CheckAside();
    CheckDoubts();
    CheckHistory();
    CheckLedger();
    if (!txn_->ok()) return txn_->status();
    if (ended_)
      return absl::AbortedError("the queue needs its room; try again");
    return summary_;
  }

 private:
  void Problem(absl::string_view text) {
    ++summary_.problems;
    problem_(text);
  }

  // Counts a row; false: the check must end.
  bool Step() {
    if (++rows_ % kPageRows == 0) {
      if (progress_) progress_(rows_);
      if (view_.MustEnd()) ended_ = true;
    }
    return !ended_;
  }

  void Expect(uint64_t got, uint64_t wanted, absl::string_view what) {
    if (got != wanted && !ended_)
      Problem(absl::StrCat(what, ": ", got, ", should be ", wanted));
  }

  void CheckEnvelopes();
  void CheckDestinations();
  void CheckAgenda();
  void CheckDestinationIds();
  void CheckMessages();
  void CheckBodies();
  void CheckReports();
  void CheckClaims();
  void CheckAside();
  void CheckDoubts();
  void CheckHistory();
  void CheckLedger();
  // `judge`: whether damage is a problem.
  bool CheckPieces(LmdbCursor* row, MessageId id, const BodyInfo* body,
                   bool judge = true);

  const LmdbQueueView& view_;
  LmdbTxn* const txn_;
  const uint64_t digest_seed_;
  absl::FunctionRef<void(absl::string_view)> problem_;
  absl::AnyInvocable<void(uint64_t)> progress_;
  CheckSummary summary_;
  uint64_t rows_ = 0;
  bool ended_ = false;
  uint64_t aside_envelopes_ = 0;
};

// Each envelope has its deadline and either a lane row or a row in `held`.
void Checker::CheckEnvelopes() {
  uint64_t in_lane = 0, held = 0, damaged = 0;
  for (LmdbCursor row(txn_, Table::kEnvelopes); row.valid() && Step();
       row.Next()) {
    ++summary_.envelopes;
    const EnvelopeId id{KeyReader(row.key()).Get64()};
    const std::string name = absl::StrCat("envelope ", ToString(id));
    const auto record = OpenEnvelope(row.key(), row.value());
    if (!record.ok()) {
      ++damaged;
      Problem(absl::StrCat(name, ": ", std::string(record.status().message())));
      continue;
    }
    const EnvelopeRecord& r = *record;
    if (r.envelope.id != id) Problem(name + ": holds another one");
    if (!txn_->Has(Table::kMessages, MessageKey(MessageOf(id))))
      Problem(name + ": no message");
    if (!txn_->Has(Table::kDestinations, DestinationKey(r.destination)))
      Problem(name + ": no destination");
    if (!txn_->Has(Table::kDeadlines, DeadlineKey(r.deadline, id)))
      Problem(name + ": no deadline row");
    if (r.InLane()) {
      ++in_lane;
      if (!txn_->Has(Table::kLanes,
                     LaneKey(r.destination, r.envelope.priority, r.due, id)))
        Problem(name + ": no lane row");
    } else {
      ++held;
      if (!txn_->Has(Table::kHeld, HeldKey(r.destination, id)))
        Problem(name + ": no held row");
    }
  }
  // A damaged record's rows can't be told apart from surplus ones.
  if (damaged > 0) return;
  Expect(txn_->Rows(Table::kDeadlines), summary_.envelopes, "deadline rows");
  Expect(txn_->Rows(Table::kLanes), in_lane, "lane rows");
  Expect(txn_->Rows(Table::kHeld), held, "held rows");
}

// Lanes and destinations side by side.
void Checker::CheckDestinations() {
  LmdbCursor lane(txn_, Table::kLanes);
  LmdbCursor held(txn_, Table::kHeld);
  uint64_t in_agenda = 0;
  for (LmdbCursor row(txn_, Table::kDestinations); row.valid() && Step();
       row.Next()) {
    const DestinationId id{KeyReader(row.key()).Get32()};
    const std::string name =
        absl::StrCat("destination ", static_cast<uint32_t>(id));
    uint64_t envelopes = 0, waiting = 0;
    absl::Time earliest = absl::InfiniteFuture();
    for (; lane.valid() && lane.key().substr(0, 4) <= row.key() && Step();
         lane.Next()) {
      if (!absl::StartsWith(lane.key(), row.key())) {
        Problem("a lane row without a destination");
        continue;
      }
      ++envelopes;
      earliest =
          std::min(earliest, KeyReader(lane.key().substr(5, 8)).GetTime());
    }
    for (; held.valid() && held.key().substr(0, 4) <= row.key() && Step();
         held.Next())
      waiting += absl::StartsWith(held.key(), row.key());
    if (ended_) return;
    const auto record = OpenRow<DestinationRecord>(row.key(), row.value());
    if (!record.ok()) {
      Problem(absl::StrCat(name, ": ", std::string(record.status().message())));
      continue;
    }
    Expect(record->envelopes, envelopes, name + ": envelopes");
    if (record->next_due != earliest) Problem(name + ": wrong next_due");
    if (envelopes + waiting == 0) Problem(name + ": holds nothing");
    if (envelopes > 0) {
      ++in_agenda;
      if (!txn_->Has(Table::kAgenda, AgendaKey(record->AgendaDue(), id)))
        Problem(name + ": not in the agenda");
    }
    if (!txn_->Has(
            Table::kDestinationIds,
            DestinationIdKey(DestinationDigest(*record, digest_seed_), id)))
      Problem(name + ": no row in destination_ids");
  }
  if (!ended_ && lane.valid()) Problem("a lane row without a destination");
  Expect(txn_->Rows(Table::kAgenda), in_agenda, "agenda rows");
}

void Checker::CheckAgenda() {
  for (LmdbCursor row(txn_, Table::kAgenda); row.valid() && Step();
       row.Next()) {
    if (!txn_->Has(Table::kDestinations, row.key().substr(8)))
      Problem("an agenda row without a destination");
  }
}

void Checker::CheckDestinationIds() {
  Expect(txn_->Rows(Table::kDestinationIds), txn_->Rows(Table::kDestinations),
         "rows of destination_ids");
}

// Messages and what holds them, side by side.
void Checker::CheckMessages() {
  const Table kHolders[] = {Table::kEnvelopes, Table::kReports, Table::kAside};
  LmdbCursor envelope(txn_, kHolders[0]);
  LmdbCursor report(txn_, kHolders[1]);
  LmdbCursor aside(txn_, kHolders[2]);
  LmdbCursor* const holders[] = {&envelope, &report, &aside};
  for (LmdbCursor row(txn_, Table::kMessages); row.valid() && Step();
       row.Next()) {
    ++summary_.messages;
    const MessageId id{KeyReader(row.key()).Get32()};
    const std::string name = absl::StrCat("message ", ToString(id));
    uint64_t live = 0;
    for (LmdbCursor* const holder : holders) {
      for (;
           holder->valid() && holder->key().substr(0, 4) <= row.key() && Step();
           holder->Next()) {
        if (absl::StartsWith(holder->key(), row.key())) {
          ++live;
        } else {
          Problem("a row without its message");
        }
      }
    }
    if (ended_) return;
    const auto record = OpenRow<MessageRecord>(row.key(), row.value());
    if (!record.ok()) {
      Problem(absl::StrCat(name, ": ", std::string(record.status().message())));
      continue;
    }
    Expect(record->live, live, name + ": live");
    if (live == 0) Problem(name + ": nothing holds it");
    if (txn_->Has(Table::kIncoming, row.key()) ||
        txn_->Has(Table::kGarbage, row.key()))
      Problem(name + ": is in progress or garbage at the same time");
  }
  for (LmdbCursor* const holder : holders) {
    if (!ended_ && holder->valid()) Problem("a row without its message");
  }
}

// Reads the pieces of one body; against `body` if it is known.
bool Checker::CheckPieces(LmdbCursor* row, MessageId id, const BodyInfo* body,
                          bool judge) {
  const std::string name = absl::StrCat("body ", ToString(id));
  uint64_t bytes = 0;
  uint32_t chunks = 0;
  uint16_t piece = 0;
  bool sound = true;
  for (; row->valid() && absl::StartsWith(row->key(), MessageKey(id)) && Step();
       row->Next()) {
    KeyReader key(row->key());
    key.Get32();
    const uint32_t row_chunk = key.Get32();
    const uint16_t row_piece = key.Get16();
    if (row_piece == 0) {
      ++chunks;
      piece = 0;
      ++summary_.chunks;
    }
    if (row_chunk + 1 != chunks || row_piece != piece++) sound = false;
    const auto record = OpenRecord(Table::kBodies, row->key(), row->value());
    if (!record.ok()) {
      if (judge)
        Problem(
            absl::StrCat(name, ": ", std::string(record.status().message())));
    } else {
      bytes += record->payload.size();
    }
  }
  if (ended_ || body == nullptr) return !ended_;
  if (!sound) Problem(name + ": pieces are missing");
  Expect(chunks, body->chunks, name + ": chunks");
  Expect(bytes, body->stored_bytes, name + ": octets");
  return true;
}

void Checker::CheckBodies() {
  LmdbCursor row(txn_, Table::kBodies);
  while (row.valid() && !ended_) {
    const MessageId id{KeyReader(row.key().substr(0, 4)).Get32()};
    const Key key = MessageKey(id);
    if (const auto bytes = txn_->Get(Table::kMessages, key)) {
      const auto record = OpenRow<MessageRecord>(key, *bytes);
      const bool known = record.ok() && record->body.chunks > 0;
      CheckPieces(&row, id, known ? &record->body : nullptr);
    } else if (const auto incoming = txn_->Get(Table::kIncoming, key)) {
      const auto record = OpenRow<IncomingRecord>(key, *incoming);
      if (!record.ok())
        Problem(absl::StrCat("incoming ", ToString(id), ": damaged"));
      BodyInfo body;
      if (record.ok()) {
        body.chunks = record->chunks;
        body.stored_bytes = record->stored_bytes;
      }
      CheckPieces(&row, id, record.ok() ? &body : nullptr);
    } else {
      const bool garbage = txn_->Has(Table::kGarbage, key);
      if (!garbage)
        Problem(absl::StrCat("body ", ToString(id), ": belongs to nothing"));
      // Nobody reads any more what is about to be freed.
      CheckPieces(&row, id, nullptr, /*judge=*/!garbage);
    }
  }
  // And messages without any piece.
  for (LmdbCursor message(txn_, Table::kMessages); message.valid() && Step();
       message.Next()) {
    const auto record = OpenRow<MessageRecord>(message.key(), message.value());
    if (!record.ok() || record->body.chunks == 0) continue;
    LmdbCursor first(txn_, Table::kBodies, message.key());
    if (!first.valid() || !absl::StartsWith(first.key(), message.key()))
      Problem(absl::StrCat(
          "message ", ToString(MessageId{KeyReader(message.key()).Get32()}),
          ": no body"));
  }
}

void Checker::CheckReports() {
  for (LmdbCursor row(txn_, Table::kReports); row.valid() && Step();
       row.Next()) {
    const auto record = OpenReport(row.key(), row.value());
    if (!record.ok())
      Problem(absl::StrCat(
          "report of ",
          ToString(EnvelopeId{KeyReader(row.key().substr(0, 8)).Get64()}), ": ",
          std::string(record.status().message())));
  }
}

// Claims hold envelopes of the queue, each once.  They are few: what is in
// flight is bounded by the workers.
void Checker::CheckClaims() {
  absl::flat_hash_set<EnvelopeId> claimed;
  for (LmdbCursor row(txn_, Table::kClaims); row.valid() && Step();
       row.Next()) {
    const absl::string_view id_bytes = row.key().substr(16);
    const EnvelopeId id{KeyReader(id_bytes).Get64()};
    const std::string name = absl::StrCat("claim of ", ToString(id));
    if (!claimed.insert(id).second) Problem(name + ": twice");
    const auto bytes = txn_->Get(Table::kEnvelopes, id_bytes);
    if (!bytes.has_value()) {
      if (!txn_->Has(Table::kAside, ReportRowKey(id, 0)))
        Problem(name + ": no such envelope");
      continue;
    }
    const auto record = OpenEnvelope(id_bytes, *bytes, /*head_only=*/true);
    if (record.ok() && !record->InLane()) Problem(name + ": is held");
  }
}

void Checker::CheckAside() {
  for (LmdbCursor row(txn_, Table::kAside); row.valid() && Step(); row.Next()) {
    if (row.key().back() != 0) continue;
    ++aside_envelopes_;
    if (txn_->Has(Table::kEnvelopes, row.key().substr(0, 8)))
      Problem("an envelope is in the queue and set aside");
  }
}

void Checker::CheckDoubts() {
  if (txn_->Rows(Table::kDoubts) > kMaxDoubts) Problem("too many doubts");
  for (LmdbCursor row(txn_, Table::kDoubts); row.valid() && Step();
       row.Next()) {
    const auto record = OpenRow<DoubtRecord>(row.key(), row.value());
    if (!record.ok())
      Problem(absl::StrCat("doubt: ", std::string(record.status().message())));
  }
}

void Checker::CheckHistory() {
  uint64_t last = 0;
  for (LmdbCursor row(txn_, Table::kHistory); row.valid() && Step();
       row.Next()) {
    KeyReader key(row.key());
    last = key.Get64();
    const EnvelopeId id{key.Get64()};
    const std::string name = absl::StrCat("history of ", ToString(id));
    const auto record = OpenHistory(row.key(), row.value());
    if (!record.ok()) {
      Problem(absl::StrCat(name, ": ", std::string(record.status().message())));
    } else if (record->envelope.id != id) {
      Problem(name + ": is of another one");
    }
    if (!txn_->Has(Table::kHistoryIds, HistoryIdKey(id, last)))
      Problem(name + ": not in the index");
  }
  Expect(txn_->Rows(Table::kHistoryIds), txn_->Rows(Table::kHistory),
         "rows of history_ids");
  const auto state = txn_->Get(Table::kMeta, kStateKey);
  if (ended_ || !state.has_value()) return;
  const auto counters = OpenRow<StateRecord>(kStateKey, *state);
  if (counters.ok() && counters->serial < last)
    Problem("history is ahead of the counters");
}

void Checker::CheckLedger() {
  if (ended_) return;
  const auto bytes = txn_->Get(Table::kMeta, kStateKey);
  if (!bytes.has_value() || !OpenRow<StateRecord>(kStateKey, *bytes).ok())
    return Problem("the counters are damaged");
  const Ledger ledger = view_.ReadLedger();
  Expect(ledger.queued, summary_.envelopes + aside_envelopes_,
         "ledger: queued");
  Expect(ledger.delivered + ledger.reported + ledger.removed +
             ledger.discarded + ledger.silent + ledger.queued,
         ledger.accepted, "ledger: endings and queued");
}

}  // namespace

absl::StatusOr<CheckSummary> CheckQueue(
    QueueStore* store, absl::FunctionRef<void(absl::string_view)> problem,
    absl::AnyInvocable<void(uint64_t)> progress) {
  auto* const lmdb = dynamic_cast<LmdbQueueStore*>(store);
  if (lmdb == nullptr) return absl::UnimplementedError("not an LMDB queue");
  auto view = lmdb->RawView();
  if (!view.ok()) return view.status();
  return Checker(view->get(), lmdb->digest_seed(), problem, std::move(progress))
      .Run();
}

}  // namespace holdfast
