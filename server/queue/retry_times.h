// When to try again (reference part 2, section 2.1).  Pure: the time is passed
// in.
#ifndef HOLDFAST_SERVER_QUEUE_RETRY_TIMES_H_
#define HOLDFAST_SERVER_QUEUE_RETRY_TIMES_H_

#include <cstdint>

#include "absl/time/time.h"
#include "protocol/envelope.h"

namespace holdfast {

inline constexpr absl::Duration kMtaRetryBase = absl::Seconds(400);
inline constexpr absl::Duration kMdaRetryBase = absl::Seconds(10);

constexpr absl::Duration RetryBase(DeliveryKind kind) {
  return kind == DeliveryKind::kMta ? kMtaRetryBase : kMdaRetryBase;
}

// start + base * k² with the smallest k >= `failures` that lies behind `now`.
// `start` counts in whole seconds, as the reference's do.
absl::Time QuadraticTime(absl::Time start, absl::Duration base,
                         uint32_t failures, absl::Time now);

// The next try of an envelope that has failed for the `retry`th time: anchored
// at its creation (or the end of its hold), not at the failed attempt.
inline absl::Time NextTry(const Envelope& envelope, uint32_t retry,
                          absl::Time now) {
  return QuadraticTime(envelope.Released(), RetryBase(envelope.kind), retry,
                       now);
}

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_RETRY_TIMES_H_
