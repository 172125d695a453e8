#include "server/deliver/split_batch.h"

#include <utility>

#include "config/delivery_way.h"

namespace holdfast {
namespace {

// All of a batch or a message but its list.
DeliverBatch EmptyCopy(DeliverBatch* batch) {
  std::vector<BatchMessage> messages = std::move(batch->messages);
  batch->messages.clear();
  DeliverBatch copy = *batch;
  batch->messages = std::move(messages);
  return copy;
}

BatchMessage EmptyCopy(BatchMessage* message) {
  std::vector<BatchMessage::Recipient> recipients =
      std::move(message->recipients);
  message->recipients.clear();
  BatchMessage copy = *message;
  message->recipients = std::move(recipients);
  return copy;
}

}  // namespace

bool IsForCommand(const BatchMessage::Recipient& recipient,
                  const Action* action) {
  return !recipient.exec.empty() ||
         (action != nullptr && WayOf(*action) == DeliveryWay::kCommand);
}

std::vector<DeliverBatch> SplitBatch(DeliverBatch batch, const Config& config) {
  auto it = config.actions.find(batch.action);
  const Action* action = it == config.actions.end() ? nullptr : &it->second;
  std::vector<DeliverBatch> parts;
  parts.push_back(EmptyCopy(&batch));
  for (BatchMessage& message : batch.messages) {
    BatchMessage together = EmptyCopy(&message);
    for (BatchMessage::Recipient& recipient : message.recipients) {
      if (!IsForCommand(recipient, action)) {
        together.recipients.push_back(std::move(recipient));
        continue;
      }
      DeliverBatch& alone = parts.emplace_back(EmptyCopy(&batch));
      alone.messages.push_back(EmptyCopy(&message));
      alone.messages[0].recipients.push_back(std::move(recipient));
    }
    if (!together.recipients.empty())
      parts[0].messages.push_back(std::move(together));
  }
  if (parts.size() > 1 && parts[0].messages.empty()) parts.erase(parts.begin());
  return parts;
}

}  // namespace holdfast
