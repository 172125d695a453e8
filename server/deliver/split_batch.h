// Which recipients of a batch are delivered together.
#ifndef HOLDFAST_SERVER_DELIVER_SPLIT_BATCH_H_
#define HOLDFAST_SERVER_DELIVER_SPLIT_BATCH_H_

#include <vector>

#include "config/config.h"
#include "server/door/worker_messages.h"

namespace holdfast {

// Whether a command is run for this recipient, or a file named by an alias
// written: by the action's `mda`, or by "|command" and "/file".
bool IsForCommand(const BatchMessage::Recipient& recipient,
                  const Action* action);

// Pure.  What goes into mailboxes stays together and becomes durable together;
// what a command takes goes alone, since each may take minutes and fails for
// itself.  At least one part, perhaps without messages.
std::vector<DeliverBatch> SplitBatch(DeliverBatch batch, const Config& config);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DELIVER_SPLIT_BATCH_H_
