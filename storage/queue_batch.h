// Changes of the queue as values.  A batch touches nothing until the commit
// thread applies it, whole or not at all, in one transaction with others; it
// can be printed, compared and applied again after an abort.
#ifndef HOLDFAST_STORAGE_QUEUE_BATCH_H_
#define HOLDFAST_STORAGE_QUEUE_BATCH_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "protocol/body_info.h"
#include "protocol/envelope.h"
#include "protocol/ids.h"

namespace holdfast {

enum class ReportKind : uint8_t {
  kFailed = 1,
  kDelayed = 2,
  kDelivered = 3,  // asked for with NOTIFY=SUCCESS
  kRelayed = 4,    // the same, next hop without DSN
};

struct ReportKey {
  EnvelopeId envelope{};
  ReportKind kind = ReportKind::kFailed;
};

// How an envelope ended: the columns of the ledger (promise P2).
enum class Ending : uint8_t {
  kDelivered = 1,
  kReported = 2,   // failed or expired, sender told
  kRemoved = 3,    // by an operator
  kDiscarded = 4,  // by a rule
  kSilent = 5,     // failed, nobody to tell
};

// Where an imported message was accepted first.
struct ImportOrigin {
  uint64_t store = 0;   // its uuid
  uint64_t serial = 0;  // of the message there
  MessageId message{};  // its id there
  // The message's id is the one it had there: kAlreadyExists if it is in use or
  // may have been given out.  Else the id comes from a lease.
  bool keep_id = false;
  // Take what was here before and is not any more: mail that was moved away
  // and comes back.  Without it that is a repeat, and mail of this very store
  // is kFailedPrecondition.
  bool again = false;
};

// One message with its envelopes is accepted: the moment of acceptance.
// kNoRoom when free space is below the reserve.
struct AcceptMessage {
  MessageId message{};
  BodyInfo body;
  // The stored bytes if body.chunks == 1 and they have not come before through
  // StoreChunk; empty if the chunks are all there (an `incoming` row exists,
  // which this removes).
  std::string stored;
  absl::Time created;
  // Each is due at its `created`, or when its hold ends (Released()).  Their
  // destination is (kind, action, routing_key).
  std::vector<Envelope> envelopes;
  // Pending reports that this message, which is a report, settles: their rows
  // go in the same transaction.  One that is not there (any more) makes the
  // operation kFailedPrecondition: that report was made already.
  std::vector<ReportKey> settles;
  // When the deadlines table is to speak first of each envelope, parallel to
  // `envelopes`: the earlier of its first warning and its expiry.  Empty: the
  // expiry of each.
  std::vector<absl::Time> first_deadlines;
  // Set: this comes from an export, here or elsewhere.  Envelopes that came
  // before, known by (store, serial, low half of the id), are left out; the
  // result's `envelopes` are those that were taken.  None: kOk, and chunks that
  // came for it are given up.
  std::optional<ImportOrigin> origin;
  // When each is due, parallel to `envelopes`.  Empty: as above.
  std::vector<absl::Time> dues;
};

// A piece of a body in progress: index 0, 1, ... in order, of at most
// kMaxChunkBytes (storage/body_codec.h).  The first one makes the `incoming`
// row.  Batches that touch a message some of whose chunks still wait are
// applied after them.
struct StoreChunk {
  MessageId message{};
  uint64_t session = 0;  // whose; for the clean-up and for listings
  uint32_t index = 0;
  std::string bytes;
  bool keep_id = false;  // ImportOrigin's
};

// A body in progress is given up; its chunks become garbage.
struct DropIncoming {
  MessageId message{};
};

// These envelopes are now with a worker.  An id that is gone or claimed
// already makes the operation kFailedPrecondition and changes nothing.
struct ClaimEnvelopes {
  WorkerId worker{};
  BatchId batch{};
  std::vector<EnvelopeId> envelopes;
};

// What became of one claimed envelope.  It is struck from its claim.
struct EnvelopeOutcome {
  EnvelopeId envelope{};
  enum class Result : uint8_t {
    kEnded = 1,   // `ending`; with a report the body stays until it is settled
    kRetry = 2,   // due again at `due`; retry, status, error_line recorded
    kReturn = 3,  // was not tried: due as before, nothing recorded
    kHold = 4,    // held: kFlagHeld, not due until released
  } result = Result::kReturn;
  Ending ending = Ending::kDelivered;
  // A pending report to make out of the envelope, or none.
  bool report = false;
  ReportKind report_kind = ReportKind::kFailed;
  absl::Time due;
  bool count_retry = true;  // kRetry: whether `retry` grows
  EnhancedStatus status;
  std::string error_line;
  // kRetry, kReturn, kHold: sets kFlagInDoubt and adds to the list of doubts.
  // Else kRetry clears the flag; the others, which say nothing about an older
  // attempt in doubt, leave it.
  bool in_doubt = false;
  // Appended to the envelope's (protocol/attempts.h cuts it); or there was
  // none.
  std::optional<Attempt> attempt;
};

// Outcomes of envelopes that are not in this claim (any more) are ignored: a
// worker may report twice.
struct RecordOutcomes {
  WorkerId worker{};
  BatchId batch{};
  std::vector<EnvelopeOutcome> outcomes;
};

// A claim whose worker is dead: all that is left in it is in doubt (or, if
// `in_doubt` is false, known not to have been tried) and due as before.  What
// is in doubt gets an attempt of which only the time is known.
struct ReleaseClaim {
  WorkerId worker{};
  BatchId batch{};
  bool in_doubt = true;
  bool hold = false;  // hold what is in doubt instead of retrying it
};

// The whole destination failed: nothing of it is due before `until`.
// `until` in the past clears the postponement (and the error, if empty).
struct PostponeDestination {
  DestinationId destination{};
  absl::Time until;
  absl::Time first_failure;  // base of the quadratic formula
  uint32_t failures = 0;
  std::string error;
};

// An operator's, or the deadline's, acts on envelopes that no worker has.  On a
// claimed or missing envelope: kFailedPrecondition / kNotFound for that one.
struct ActOnEnvelope {
  EnvelopeId envelope{};
  enum class Act : uint8_t {
    // Due at `due` (now); also clears kFlagHeld, and ends a hold of
    // FUTURERELEASE.
    kSchedule = 1,
    kRemove = 2,  // ends as kRemoved
    // Ends as kReported, with a report, or kSilent without: its time is over,
    // or an operator returns it to its sender.
    kExpire = 3,
    kWarn = 4,     // a pending kDelayed report if `report`; last_bounce = due
    kSuspend = 5,  // sets kFlagSuspended; not due
    kResume = 6,
    kHold = 7,
    kRelease = 8,
    // Goes to (kind, action, routing_key) from now on, and is due at `due` if
    // it was due later and no hold of FUTURERELEASE is on it.
    kReroute = 9,
    kSet = 10,  // `priority` and `expires`, as far as they are there
    // Sets kFlagMoving: it is not due, and no act is done to it but the two
    // that follow.
    kMove = 11,
    kMoveBack = 12,  // clears it
    kMoved = 13,     // ends as kRemoved: it is in an archive
  } act = Act::kSchedule;
  absl::Time due;
  bool report = false;
  EnhancedStatus status;
  std::string error_line;
  // kWarn and kExpire: when the deadlines table is to speak next of it.  On a
  // claimed envelope this is set (unless infinite) although the act fails, so
  // that the table does not name it again at once.
  absl::Time next_deadline = absl::InfiniteFuture();
  // kReroute.  The routing key of a kMta envelope is its domain in lower case,
  // or the relay URL of the next hop ("smtp://mx.example.net"), which holds a
  // "/": walks by domain rely on it.  An empty one: kInvalidArgument.
  DeliveryKind kind = DeliveryKind::kMta;
  std::string action;
  std::string routing_key;
  // kSet.  With `expires` goes `next_deadline`.
  std::optional<int8_t> priority;
  std::optional<absl::Time> expires;
};

// Pending reports that will not be sent; missing ones are ignored.
struct DropReports {
  std::vector<ReportKey> reports;
};

// Message ids [first, first + count) are given out: the counter moves past
// them.  No id of the range is in use when the result is kOk.
struct LeaseIds {
  uint32_t count = 0;
};

// Rows that are sealed with another key than what is written now are sealed
// anew, or opened if that is not sealed: a slice of about so many octets,
// behind the last one.  Again and again until it is finished.
struct Reseal {
  size_t bytes = 256 << 10;
};

using QueueOperation =
    std::variant<AcceptMessage, StoreChunk, DropIncoming, ClaimEnvelopes,
                 RecordOutcomes, ReleaseClaim, PostponeDestination,
                 ActOnEnvelope, DropReports, LeaseIds, Reseal>;

// Operations that succeed or fail together only as far as the transaction
// goes: each has a status of its own.
using QueueBatch = std::vector<QueueOperation>;

// A lane that may have something to do sooner than before.
struct LaneChange {
  DestinationId destination{};
  DeliveryKind kind = DeliveryKind::kMta;
  absl::Time due;  // of the earliest envelope that was added or re-timed
};

// What a slice has done.
struct ResealProgress {
  uint64_t looked = 0, resealed = 0;
  uint64_t damaged = 0;   // rows that none of the keys opens
  uint64_t rows = 0;      // of all tables with sealed rows
  uint32_t key = 0;       // what they are sealed with; 0: they are not
  bool finished = false;  // nothing needs another key any more
};

struct OperationResult {
  // kOk; kResourceExhausted: no room (452 4.3.1), nothing of it was done;
  // kFailedPrecondition, kNotFound: see the operation; kDataLoss: its record
  // is damaged and was set aside.
  absl::Status status;
  // LeaseIds: the first id.
  MessageId first_id{};
  // RecordOutcomes, ReleaseClaim, ActOnEnvelope: what the envelopes looked
  // like afterwards (or before they went), for log lines, in order; missing
  // ones are left out.
  std::vector<Envelope> envelopes;
  ResealProgress reseal;  // Reseal
};

// What became of a batch, after its transaction was synced.
struct BatchResult {
  // Not kOk: the transaction was not committed and nothing is known to be on
  // disk (kAborted: a failed sync; the process must end, see
  // docs/ARCHITECTURE.md).
  absl::Status status;
  std::vector<OperationResult> operations;  // as many as in the batch
  std::vector<LaneChange> lanes;
  bool reports_added = false;
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_QUEUE_BATCH_H_
