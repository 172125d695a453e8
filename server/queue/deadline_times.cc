#include "server/queue/deadline_times.h"

#include <algorithm>

namespace holdfast {

bool WantsDelayReports(const Envelope& envelope) {
  if (envelope.flags & kFlagBounce) return false;
  if (envelope.sender.user.empty()) return false;
  if (envelope.dsn_notify & kNotifyNever) return false;
  // Without NOTIFY the sender hears of delays and failures.
  return envelope.dsn_notify == 0 || (envelope.dsn_notify & kNotifyDelay) != 0;
}

DeadlineStep NextDeadlineStep(const Envelope& envelope,
                              const WarnIntervals& intervals, absl::Time now) {
  DeadlineStep step;
  if (envelope.expires <= now) {
    step.what = DeadlineStep::What::kExpire;
    step.next = absl::InfiniteFuture();
    return step;
  }
  step.next = envelope.expires;
  if (!WantsDelayReports(envelope)) return step;
  step.warned = absl::InfinitePast();
  for (absl::Duration interval : intervals) {
    const absl::Time at = envelope.created + interval;
    if (at <= envelope.last_bounce) continue;  // warned of already
    if (at > now) {
      step.next = std::min(step.next, at);
    } else {
      // Several may have passed while we were down: one report is enough.
      step.what = DeadlineStep::What::kWarn;
      step.warned = std::max(step.warned, at);
    }
  }
  return step;
}

}  // namespace holdfast
