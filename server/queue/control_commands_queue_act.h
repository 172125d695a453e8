// queue remove, hold, release, schedule, expire, bounce, reroute, set: acts on
// all envelopes that a filter matches; queue log.
#ifndef HOLDFAST_SERVER_QUEUE_CONTROL_COMMANDS_QUEUE_ACT_H_
#define HOLDFAST_SERVER_QUEUE_CONTROL_COMMANDS_QUEUE_ACT_H_

#include <memory>
#include <string>
#include <vector>

#include "server/queue/act_tokens.h"
#include "server/queue/control_command.h"

namespace holdfast {

// Groups by destination that are shown, and that are told apart.
inline constexpr size_t kMaxActGroupsShown = 20;
inline constexpr size_t kMaxActGroups = 10'000;

// Said when kMaxActEnvelopes were not enough.
inline constexpr char kActCutText[] =
    "more match than one act takes (1000000): repeat it for the rest\n";
static_assert(kMaxActEnvelopes == 1'000'000);

// Null: not such a command.
std::shared_ptr<ControlCommand> MakeActLogCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output);
std::shared_ptr<ControlCommand> MakeQueueActCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output, const ActPeer& peer,
    std::shared_ptr<ActTokens> tokens);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_CONTROL_COMMANDS_QUEUE_ACT_H_
