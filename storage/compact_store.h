// `queue compact`: the store in as few pages as it needs, while nobody has it
// open.
#ifndef HOLDFAST_STORAGE_COMPACT_STORE_H_
#define HOLDFAST_STORAGE_COMPACT_STORE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "storage/queue_store.h"

namespace holdfast {

struct CompactSummary {
  uint64_t bytes_before = 0, bytes_after = 0;  // of the file
  uint64_t messages = 0, envelopes = 0;
};

// `open` opens the store in a folder.  The queue in `folder` is checked, copied
// without its free pages into a folder below it, the copy is synced, opened,
// checked and compared with the original, and takes its place in one step.
// Whatever fails before that leaves the store as it was.
// kFailedPrecondition: it has problems, which are to be mended first, or the
// copy is not the same; kUnavailable: somebody has it open.
absl::StatusOr<CompactSummary> CompactStore(
    const std::string& folder,
    absl::FunctionRef<absl::StatusOr<std::unique_ptr<QueueStore>>(
        const std::string& folder, bool read_only)>
        open);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_COMPACT_STORE_H_
