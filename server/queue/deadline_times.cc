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
  const bool deliver_by = envelope.deliver_by != absl::UnixEpoch();
  const bool returned =
      deliver_by && (envelope.flags & kFlagDeliverByReturn) != 0;
  const absl::Time end = returned
                             ? std::min(envelope.expires, envelope.deliver_by)
                             : envelope.expires;
  DeadlineStep step;
  if (end <= now) {
    step.what = DeadlineStep::What::kExpire;
    step.by_wish = envelope.expires > now;
    step.next = absl::InfiniteFuture();
    return step;
  }
  step.next = end;
  if (!WantsDelayReports(envelope)) return step;
  step.warned = absl::InfinitePast();
  const auto warn_at = [&](absl::Time at, bool by_wish) {
    if (at <= envelope.last_bounce) return;  // warned of already
    if (at > now) {
      step.next = std::min(step.next, at);
      return;
    }
    // Several may have passed while we were down: one report is enough.
    step.what = DeadlineStep::What::kWarn;
    step.by_wish |= by_wish;
    step.warned = std::max(step.warned, at);
  };
  for (absl::Duration interval : intervals)
    warn_at(envelope.Released() + interval, false);
  if (deliver_by && !returned) warn_at(envelope.deliver_by, true);
  return step;
}

}  // namespace holdfast
