// One write transaction of the queue: applies operations, keeps every index
// right (FORMAT.md lists the invariants), and writes each row of `messages` and
// `destinations` once, however many operations touched it.
//
// An operation that does not end in kOk has changed nothing: each checks first
// and writes then.  A failure of LMDB itself is the transaction's (ok() of it),
// which must then be given up as a whole.
#ifndef HOLDFAST_STORAGE_QUEUE_TXN_H_
#define HOLDFAST_STORAGE_QUEUE_TXN_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/node_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "storage/lmdb_env.h"
#include "storage/queue_batch.h"
#include "storage/records.h"
#include "storage/store_meter.h"

namespace holdfast {

// Bodies lie in pieces that, with their header and sealed, fill one overflow
// page of LMDB (4,096 less its 16 octets): free space never fragments.
inline constexpr size_t kPieceBytes =
    4096 - 16 - kRecordHeaderBytes - kSealBytes;

// A damaged row, by what it belongs to.
struct Damage {
  enum class What : uint8_t {
    kEnvelope = 1,     // the row of `envelopes`
    kReport = 2,       // the row of `reports`
    kMessage = 3,      // the row of `messages`, or the body
    kDestination = 4,  // rebuilt already; only to be told
  } what = What::kEnvelope;
  EnvelopeId envelope{};
  uint8_t report_kind = 0;
  MessageId message{};
  std::string reason;
};

// To set a damaged row aside.  What a damaged envelope can't tell itself is
// found by a scan before: its keys in other tables.
struct SetAside {
  Damage damage;
  std::vector<std::string> lane_keys, held_keys, deadline_keys;
};

// What is kept of envelopes that have ended, and what this transaction may do
// about it (FORMAT.md, "History").
struct HistoryPlan {
  absl::Duration age = absl::ZeroDuration();  // zero: nothing is kept
  uint64_t pages = 0;                         // of `history` and its index
  bool write = false;
  // Mail needs the room: all that is kept goes, the oldest first.
  bool pressed = false;
  // Octets of rows that may be deleted, besides twice what is added.
  size_t trim_bytes = 0;
};

// What a transaction needs to know of the store; outlives it.
struct QueueTxnContext {
  const absl::flat_hash_set<EnvelopeId>* claimed = nullptr;
  uint64_t start = 0;        // number of this start of `queue`
  uint64_t digest_seed = 0;  // of the keys of destination_ids
  absl::Time now;
  // Acceptances and chunks get kResourceExhausted at once if not.
  bool accepting = true;
  // Pages that may still be taken before the reserve is touched; of the
  // second, by reports.
  uint64_t room_pages = ~0ull;
  uint64_t report_room_pages = ~0ull;
  // Octets of bodies that may be freed.
  size_t free_bytes = 1 << 20;
  // Whether records may hold attempts, and imports be noted (not in a store of
  // schema 1).
  bool keep_attempts = true;
  // What is left of the reserve is for what lets mail move on: records must
  // not grow by attempts; (less still) nor by reasons.
  bool scarce = false;
  bool hardly_any = false;
  // Of this store; and where the ids begin that were leased since it was
  // opened.
  uint64_t store = 0;
  uint32_t first_lease = 0;
  // Somebody reads bodies that may be gone from the queue: nothing is freed.
  bool pinned = false;
  HistoryPlan history;
};

// Whether the body comes in the operation itself.
bool CarriesBody(const AcceptMessage& op);

class QueueTxn {
 public:
  QueueTxn(LmdbTxn* txn, const QueueTxnContext& context,
           const StateRecord& state);

  OperationResult Apply(const QueueOperation& operation);
  // What Apply() did since the last call, for BatchResult.
  std::vector<LaneChange> TakeLanes();
  bool TakeReportsAdded() { return std::exchange(reports_added_, false); }

  // Work of the store itself.
  void Apply(const SetAside& aside);
  // Gives up bodies in progress of earlier starts, `rows` of them at most,
  // from `*from` on, which moves.  False: there are no more.
  bool CleanIncoming(MessageId* from, int rows);
  // Frees bodies in `garbage` with what is left of free_bytes.
  void CollectGarbage();

  // Deletes history that is too old or too much.  True: there is more of it.
  bool TrimHistory();

  // Writes what was kept back.  The last thing before the commit.
  void Flush();

  // For after the commit.  Whether `pages` are left for what may come in, and
  // nothing was refused for lack of room.
  bool HasRoom(int64_t pages) const {
    return context_.accepting && !refused_ && room_pages_ >= pages;
  }
  const StateRecord& state() const { return state_; }
  const absl::flat_hash_map<EnvelopeId, bool>& claim_changes() const {
    return claim_changes_;
  }
  const std::vector<Damage>& damage() const { return damage_; }
  // What Flush() wrote of destinations: rows of their lanes.
  const std::vector<DestinationBacklog>& backlogs() const { return backlogs_; }

 private:
  struct DestinationEntry {
    DestinationRecord record;
    bool in_agenda = false;  // on disk, at:
    absl::Time agenda_due;
    bool earliest_gone = false;  // next_due must be looked up again
  };
  struct MessageEntry {
    MessageRecord record;
    bool recount = false;  // `live` is not known
  };

  // queue_txn_accept.cc
  OperationResult Do(const AcceptMessage& op);
  OperationResult Do(const StoreChunk& op);
  OperationResult Do(const DropIncoming& op);
  OperationResult Do(const LeaseIds& op);
  // queue_txn_reseal.cc
  OperationResult Do(const Reseal& op);
  void ResealSlice(size_t bytes, SealingRecord* record,
                   ResealProgress* progress);
  void FinishResealing(SealingRecord* record);
  // queue_txn_accept.cc
  OperationResult Accept(const AcceptMessage& op);
  // queue_txn_import.cc
  OperationResult DoImport(const AcceptMessage& op);
  absl::Status CheckImport(const AcceptMessage& op, std::vector<size_t>* fresh);
  absl::StatusOr<bool> IsFresh(const ImportOrigin& origin, EnvelopeId id);
  bool IsHere(const ImportOrigin& origin, EnvelopeId id);
  bool MayBeLeased(MessageId id) const;
  absl::Status CheckAccept(const AcceptMessage& op);
  absl::Status CheckIncoming(const AcceptMessage& op);
  absl::Status TakeRoom(uint64_t pages, bool report);
  void PutChunk(MessageId id, uint32_t chunk, absl::string_view bytes);
  std::optional<MessageId> FirstUsedId(MessageId from);
  bool IdInUse(MessageId id);

  // queue_txn_work.cc
  OperationResult Do(const ClaimEnvelopes& op);
  OperationResult Do(const RecordOutcomes& op);
  OperationResult Do(const ReleaseClaim& op);
  OperationResult Do(const PostponeDestination& op);
  OperationResult Do(const ActOnEnvelope& op);
  OperationResult Do(const DropReports& op);
  bool ApplyOutcome(const EnvelopeOutcome& outcome, OperationResult* result);
  void Strike(WorkerId worker, BatchId batch, EnvelopeId envelope);
  absl::Status ActOn(EnvelopeRecord record, const ActOnEnvelope& op,
                     OperationResult* result);
  absl::Status Reroute(const ActOnEnvelope& op, EnvelopeRecord* after);
  absl::Status RemoveAside(const ActOnEnvelope& op, OperationResult* result);
  void AddDoubt(const Envelope& envelope);
  void KeepAttempt(const EnvelopeOutcome& outcome, Envelope* envelope);
  // The outcome's reason, in place of the one that is there.
  bool MayHold(const EnvelopeOutcome& outcome, const Envelope& envelope) const;

  // queue_txn_aside.cc
  void AsideEnvelope(const SetAside& aside);
  void AsideReport(const SetAside& aside);
  void AsideMessage(const SetAside& aside);
  void PutAside(EnvelopeId id, uint8_t kind, const std::string& reason,
                absl::string_view bytes);
  uint32_t CountLive(MessageId id);
  void RebuildDestination(DestinationId id, DestinationEntry* entry);

  // queue_txn_history.cc
  void AddHistory(const Envelope& envelope, Ending ending);
  bool HistoryMustGo(absl::string_view key, absl::string_view row);

  // queue_txn.cc: rows and their indexes
  bool IsClaimed(EnvelopeId id) const;
  // kNotFound; kDataLoss, which is noted.
  absl::StatusOr<EnvelopeRecord> LoadEnvelope(EnvelopeId id,
                                              bool head_only = false);
  void AddEnvelope(const EnvelopeRecord& record);
  void ReplaceEnvelope(const EnvelopeRecord& before,
                       const EnvelopeRecord& after);
  // The row and its indexes; the ledger and the message are the caller's.
  void RemoveEnvelope(const EnvelopeRecord& record);
  // It ends, looking like `last`: the row, the ledger, the message, history.
  void EndEnvelope(const EnvelopeRecord& record, const Envelope& last,
                   Ending ending);
  void AddToLane(const EnvelopeRecord& record);
  void RemoveFromLane(DestinationId destination, absl::string_view lane_key);
  void NoteLane(DestinationId id, DeliveryKind kind, absl::Time due);
  void CountEnding(Ending ending);
  void AddReport(const Envelope& envelope, ReportKind kind);

  DestinationEntry* LoadDestination(DestinationId id);
  DestinationId FindDestination(const Envelope& envelope);
  uint64_t DigestOf(const DestinationRecord& record) const;
  void FlushDestination(DestinationId id, DestinationEntry* entry);
  absl::Time EarliestInLane(DestinationId id);

  MessageEntry* LoadMessage(MessageId id);
  void AddLive(MessageId id, int delta);
  void FlushMessage(MessageId id, MessageEntry* entry);
  // Whether all of it is gone.
  bool FreeBody(MessageId id);
  bool HasPrefix(Table table, absl::string_view prefix);

  LmdbTxn* const txn_;
  const QueueTxnContext context_;
  const std::string state_before_;
  StateRecord state_;
  int64_t room_pages_, report_room_pages_;
  uint64_t taken_pages_ = 0;  // of that room
  bool refused_ = false;
  int64_t free_bytes_;
  absl::flat_hash_map<EnvelopeId, bool> claim_changes_;  // claimed or not
  absl::node_hash_map<DestinationId, DestinationEntry> destinations_;
  std::vector<DestinationBacklog> backlogs_;
  absl::flat_hash_map<std::string, DestinationId> destination_names_;
  absl::node_hash_map<MessageId, MessageEntry> messages_;
  absl::flat_hash_map<DestinationId, LaneChange> lanes_;
  bool reports_added_ = false;
  size_t history_added_ = 0;  // octets
  std::vector<Damage> damage_;
};

// The doubts that are kept: the newest.
inline constexpr uint64_t kMaxDoubts = 100'000;

// Pages a batch may make dirty, an upper guess.
uint64_t DirtyPages(const QueueOperation& operation);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_QUEUE_TXN_H_
