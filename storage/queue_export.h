// Takes mail out of a queue, as it is at one commit, while the queue goes on.
//
// What matches is read in one view of at most kMaxCollectTime and copied into a
// file without a name; bodies are read later, in views of their own, and are
// pinned meanwhile (BodyPin).
#ifndef HOLDFAST_STORAGE_QUEUE_EXPORT_H_
#define HOLDFAST_STORAGE_QUEUE_EXPORT_H_

#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "storage/queue_store.h"

namespace holdfast {

inline constexpr absl::Duration kMaxCollectTime = absl::Seconds(60);
// Mail goes first: while others commit, a page is followed by a rest of
// kExportRests times what it took, at most kMaxExportRest.  Of the view's time
// that is a part only.
inline constexpr int kExportRests = 3;
inline constexpr absl::Duration kMaxExportRest = absl::Milliseconds(100);
inline constexpr absl::Duration kMaxRestingTime = absl::Seconds(20);
// Of envelopes, as collected.
inline constexpr uint64_t kMaxCollectedBytes = 8ull << 30;

struct ExportOptions {
  // Which envelopes; null: all.  Called with the view they are read in.
  absl::AnyInvocable<bool(const QueueView&, EnvelopeId)> matches;
  bool moving_only = false;  // of what has kFlagMoving
  absl::AnyInvocable<absl::Time()> clock = [] { return absl::Now(); };
  absl::AnyInvocable<void(absl::Duration)> rest = [](absl::Duration time) {
    absl::SleepFor(time);
  };
  // All envelopes were read, and their view is closed: what follows has time.
  absl::AnyInvocable<void()> collected = [] {};
};

// Gives `sink` the frames of protocol/queue_transfer.h, whole ones, in pieces
// of up to 512 KiB; now and then an empty piece, to be asked whether to go on.
// An error of `sink` ends the export with that error.  kResourceExhausted: the
// queue needed its room; kDataLoss: a body is damaged (which is said).  Blocks:
// not for the loop's thread.
absl::Status ExportQueue(QueueStore* store, ExportOptions options,
                         absl::FunctionRef<absl::Status(std::string)> sink);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_QUEUE_EXPORT_H_
