// history EVPID, history MSGID: how envelopes went.
#ifndef HOLDFAST_SERVER_QUEUE_CONTROL_COMMANDS_HISTORY_H_
#define HOLDFAST_SERVER_QUEUE_CONTROL_COMMANDS_HISTORY_H_

#include <memory>

#include "protocol/history_listing.h"
#include "server/queue/control_command.h"

namespace holdfast {

// Those in the queue first, then what is kept of ended ones.
std::shared_ptr<ControlCommand> MakeHistoryCommand(
    const HistoryRequest& request, QueueServices* services,
    ControlOutput* output);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_CONTROL_COMMANDS_HISTORY_H_
