// The keys of the tables: numbers, big-endian, so that they sort as such.
// Every key is made here (FORMAT.md lists them).
#ifndef HOLDFAST_STORAGE_KEYS_H_
#define HOLDFAST_STORAGE_KEYS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/ids.h"
#include "storage/queue_batch.h"

namespace holdfast {

class Key {
 public:
  Key& Put8(uint8_t v) { return Put(v, 1); }
  Key& Put16(uint16_t v) { return Put(v, 2); }
  Key& Put32(uint32_t v) { return Put(v, 4); }
  Key& Put64(uint64_t v) { return Put(v, 8); }
  // Microseconds, the sign bit turned over so that earlier sorts first;
  // infinite times come out as the smallest and largest.
  Key& Put(absl::Time t) {
    return Put64(static_cast<uint64_t>(absl::ToUnixMicros(t)) ^ kSignBit);
  }

  operator absl::string_view() const { return {bytes_, size_}; }
  std::string ToString() const { return {bytes_, size_}; }

 private:
  friend class KeyReader;
  static constexpr uint64_t kSignBit = 1ull << 63;

  Key& Put(uint64_t v, int bytes) {
    for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
      bytes_[size_++] = static_cast<char>(v >> shift);
    return *this;
  }

  char bytes_[24];
  uint8_t size_ = 0;
};

// Takes a key apart.  A key that is too short reads as zeros and is !ok().
class KeyReader {
 public:
  explicit KeyReader(absl::string_view key) : key_(key) {}

  uint8_t Get8() { return static_cast<uint8_t>(Get(1)); }
  uint16_t Get16() { return static_cast<uint16_t>(Get(2)); }
  uint32_t Get32() { return static_cast<uint32_t>(Get(4)); }
  uint64_t Get64() { return Get(8); }
  absl::Time GetTime() {
    const int64_t micros = static_cast<int64_t>(Get64() ^ Key::kSignBit);
    if (micros == INT64_MAX) return absl::InfiniteFuture();
    if (micros == INT64_MIN) return absl::InfinitePast();
    return absl::FromUnixMicros(micros);
  }
  // All of it was read and there was enough.
  bool ok() const { return ok_ && key_.empty(); }

 private:
  uint64_t Get(size_t bytes) {
    if (key_.size() < bytes) {
      ok_ = false;
      key_ = {};
      return 0;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; ++i)
      v = v << 8 | static_cast<uint8_t>(key_[i]);
    key_.remove_prefix(bytes);
    return v;
  }

  absl::string_view key_;
  bool ok_ = true;
};

// Rows of `meta`.
inline constexpr absl::string_view kSchemaKey = "schema";
inline constexpr absl::string_view kStateKey = "state";
inline constexpr absl::string_view kSealingKey = "sealing";

inline Key MessageKey(MessageId id) {
  return Key().Put32(static_cast<uint32_t>(id));
}
inline Key EnvelopeKey(EnvelopeId id) {
  return Key().Put64(static_cast<uint64_t>(id));
}
// A chunk is kept in pieces that fit one page each.
inline Key BodyKey(MessageId id, uint32_t chunk, uint16_t piece) {
  return MessageKey(id).Put32(chunk).Put16(piece);
}
inline Key DestinationKey(DestinationId id) {
  return Key().Put32(static_cast<uint32_t>(id));
}
inline Key DestinationIdKey(uint64_t digest, DestinationId id) {
  return Key().Put64(digest).Put32(static_cast<uint32_t>(id));
}
inline uint8_t InvertPriority(int8_t priority) {
  return static_cast<uint8_t>(127 - priority);
}
inline Key LaneKey(DestinationId destination, int8_t priority, absl::Time due,
                   EnvelopeId envelope) {
  return DestinationKey(destination)
      .Put8(InvertPriority(priority))
      .Put(due)
      .Put64(static_cast<uint64_t>(envelope));
}
inline Key HeldKey(DestinationId destination, EnvelopeId envelope) {
  return DestinationKey(destination).Put64(static_cast<uint64_t>(envelope));
}
inline Key AgendaKey(absl::Time due, DestinationId destination) {
  return Key().Put(due).Put32(static_cast<uint32_t>(destination));
}
inline Key DeadlineKey(absl::Time when, EnvelopeId envelope) {
  return Key().Put(when).Put64(static_cast<uint64_t>(envelope));
}
inline Key ClaimKey(WorkerId worker, BatchId batch) {
  return Key()
      .Put64(static_cast<uint64_t>(worker))
      .Put64(static_cast<uint64_t>(batch));
}
inline Key ClaimKey(WorkerId worker, BatchId batch, EnvelopeId envelope) {
  return ClaimKey(worker, batch).Put64(static_cast<uint64_t>(envelope));
}
// `kind` 0 in the table `aside`: the envelope itself.
inline Key ReportRowKey(EnvelopeId envelope, uint8_t kind) {
  return EnvelopeKey(envelope).Put8(kind);
}
// The envelope is in the key, so that a damaged row's index row is known.
inline Key HistoryKey(uint64_t serial, EnvelopeId envelope) {
  return Key().Put64(serial).Put64(static_cast<uint64_t>(envelope));
}
inline Key HistoryIdKey(EnvelopeId envelope, uint64_t serial) {
  return EnvelopeKey(envelope).Put64(serial);
}
// Where it was accepted first, and the low half of its id there.
inline Key ImportKey(uint64_t store, uint64_t serial, uint32_t recipient) {
  return Key().Put64(store).Put64(serial).Put32(recipient);
}
inline Key SerialKey(uint64_t serial) { return Key().Put64(serial); }

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_KEYS_H_
