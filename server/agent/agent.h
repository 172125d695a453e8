// What smtpd-agent does once it is the user: takes groups of deliveries from
// `deliver` and answers each with its results.
#ifndef HOLDFAST_SERVER_AGENT_AGENT_H_
#define HOLDFAST_SERVER_AGENT_AGENT_H_

#include <limits.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "server/agent/blocking_door.h"
#include "server/agent/delivery_group.h"

namespace holdfast {

// One step (a write, a commit) that takes longer than this ends the process by
// SIGALRM, as the reference ends a delivery ("terminated; timeout").
inline constexpr unsigned kAgentStepSeconds = 300;
// Where a command runs, which has a limit of its own, 0 for none: it comes
// first.  0: a step may take for ever.
constexpr unsigned CommandStepSeconds(unsigned limit) {
  constexpr unsigned kLater = 15;
  if (limit == 0 || limit > UINT_MAX - kLater) return 0;
  return std::max(kAgentStepSeconds, limit + kLater);
}

// Serves until the peer closes the door (kOk) or says what it must not
// (kDataLoss), or a system call on the door fails (kUnavailable).  `method` is
// the only one it serves; `make_group` begins a group of it.
absl::Status ServeDeliveries(
    BlockingDoor* door, AgentDelivery::Method method,
    const std::function<std::unique_ptr<DeliveryGroup>()>& make_group,
    unsigned step_seconds = kAgentStepSeconds);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_AGENT_H_
