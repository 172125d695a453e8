// A group of deliveries that become durable together: what an agent does
// between two AgentCommit.
#ifndef HOLDFAST_SERVER_AGENT_DELIVERY_GROUP_H_
#define HOLDFAST_SERVER_AGENT_DELIVERY_GROUP_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "server/door/worker_messages.h"

namespace holdfast {

// Blocks.  Destroyed before Commit(), it leaves nothing behind.
class DeliveryGroup {
 public:
  virtual ~DeliveryGroup() = default;

  // The next delivery; Write() and End() are about it.  An error makes its
  // result a failure, the others go on.
  virtual void Begin(const AgentDelivery& delivery) = 0;
  virtual void Write(absl::string_view bytes) = 0;
  virtual void End() = 0;
  // Instead of End(): the text will not come to its end.
  virtual void Cancel() = 0;

  // Makes all of it durable and visible.  In order of Begin().
  virtual std::vector<AgentResults::One> Commit() = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_DELIVERY_GROUP_H_
