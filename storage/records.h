// The rows of the tables as values, and their bytes.  Every record is
//
//   version (1 octet), checksum (8, little endian), payload
//
// where the checksum is XXH3 of the payload, seeded with the table, the key and
// the version, so that a row in the wrong place is found as well.  Open*()
// give kDataLoss for anything else than what Seal*() made.  FORMAT.md lists the
// versions; records_test.cc holds an example of each.
#ifndef HOLDFAST_STORAGE_RECORDS_H_
#define HOLDFAST_STORAGE_RECORDS_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/body_info.h"
#include "protocol/envelope.h"
#include "protocol/ids.h"
#include "protocol/wire.h"
#include "storage/lmdb_env.h"
#include "storage/queue_batch.h"

namespace holdfast {

inline constexpr size_t kRecordHeaderBytes = 9;

// What is behind the header, and its version; kDataLoss.
struct OpenedRecord {
  uint8_t version = 0;
  absl::string_view payload;
};
std::string SealRecord(Table table, absl::string_view key, uint8_t version,
                       absl::string_view payload);
absl::StatusOr<OpenedRecord> OpenRecord(Table table, absl::string_view key,
                                        absl::string_view record);

// ---- Records whose payload is the wire form (protocol/wire.h)

// meta, key "schema".
struct SchemaRecord {
  static constexpr Table kTable = Table::kMeta;
  static constexpr uint8_t kVersion = 1;
  static constexpr uint32_t kCurrentSchema = 2;
  // Of a store with sealed rows; otherwise the same.
  static constexpr uint32_t kSealedSchema = 3;
  uint32_t schema = kCurrentSchema;
  uint64_t uuid = 0;
  absl::Time created;
  template <class A>
  void Fields(A& a) {
    a(schema, uuid, created);
  }
};

// meta, key "state": the counters.
struct StateRecord {
  static constexpr Table kTable = Table::kMeta;
  static constexpr uint8_t kVersion = 1;
  uint64_t start = 0;  // starts of `queue` on this store
  uint64_t serial = 0;
  uint64_t doubt_serial = 0;
  uint32_t next_message = 1;
  uint32_t next_destination = 1;
  // The ledger.
  uint64_t accepted = 0, queued = 0;
  uint64_t delivered = 0, reported = 0, removed = 0, discarded = 0, silent = 0;
  template <class A>
  void Fields(A& a) {
    a(start, serial, doubt_serial, next_message, next_destination);
    a(accepted, queued, delivered, reported, removed, discarded, silent);
  }
};

// meta, key "sealing": which keys a row may be sealed with.  Not there: none is
// sealed.
struct SealingRecord {
  static constexpr Table kTable = Table::kMeta;
  static constexpr uint8_t kVersion = 1;
  struct Key {
    uint32_t id = 0;
    std::string proof;  // by this key, of all of it but where sealing anew is
    template <class A>
    void Fields(A& a) {
      a(id, proof);
    }
  };
  uint32_t current = 0;  // what is written; 0: is not sealed
  bool plain = false;    // there may be rows that are not sealed
  std::vector<Key> keys;
  // How far sealing anew with the current key has come: all tables before this
  // one (an index of kSealedTables), and its rows up to this key.
  uint8_t table = 0;
  std::string after;
  template <class A>
  void Fields(A& a) {
    a(current, plain, keys, table, after);
  }
};

struct MessageRecord {
  static constexpr Table kTable = Table::kMessages;
  static constexpr uint8_t kVersion = 1;
  uint64_t serial = 0;
  uint32_t live = 0;
  absl::Time created;
  BodyInfo body;  // no chunks: the record was damaged, its body is lost
  // Where it was imported from; 0: it was accepted here.
  uint64_t origin_store = 0, origin_serial = 0;
  template <class A>
  void Fields(A& a) {
    a(serial, live, created, body);
    // Written if there is one: few have it.
    if constexpr (std::is_same_v<A, WireWriter>) {
      if (origin_store != 0) a(origin_store, origin_serial);
    } else if (a.More()) {
      a(origin_store, origin_serial);
    }
  }
};

struct DestinationRecord {
  static constexpr Table kTable = Table::kDestinations;
  static constexpr uint8_t kVersion = 1;
  DeliveryKind kind = DeliveryKind::kMta;
  std::string action;
  std::string routing_key;
  uint64_t envelopes = 0;  // rows of its lane
  absl::Time next_due = absl::InfiniteFuture();
  absl::Time postponed_until = absl::InfinitePast();
  absl::Time first_failure = absl::InfinitePast();
  uint32_t failures = 0;
  std::string error;
  template <class A>
  void Fields(A& a) {
    a(kind, action, routing_key, envelopes, next_due, postponed_until);
    a(first_failure, failures, error);
  }
  // Where its agenda row is, if it has one.
  absl::Time AgendaDue() const { return std::max(postponed_until, next_due); }
};

// What tells destinations apart, as bytes; and its digest for the keys of
// destination_ids, seeded with the store's uuid so that nobody outside can
// prepare collisions (which would only cost time).
std::string DestinationName(const DestinationRecord& record);
uint64_t DestinationDigest(const DestinationRecord& record, uint64_t seed);

struct IncomingRecord {
  static constexpr Table kTable = Table::kIncoming;
  static constexpr uint8_t kVersion = 1;
  uint64_t start = 0;  // of `queue`, when the body was begun
  uint64_t session = 0;
  uint32_t chunks = 0;
  uint64_t stored_bytes = 0;
  template <class A>
  void Fields(A& a) {
    a(start, session, chunks, stored_bytes);
  }
};

struct AsideRecord {
  static constexpr Table kTable = Table::kAside;
  static constexpr uint8_t kVersion = 1;
  absl::Time when;
  std::string reason;
  std::string bytes;  // the row as it was
  template <class A>
  void Fields(A& a) {
    a(when, reason, bytes);
  }
};

struct DoubtRecord {
  static constexpr Table kTable = Table::kDoubts;
  static constexpr uint8_t kVersion = 1;
  EnvelopeId envelope{};
  absl::Time when;
  DeliveryKind kind = DeliveryKind::kMta;
  std::string sender, dest;
  template <class A>
  void Fields(A& a) {
    a(envelope, when, kind, sender, dest);
  }
};

// imports: an envelope that came by an import.
struct ImportRecord {
  static constexpr Table kTable = Table::kImports;
  static constexpr uint8_t kVersion = 1;
  absl::Time when;
  EnvelopeId envelope{};  // what it became here
  template <class A>
  void Fields(A& a) {
    a(when, envelope);
  }
};

template <class Record>
std::string SealRow(absl::string_view key, const Record& record) {
  return SealRecord(Record::kTable, key, Record::kVersion, Encode(record));
}
template <class Record>
absl::StatusOr<Record> OpenRow(absl::string_view key, absl::string_view bytes) {
  absl::StatusOr<OpenedRecord> opened = OpenRecord(Record::kTable, key, bytes);
  if (!opened.ok()) return opened.status();
  if (opened->version != Record::kVersion)
    return absl::DataLossError("record of an unknown version");
  return Decode<Record>(opened->payload);
}

// ---- Records with an envelope in them, compressed with a built-in dictionary

// A row of `envelopes`.
struct EnvelopeRecord {
  DestinationId destination{};
  absl::Time due;
  absl::Time deadline;
  uint32_t flags = 0;  // the envelope's, readable without expanding it
  Envelope envelope;

  // Whether it has a lane row; else it has a row in `held`.
  bool InLane() const {
    return (flags & (kFlagHeld | kFlagSuspended | kFlagMoving)) == 0;
  }
};
std::string SealEnvelope(absl::string_view key, const EnvelopeRecord& record);
// With `head_only`, `envelope` is left empty (but checksummed all the same).
absl::StatusOr<EnvelopeRecord> OpenEnvelope(absl::string_view key,
                                            absl::string_view bytes,
                                            bool head_only = false);

// A row of `reports`.
struct ReportRecord {
  absl::Time added;
  Envelope envelope;
};
std::string SealReport(absl::string_view key, const ReportRecord& record);
absl::StatusOr<ReportRecord> OpenReport(absl::string_view key,
                                        absl::string_view bytes);

// A row of `history`.
struct HistoryRecord {
  absl::Time ended;
  Ending ending = Ending::kDelivered;
  Envelope envelope;  // as it was when it ended, with its attempts
};
std::string SealHistory(absl::string_view key, const HistoryRecord& record);
// With `head_only`, `envelope` is left empty.
absl::StatusOr<HistoryRecord> OpenHistory(absl::string_view key,
                                          absl::string_view bytes,
                                          bool head_only = false);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_RECORDS_H_
