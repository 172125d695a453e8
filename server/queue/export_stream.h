// The stream of an export (protocol/queue_transfer.h), made on a thread of its
// own, and taken from the loop.  One at a time in a process.
#ifndef HOLDFAST_SERVER_QUEUE_EXPORT_STREAM_H_
#define HOLDFAST_SERVER_QUEUE_EXPORT_STREAM_H_

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/queue_export.h"

namespace holdfast {

// What the exporting thread and the loop share.
struct ExportState;

class ExportStream {
 public:
  // Begins one.  `wake` is called on the thread when there is something to
  // take, or the end.  kUnavailable: one is running.
  static absl::StatusOr<std::unique_ptr<ExportStream>> Begin(
      QueueStore* store, ExportOptions options,
      absl::AnyInvocable<void()> wake);
  ~ExportStream();  // gives it up

  // Whether Begin() would say so now.
  static bool IsRunning();

  struct Piece {
    std::string bytes;    // empty: nothing yet, or the end
    bool ended = false;   // nothing follows
    absl::Status status;  // of the end
  };
  // At most `limit` bytes.
  Piece Take(size_t limit);

 private:
  explicit ExportStream(std::shared_ptr<ExportState> state);

  const std::shared_ptr<ExportState> state_;
};

// Ends the one that runs: before the store goes.
void EndExports();

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_EXPORT_STREAM_H_
