// Whether what `receive` says about a message can be believed.  Pure.
#ifndef HOLDFAST_SERVER_QUEUE_ACCEPT_CHECK_H_
#define HOLDFAST_SERVER_QUEUE_ACCEPT_CHECK_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "server/door/receive_messages.h"

namespace holdfast {

// Longest value of any text field of an envelope.
inline constexpr size_t kMaxEnvelopeText = 1024;
// How far a message's time may lie from ours: a session may be long, clocks of
// two processes are one.
inline constexpr absl::Duration kMaxAge = absl::Hours(24);
// What a client's MT-PRIORITY may be (RFC 6710).
inline constexpr int kMaxPriority = 9;
// The longest FUTURERELEASE of any listener, and nine digits of BY= (RFC 2852).
inline constexpr absl::Duration kMaxHold = absl::Hours(24 * 366);
inline constexpr absl::Duration kMaxDeliverBy = absl::Seconds(999'999'999);

// Chunks that came before, for CheckAccept().
struct ChunksSeen {
  uint32_t chunks = 0;
  uint64_t bytes = 0;
};

// kOk, or kInvalidArgument with what is wrong.
absl::Status CheckAccept(const AcceptRequest& request, const ChunksSeen& seen,
                         const Config& config, absl::Time now);

// Clears what only the queue itself may say of an envelope, and lets its life
// begin when its hold ends.
void ResetQueueFields(Envelope* envelope);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_ACCEPT_CHECK_H_
