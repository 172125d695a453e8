#include "storage/records.h"

#define XXH_INLINE_ALL
#include <xxhash.h>
#include <zstd.h>

#include <cstdlib>
#include <cstring>
#include <memory>

namespace holdfast {
namespace {

// Version 1's dictionary; a later one gets another number below.
constexpr unsigned char kDictionary1[] = {
#include "storage/envelope_dictionary.inc"
};

// How the envelope within a record is packed.
enum EnvelopeCodec : uint8_t { kPlain = 0, kZstdDictionary1 = 1 };

constexpr uint8_t kEnvelopeVersion = 1;
constexpr uint8_t kReportVersion = 1;
constexpr uint8_t kHistoryVersion = 1;
constexpr int kEnvelopeZstdLevel = 1;

// Larger than any envelope that limits elsewhere let through.
constexpr size_t kMaxEnvelopeBytes = 1 << 20;

uint64_t Checksum(Table table, absl::string_view key, uint8_t version,
                  absl::string_view payload) {
  const uint64_t seed = XXH3_64bits(key.data(), key.size()) +
                        (static_cast<uint64_t>(table) << 8 | version);
  return XXH3_64bits_withSeed(payload.data(), payload.size(), seed);
}

struct FreeZstd {
  void operator()(ZSTD_CCtx* c) const { ZSTD_freeCCtx(c); }
  void operator()(ZSTD_DCtx* c) const { ZSTD_freeDCtx(c); }
};

// Never freed: used until the process ends.
const ZSTD_CDict* PackDictionary() {
  static const ZSTD_CDict* const dictionary =
      ZSTD_createCDict(kDictionary1, sizeof kDictionary1, kEnvelopeZstdLevel);
  return dictionary;
}
const ZSTD_DDict* UnpackDictionary() {
  static const ZSTD_DDict* const dictionary =
      ZSTD_createDDict(kDictionary1, sizeof kDictionary1);
  return dictionary;
}

// Appends codec and packed bytes.
void PackEnvelope(const Envelope& envelope, std::string* out) {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreeZstd> context = [] {
    std::unique_ptr<ZSTD_CCtx, FreeZstd> c(ZSTD_createCCtx());
    if (c == nullptr) std::abort();  // out of memory
    ZSTD_CCtx_refCDict(c.get(), PackDictionary());
    ZSTD_CCtx_setParameter(c.get(), ZSTD_c_dictIDFlag, 0);
    return c;
  }();
  thread_local std::string plain;
  plain.clear();
  Encode(envelope, &plain);
  const size_t start = out->size();
  out->resize(start + 1 + plain.size());
  const size_t size = ZSTD_compress2(context.get(), out->data() + start + 1,
                                     plain.size(), plain.data(), plain.size());
  if (ZSTD_isError(size) || size >= plain.size()) {
    (*out)[start] = kPlain;
    std::memcpy(out->data() + start + 1, plain.data(), plain.size());
    return;
  }
  (*out)[start] = kZstdDictionary1;
  out->resize(start + 1 + size);
}

absl::StatusOr<Envelope> UnpackEnvelope(absl::string_view packed) {
  if (packed.empty()) return absl::DataLossError("record without an envelope");
  const uint8_t codec = static_cast<uint8_t>(packed.front());
  packed.remove_prefix(1);
  if (codec == kPlain) return Decode<Envelope>(packed);
  if (codec != kZstdDictionary1)
    return absl::DataLossError("envelope of an unknown codec");
  const unsigned long long size =
      ZSTD_getFrameContentSize(packed.data(), packed.size());
  if (size > kMaxEnvelopeBytes)  // also the two values that mean "unknown"
    return absl::DataLossError("envelope of an impossible size");
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeZstd> context(
      ZSTD_createDCtx());
  if (context == nullptr) std::abort();
  thread_local std::string plain;
  plain.resize(size);
  const size_t got = ZSTD_decompress_usingDDict(
      context.get(), plain.data(), size, packed.data(), packed.size(),
      UnpackDictionary());
  if (ZSTD_isError(got) || got != size)
    return absl::DataLossError("envelope does not expand");
  return Decode<Envelope>(plain);
}

// What stands before the envelope in each kind of record.  The length of the
// head is known from its own fields, so a reader must follow them one by one.
struct EnvelopeHead {
  DestinationId destination{};
  absl::Time due;
  absl::Time deadline;
  uint32_t flags = 0;
  std::string packed;
  template <class A>
  void Fields(A& a) {
    a(destination, due, deadline, flags, packed);
  }
};
struct ReportHead {
  absl::Time added;
  std::string packed;
  template <class A>
  void Fields(A& a) {
    a(added, packed);
  }
};

struct HistoryHead {
  absl::Time ended;
  Ending ending = Ending::kDelivered;
  std::string packed;
  template <class A>
  void Fields(A& a) {
    a(ended, ending, packed);
  }
};

template <class Head>
absl::StatusOr<Head> OpenHead(Table table, uint8_t version,
                              absl::string_view key, absl::string_view bytes) {
  absl::StatusOr<OpenedRecord> opened = OpenRecord(table, key, bytes);
  if (!opened.ok()) return opened.status();
  if (opened->version != version)
    return absl::DataLossError("record of an unknown version");
  return Decode<Head>(opened->payload);
}

}  // namespace

std::string SealRecord(Table table, absl::string_view key, uint8_t version,
                       absl::string_view payload) {
  const uint64_t checksum = Checksum(table, key, version, payload);
  std::string record;
  record.reserve(kRecordHeaderBytes + payload.size());
  record.push_back(static_cast<char>(version));
  for (int i = 0; i < 8; ++i)
    record.push_back(static_cast<char>(checksum >> (8 * i)));
  record.append(payload.data(), payload.size());
  return record;
}

absl::StatusOr<OpenedRecord> OpenRecord(Table table, absl::string_view key,
                                        absl::string_view record) {
  if (record.size() < kRecordHeaderBytes)
    return absl::DataLossError("record is too short");
  OpenedRecord opened;
  opened.version = static_cast<uint8_t>(record[0]);
  uint64_t checksum = 0;
  for (int i = 0; i < 8; ++i)
    checksum |= static_cast<uint64_t>(static_cast<uint8_t>(record[1 + i]))
                << (8 * i);
  opened.payload = record.substr(kRecordHeaderBytes);
  if (Checksum(table, key, opened.version, opened.payload) != checksum)
    return absl::DataLossError("record does not match its checksum");
  return opened;
}

std::string DestinationName(const DestinationRecord& record) {
  std::string name(1, static_cast<char>(record.kind));
  WireWriter writer(&name);
  writer(const_cast<std::string&>(record.action),
         const_cast<std::string&>(record.routing_key));
  return name;
}

uint64_t DestinationDigest(const DestinationRecord& record, uint64_t seed) {
  const std::string name = DestinationName(record);
  return XXH3_64bits_withSeed(name.data(), name.size(), seed);
}

std::string SealEnvelope(absl::string_view key, const EnvelopeRecord& record) {
  EnvelopeHead head{
      record.destination, record.due, record.deadline, record.flags, {}};
  PackEnvelope(record.envelope, &head.packed);
  return SealRecord(Table::kEnvelopes, key, kEnvelopeVersion, Encode(head));
}

absl::StatusOr<EnvelopeRecord> OpenEnvelope(absl::string_view key,
                                            absl::string_view bytes,
                                            bool head_only) {
  absl::StatusOr<EnvelopeHead> head =
      OpenHead<EnvelopeHead>(Table::kEnvelopes, kEnvelopeVersion, key, bytes);
  if (!head.ok()) return head.status();
  EnvelopeRecord record;
  record.destination = head->destination;
  record.due = head->due;
  record.deadline = head->deadline;
  record.flags = head->flags;
  if (head_only) return record;
  absl::StatusOr<Envelope> envelope = UnpackEnvelope(head->packed);
  if (!envelope.ok()) return envelope.status();
  record.envelope = *std::move(envelope);
  if (record.envelope.flags != record.flags)
    return absl::DataLossError("envelope contradicts its record");
  return record;
}

std::string SealReport(absl::string_view key, const ReportRecord& record) {
  ReportHead head{record.added, {}};
  PackEnvelope(record.envelope, &head.packed);
  return SealRecord(Table::kReports, key, kReportVersion, Encode(head));
}

absl::StatusOr<ReportRecord> OpenReport(absl::string_view key,
                                        absl::string_view bytes) {
  absl::StatusOr<ReportHead> head =
      OpenHead<ReportHead>(Table::kReports, kReportVersion, key, bytes);
  if (!head.ok()) return head.status();
  absl::StatusOr<Envelope> envelope = UnpackEnvelope(head->packed);
  if (!envelope.ok()) return envelope.status();
  return ReportRecord{head->added, *std::move(envelope)};
}

std::string SealHistory(absl::string_view key, const HistoryRecord& record) {
  HistoryHead head{record.ended, record.ending, {}};
  PackEnvelope(record.envelope, &head.packed);
  return SealRecord(Table::kHistory, key, kHistoryVersion, Encode(head));
}

absl::StatusOr<HistoryRecord> OpenHistory(absl::string_view key,
                                          absl::string_view bytes,
                                          bool head_only) {
  absl::StatusOr<HistoryHead> head =
      OpenHead<HistoryHead>(Table::kHistory, kHistoryVersion, key, bytes);
  if (!head.ok()) return head.status();
  HistoryRecord record{head->ended, head->ending, {}};
  if (head_only) return record;
  absl::StatusOr<Envelope> envelope = UnpackEnvelope(head->packed);
  if (!envelope.ok()) return envelope.status();
  record.envelope = *std::move(envelope);
  return record;
}

}  // namespace holdfast
