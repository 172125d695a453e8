// When the deadlines table is to speak of an envelope: delay warnings at
// created (or the end of its hold) + each `bounce warn-interval`, then its
// expiry (reference part 2, sections 2.4, 2.5; RFC 3461 section 4.1 where the
// reference departs from it).  The time of DELIVERBY (RFC 2852 section 4.1.4)
// is one more expiry in mode R and one more warning in mode N.  Pure.
#ifndef HOLDFAST_SERVER_QUEUE_DEADLINE_TIMES_H_
#define HOLDFAST_SERVER_QUEUE_DEADLINE_TIMES_H_

#include <vector>

#include "absl/time/time.h"
#include "protocol/envelope.h"

namespace holdfast {

using WarnIntervals = std::vector<absl::Duration>;

// Whether delay reports go out for it: not for the null sender, not for
// reports, not against NOTIFY.
bool WantsDelayReports(const Envelope& envelope);

// What is to be done about an envelope, `now`.
struct DeadlineStep {
  enum class What { kNothing, kWarn, kExpire } what = What::kNothing;
  absl::Time warned;  // kWarn: the latest of the times that have passed
  // kWarn, kExpire: the sender's DELIVERBY wants it so.
  bool by_wish = false;
  absl::Time next;  // when to look again; kExpire: never
};
DeadlineStep NextDeadlineStep(const Envelope& envelope,
                              const WarnIntervals& intervals, absl::Time now);

// The first deadline of a new envelope.
inline absl::Time FirstDeadline(const Envelope& envelope,
                                const WarnIntervals& intervals) {
  return NextDeadlineStep(envelope, intervals, absl::InfinitePast()).next;
}

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_DEADLINE_TIMES_H_
