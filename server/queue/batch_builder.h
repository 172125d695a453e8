// Turns what was read of a lane into batches for workers: groups adjacent
// envelopes of a message, sizes the batches, rewrites the sender.  Pure.
#ifndef HOLDFAST_SERVER_QUEUE_BATCH_BUILDER_H_
#define HOLDFAST_SERVER_QUEUE_BATCH_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "config/relay_sender.h"
#include "server/door/worker_messages.h"
#include "server/queue/lane_reader.h"

namespace holdfast {

// Messages of one batch, at most.
inline constexpr size_t kMaxBatchMessages = 64;

// How many batches `messages` are spread over when `free` may be open: a deep
// backlog goes in full batches, a small one over several sessions.
size_t BatchCount(size_t messages, size_t free);

// Our name among the MX for an envelope, if the action is a backup.
std::string BackupNameFor(const Action& action, const Envelope& envelope);

struct PreparedBatch {
  std::vector<BatchMessage> messages;
  std::vector<Envelope> envelopes;  // all of them
  std::string backup_name;          // relay
  uint64_t waiting = 0;  // envelopes of its destination behind these, about
  // For an agent: whose mail it is.  For the server of an `lmtp` action mail of
  // all users goes together.
  std::string mailbox_user;
  bool lmtp = false;
};

// Consumes `contents`: at most `max_batches` batches, made of all of its
// envelopes whose message could be read.  What does not fit is left out (it
// is still due).
std::vector<PreparedBatch> BuildBatches(LaneContents contents,
                                        const Action& action,
                                        size_t max_batches,
                                        const SenderRewriting& with = {});

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_BATCH_BUILDER_H_
