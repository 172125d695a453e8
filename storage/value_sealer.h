// How rows are sealed on disk, as the tables need to know it; what does it with
// a cipher is in storage/crypto.  FORMAT.md, "Sealing".
#ifndef HOLDFAST_STORAGE_VALUE_SEALER_H_
#define HOLDFAST_STORAGE_VALUE_SEALER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// The first octet of a sealed row.  Of others it is the version of a record,
// which stays below.
inline constexpr uint8_t kSealedMark = 0x81;
// What sealing adds: mark, key id, nonce, tag.
inline constexpr size_t kSealBytes = 1 + 4 + 24 + 16;

// Names a key without telling it.  Zero: no key, what is not sealed.
using KeyId = uint32_t;

inline bool IsSealed(absl::string_view row) {
  return !row.empty() && static_cast<uint8_t>(row[0]) == kSealedMark;
}

// Safe from any thread.
class ValueSealer {
 public:
  virtual ~ValueSealer() = default;

  // The key of what is written; zero: it is not sealed.
  virtual KeyId current() const = 0;
  // Whether rows that are not sealed are believed.
  virtual bool allows_plain() const = 0;
  // The row as it goes to disk: bound to its table and key.
  virtual std::string Seal(uint8_t table, absl::string_view key,
                           absl::string_view row) const = 0;
  // False: it is not what Seal() made for this place, or its key is not here.
  virtual bool Open(uint8_t table, absl::string_view key,
                    absl::string_view sealed, std::string* row) const = 0;
  // Proves that who made it has this key, which must be one of ours, and said
  // `text`.
  virtual std::string Prove(KeyId id, absl::string_view text) const = 0;
};

// Of a row as it is on disk.
inline KeyId KeyIdOf(absl::string_view row) {
  if (!IsSealed(row) || row.size() < kSealBytes) return 0;
  KeyId id = 0;
  for (int i = 1; i <= 4; ++i) id = id << 8 | static_cast<uint8_t>(row[i]);
  return id;
}

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_VALUE_SEALER_H_
