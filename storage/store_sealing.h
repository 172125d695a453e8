// Which keys a store is sealed with, and which it is opened with.
#ifndef HOLDFAST_STORAGE_STORE_SEALING_H_
#define HOLDFAST_STORAGE_STORE_SEALING_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "storage/queue_store.h"
#include "storage/records.h"
#include "storage/value_sealer.h"

namespace holdfast {

struct StoreSealing {
  // Null: nothing is sealed, and nothing was.
  std::shared_ptr<const ValueSealer> sealer;
  // To be written before anything is sealed, with the schema that goes with it.
  std::optional<SealingRecord> record;
};

// What the store is as its row of `meta` says.
struct SealedState {
  std::optional<SealingRecord> record;  // nullopt: never sealed, or unsealed
  // It has no rows yet that could be read without a key.
  bool empty = false;
};

// Looks at the keys before anything is touched.  kUnauthenticated: it is
// sealed, and there is no key, or not this one;
// kInvalidArgument: keys that can't be used together; kDataLoss.
absl::StatusOr<StoreSealing> OpenSealing(const SealedState& state,
                                         const StoreKeys& keys, bool read_only);

// The record with its proofs made anew, by `sealer`, which has all the keys.
void ProveSealing(const ValueSealer& sealer, SealingRecord* record);

void WipeKeys(StoreKeys* keys);

// "1a2b3c4d"
std::string KeyIdText(KeyId id);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_STORE_SEALING_H_
