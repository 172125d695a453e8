// queue list [OPTIONS] [FILTER], show queue [MSGID | FILTER].
#ifndef HOLDFAST_SERVER_QUEUE_CONTROL_COMMANDS_QUEUE_LIST_H_
#define HOLDFAST_SERVER_QUEUE_CONTROL_COMMANDS_QUEUE_LIST_H_

#include <memory>
#include <string>
#include <vector>

#include "server/queue/control_command.h"

namespace holdfast {

// Of commands that keep rows until the end (--sort, --group-by), how many may
// run at a time: each may take kMaxListedBytes.
inline constexpr int kMaxGatheringLists = 2;

// Null: `words` are something else.
std::shared_ptr<ControlCommand> MakeQueueListCommand(
    const std::vector<std::string>& words, QueueServices* services,
    ControlOutput* output);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_CONTROL_COMMANDS_QUEUE_LIST_H_
