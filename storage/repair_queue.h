// Mends a store that nobody uses: what can't be read is set aside or thrown
// away, and everything that follows from the rest is made anew (the invariants
// of FORMAT.md).
#ifndef HOLDFAST_STORAGE_REPAIR_QUEUE_H_
#define HOLDFAST_STORAGE_REPAIR_QUEUE_H_

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/lmdb_env.h"
#include "storage/records.h"

namespace holdfast {

// In one transaction; `say` is called for each thing that is mended, with a
// line.  What is left of a body that is not whole is written to
// `folder`/repaired-TIME/MESSAGE.  `state`: the counters, as they are to be.
// Memory: about 100 octets an envelope.  An error (a tree that can't be read,
// no room, no file): nothing was changed.
absl::Status RepairQueue(LmdbEnv* env, const std::string& folder,
                         uint64_t digest_seed, absl::Time now,
                         StateRecord* state,
                         absl::FunctionRef<void(absl::string_view)> say);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_REPAIR_QUEUE_H_
