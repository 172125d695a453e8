// The queue as mail is moved out of it and into it: through the control socket
// of a running daemon, or the store itself while there is none.
#ifndef HOLDFAST_CTL_STORE_QUEUE_LINK_H_
#define HOLDFAST_CTL_STORE_QUEUE_LINK_H_

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "protocol/queue_transfer.h"
#include "storage/queue_store.h"

namespace holdfast {

// Blocks.  One export, or one import, on each.
class QueueLink {
 public:
  using Sink = absl::FunctionRef<absl::Status(std::string)>;

  virtual ~QueueLink() = default;
  // The stream of an export; `sink` gets it in pieces, in order.
  virtual absl::Status Export(const std::string& filter, Sink sink) = 0;
  // One request of an import.  An error: the import is over.
  virtual absl::StatusOr<ImportAnswer> Ask(ImportRequest request) = 0;
  // All requests have been answered.
  virtual absl::Status EndImport() = 0;
};

// kUnavailable: nobody listens there.
absl::StatusOr<std::unique_ptr<QueueLink>> ConnectQueue(
    const std::string& socket);

// `store` outlives it; for an import it was opened for writing.
std::unique_ptr<QueueLink> LinkStore(QueueStore* store);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_QUEUE_LINK_H_
