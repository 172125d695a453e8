// What smtpd-agent does once it is the user: takes groups of deliveries from
// `deliver` and answers each with its results.
#ifndef HOLDFAST_SERVER_AGENT_AGENT_H_
#define HOLDFAST_SERVER_AGENT_AGENT_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "server/agent/agent_arguments.h"
#include "server/agent/blocking_door.h"
#include "server/agent/delivery_group.h"

namespace holdfast {

// Serves until the peer closes the door (kOk) or says what it must not
// (kDataLoss), or a system call on the door fails (kUnavailable).  `method` is
// the only one it serves; `make_group` begins a group of it.
absl::Status ServeDeliveries(
    BlockingDoor* door, AgentDelivery::Method method,
    const std::function<std::unique_ptr<DeliveryGroup>()>& make_group,
    unsigned step_seconds = kAgentStepSeconds);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_AGENT_H_
