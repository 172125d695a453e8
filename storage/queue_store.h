// The queue on disk.  All knowledge of LMDB is in storage/; this is its door.
//
// Writing: Submit() from any thread; one commit thread gathers what waits into
// one transaction, syncs it, and calls the batches' callbacks, in order of
// submission, on the commit thread (the owner posts them to its loop).  Chunks
// and freed bodies together take at most 1 MiB of a transaction, round robin
// over sessions.
//
// Reading: a QueueView is one short read transaction on the calling thread.
// View() opens one; it must be dropped within the turn.
#ifndef HOLDFAST_STORAGE_QUEUE_STORE_H_
#define HOLDFAST_STORAGE_QUEUE_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "protocol/body_info.h"
#include "protocol/envelope.h"
#include "protocol/ids.h"
#include "storage/queue_batch.h"
#include "storage/store_meter.h"

namespace holdfast {

// `queue encryption`.
struct StoreKeys {
  std::string current;   // seals what is written; empty: nothing is sealed
  std::string previous;  // opens what is there as well; empty: none
};

struct StoreOptions {
  std::string path;                   // the folder; made, 0700, if missing
  uint64_t size_limit = 16ull << 30;  // `queue size`
  double min_free = 0.05;             // `queue min-free`, of the file system
  uint64_t reserve_bytes = 16 << 20;
  // `queue history AGE size SIZE`: how long, and in how much room, envelopes
  // that have ended are kept with their attempts.  Zero: not at all; what an
  // earlier start has kept goes, a slice at a time.
  absl::Duration history_age = absl::ZeroDuration();
  uint64_t history_bytes = 1ull << 30;
  bool read_only = false;  // offline tools: shares owner.lock
  // What is told as warnings ("warn: ..."): damage, missing features.
  // Called on any thread of the store, one call at a time.
  absl::AnyInvocable<void(absl::string_view)> on_warning;
  // What time it is, for what the store notes itself (last_try, doubts, when a
  // report was added).  Called on the commit thread.
  absl::AnyInvocable<absl::Time()> clock = [] { return absl::Now(); };
  // `queue check --repair`: mends what a check would find before anything else
  // uses the store, and calls this for each thing.  Null: it does not.
  absl::AnyInvocable<void(absl::string_view)> on_repair;
  // Wiped when the store is open, or could not be opened.
  StoreKeys keys;
};

struct DestinationRow {
  DestinationId id{};
  DeliveryKind kind = DeliveryKind::kMta;
  std::string action;
  std::string routing_key;
  uint64_t envelopes = 0;  // rows of its lane
  absl::Time next_due;     // earliest due time in its lane
  absl::Time postponed_until = absl::InfinitePast();
  absl::Time first_failure = absl::InfinitePast();
  uint32_t failures = 0;
  std::string error;
};

struct LanePosition {
  int8_t priority = 127;  // highest first
  absl::Time due = absl::InfinitePast();
  EnvelopeId envelope{};
};

struct MessageRow {
  MessageId id{};
  uint64_t serial = 0;
  BodyInfo body;
  uint32_t live = 0;  // envelopes and pending reports that hold the body
  absl::Time created;
  // Where it was imported from; 0: it was accepted here.
  uint64_t origin_store = 0, origin_serial = 0;
};

struct DeadlineRow {
  absl::Time when;
  EnvelopeId envelope{};
};

struct PendingReport {
  ReportKey key;
  Envelope envelope;  // with status and error_line of the failure
  absl::Time added;
};

struct ClaimRow {
  WorkerId worker{};
  BatchId batch{};
  std::vector<EnvelopeId> envelopes;
};

// An envelope and where it stands.
struct EnvelopeRow {
  Envelope envelope;
  DestinationId destination{};
  // nullopt: held or suspended.  One that is being moved is in no lane either.
  std::optional<absl::Time> due;
  bool claimed = false;
};

struct DoubtRow {
  EnvelopeId envelope{};
  absl::Time when;
  DeliveryKind kind = DeliveryKind::kMta;
  std::string sender, dest;
};

// An envelope that has ended, as `queue history` keeps it.
struct HistoryRow {
  uint64_t serial = 0;  // with the store's uuid: unique for ever
  absl::Time ended;
  Ending ending = Ending::kDelivered;
  Envelope envelope;  // as it was then, with its attempts
};

// Promise P2: accepted = sum of the endings + queued, at every commit.
struct Ledger {
  uint64_t accepted = 0;
  uint64_t delivered = 0, reported = 0, removed = 0, discarded = 0, silent = 0;
  uint64_t queued = 0;  // rows of `envelopes`, set aside ones included
};

struct StoreStats {
  // `claims` counts the envelopes in claims.
  uint64_t messages = 0, envelopes = 0, reports = 0, incoming = 0, garbage = 0,
           claims = 0, destinations = 0, aside = 0, history = 0;
  uint64_t history_bytes = 0;  // pages, index included
  uint64_t used_bytes = 0, free_bytes = 0, size_limit = 0;
  uint64_t commits = 0, last_group = 0;
  bool accepting = true;  // room above the reserve
};

// The room that a queue takes up, for people.
struct StoreFigures {
  struct Table {
    std::string name;
    uint64_t rows = 0, pages = 0;
  };
  uint64_t page_bytes = 4096;
  uint64_t file_bytes = 0;
  uint64_t limit_bytes = 0;  // of the map
  uint64_t end_pages = 0;    // up to the last one that was ever used
  uint64_t used_pages = 0;   // of those; the others are free
  uint64_t readers = 0;      // open, this one included
  uint64_t behind = 0;       // transactions since the oldest of them began
  std::vector<Table> tables;
  // Of the first messages, kFigureMessages at most.
  uint64_t sampled = 0, raw_bytes = 0, stored_bytes = 0;
};
inline constexpr uint64_t kFigureMessages = 10'000;

// A read transaction.  Used on the thread that opened it; what it gives are
// copies.  A record that is damaged is kDataLoss; the store sets it aside.
class QueueView {
 public:
  virtual ~QueueView() = default;

  // Destinations with something due at or before `until`, earliest first,
  // behind (`after_due`, `after`): pages of at most `limit`.
  virtual std::vector<std::pair<absl::Time, DestinationId>> Agenda(
      absl::Time after_due, DestinationId after, absl::Time until,
      size_t limit) const = 0;
  virtual absl::StatusOr<DestinationRow> Destination(
      DestinationId id) const = 0;
  // The destination this envelope belongs to; kNotFound if it has no row.
  virtual absl::StatusOr<DestinationRow> DestinationOf(
      const Envelope& envelope) const {
    return absl::UnimplementedError(ToString(envelope.id));
  }
  // Rows of a lane strictly behind `after`, due at or before `until`, highest
  // priority first, then by time.
  virtual std::vector<LanePosition> Lane(DestinationId id, LanePosition after,
                                         absl::Time until,
                                         size_t limit) const = 0;
  virtual absl::StatusOr<Envelope> FindEnvelope(EnvelopeId id) const = 0;
  virtual absl::StatusOr<MessageRow> FindMessage(MessageId id) const = 0;
  // Chunks [first, first + count) one after the other.
  virtual absl::StatusOr<std::vector<std::string>> BodyChunks(
      MessageId id, uint32_t first, uint32_t count) const = 0;
  // When an envelope is due: from its lane row; nullopt if not in a lane
  // (held).
  virtual std::optional<absl::Time> DueOf(const Envelope& envelope) const = 0;
  // Whether a claim holds it.
  virtual bool IsClaimed(EnvelopeId id) const = 0;

  virtual std::vector<DeadlineRow> Deadlines(absl::Time until,
                                             size_t limit) const = 0;
  virtual std::optional<absl::Time> FirstDeadline() const = 0;
  // Behind `after`, in order of (message, envelope, kind).
  virtual std::vector<PendingReport> Reports(ReportKey after,
                                             size_t limit) const = 0;
  virtual std::vector<ClaimRow> Claims() const = 0;
  virtual std::vector<DoubtRow> Doubts(size_t limit) const = 0;
  // What is kept of ended envelopes with ids from `first` to `last`, in order
  // of (id, serial), behind (`first`, `after`): at most `limit`.  An id is
  // there again if it was given out again.
  virtual std::vector<HistoryRow> History(EnvelopeId first, uint64_t after,
                                          EnvelopeId last,
                                          size_t limit) const = 0;
  // Envelopes in order of id, behind `after`.
  virtual std::vector<Envelope> Envelopes(EnvelopeId after,
                                          size_t limit) const = 0;
  // The same with where they stand, and one of them.
  virtual std::vector<EnvelopeRow> EnvelopeRows(EnvelopeId after,
                                                size_t limit) const;
  virtual absl::StatusOr<EnvelopeRow> FindEnvelopeRow(EnvelopeId id) const;
  // Held and suspended envelopes, in order of (destination, id), behind
  // (`from`, `after`).
  virtual std::vector<std::pair<DestinationId, EnvelopeId>> Held(
      DestinationId from, EnvelopeId after, size_t limit) const = 0;
  virtual std::vector<DestinationRow> Destinations(DestinationId after,
                                                   size_t limit) const = 0;
  // kNotFound: it has no row.
  virtual absl::StatusOr<DestinationRow> FindDestination(
      DeliveryKind kind, const std::string& action,
      const std::string& routing_key) const = 0;
  // The writer needs the pages that this view keeps: end it now.
  virtual bool MustEnd() const { return false; }
  // False: a tree could not be read, and what a page ended with is not the end.
  virtual bool CanRead() const { return true; }
  virtual Ledger ReadLedger() const = 0;
  virtual StoreStats Stats() const = 0;
  virtual StoreFigures Figures() const { return {}; }
};

// While one is held, no body is freed: what leaves the queue can still be read
// by a later view.  Room goes first: the store takes pins back when free space
// falls below twice the reserve.
class BodyPin {
 public:
  virtual ~BodyPin() = default;
  virtual bool holds() const = 0;
};

class QueueStore {
 public:
  using Done = absl::AnyInvocable<void(BatchResult)>;

  // Opens the store, makes it if there is none, recovers: releases nothing by
  // itself (claims of earlier starts are listed by Claims()), cleans bodies of
  // earlier starts that were never accepted in the background.  kUnavailable
  // with the holder's process id if another process has it locked.  Before
  // anything is touched: kUnauthenticated if it is sealed and there is no key,
  // or another one.
  static absl::StatusOr<std::unique_ptr<QueueStore>> Open(StoreOptions options);

  virtual ~QueueStore() = default;

  // `done` runs on the commit thread.
  virtual void Submit(QueueBatch batch, Done done) = 0;
  virtual absl::StatusOr<std::unique_ptr<QueueView>> View() = 0;
  // Runs `read` on the store's reader thread, in order: for reads that may have
  // to wait for the disk.  Safe from any thread.
  virtual void ReadLater(
      absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)> read) = 0;
  // The same on another thread, at idle priority: for reads that have time.
  virtual void ReadIdly(
      absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)> read) {
    ReadLater(std::move(read));
  }
  // All that a view sees which is opened from now on stays readable while the
  // pin holds.  Waits for a commit: not on the loop's thread.
  virtual absl::StatusOr<std::unique_ptr<BodyPin>> PinBodies() {
    return absl::UnimplementedError("no pins");
  }
  // What commits have been like.
  virtual CommitFigures Commits() const { return {}; }
  // How many there were, without waiting for anybody.
  virtual uint64_t CommitCount() const {
    return Commits().microseconds.count();
  }
  // The destinations with most envelopes in their lanes, largest first, from
  // memory; of those that nothing has happened to since the store was opened,
  // only after the first call has had all of them counted in the background.
  virtual std::vector<DestinationBacklog> LargestBacklogs(size_t /*limit*/) {
    return {};
  }
  // Waits until all that was submitted before is committed; for shutting down.
  virtual void Drain() = 0;

  // This machine's store (made at creation), as 16 hex digits for file names.
  virtual const std::string& uuid() const = 0;
  // Where it lies, and where files without a name may be made.
  virtual std::string folder() const { return "/tmp"; }
  // Counts starts of `queue` on this store.
  virtual uint64_t start_number() const = 0;
};

// All invariants of storage/FORMAT.md, checked on one snapshot.  `problem` is
// called with one line for each finding; `progress` (may be null) with the
// number of rows seen.  The status is about being able to check at all.
struct CheckSummary {
  uint64_t messages = 0, envelopes = 0, chunks = 0, problems = 0;
};
absl::StatusOr<CheckSummary> CheckQueue(
    QueueStore* store, absl::FunctionRef<void(absl::string_view)> problem,
    absl::AnyInvocable<void(uint64_t)> progress);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_QUEUE_STORE_H_
