// The file of the store before LMDB opens it: made in one step, and made sure
// of after an end that was not clean.
#ifndef HOLDFAST_STORAGE_STORE_FILE_H_
#define HOLDFAST_STORAGE_STORE_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace holdfast {

// Makes the folder (0700) if it is missing.  kFailedPrecondition if it is
// something else, or others may write to it.
absl::Status MakeStoreFolder(const std::string& folder);

// Makes a new, empty store `folder`/`name`: written and synced under another
// name, then renamed.  `uuid` and `first_message` go into it.
absl::Status MakeStoreFile(const std::string& folder, const std::string& name,
                           uint64_t uuid, uint32_t first_message,
                           uint64_t map_bytes);

// After a crash, and above all after a failed sync, the page cache may show
// what never reached the disk.  With nothing of the file mapped: syncs it,
// which must succeed, drops it from the cache, and proves that it is gone; if
// it is not, compares the meta pages with the disk's.  kDataLoss if they
// differ.
absl::Status DistrustPageCache(const std::string& path);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_STORE_FILE_H_
