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

struct ExportWish {
  std::string filter;  // empty: all
  // What is exported is to leave the queue: until EndMove() nothing else is
  // done to it.
  bool move = false;
};

// Blocks.  One export, or one import, on each.
class QueueLink {
 public:
  using Sink = absl::FunctionRef<absl::Status(std::string)>;

  virtual ~QueueLink() = default;
  // The stream of an export; `sink` gets it in pieces, in order; `ended` says
  // whether it has had the last.  A move that fails here has moved nothing.
  virtual absl::Status Export(const ExportWish& wish, Sink sink,
                              absl::FunctionRef<bool()> ended) = 0;
  // What was exported with `move` leaves the queue, or stays: how many.  Does
  // nothing if Export() has failed.
  virtual absl::StatusOr<uint64_t> EndMove(bool moved) = 0;
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
