// Reads for control commands: on the store's reader thread, answered on the
// loop.
#ifndef HOLDFAST_SERVER_QUEUE_CONTROL_READ_H_
#define HOLDFAST_SERVER_QUEUE_CONTROL_READ_H_

#include <memory>
#include <utility>

#include "server/queue/queue_services.h"
#include "server/queue/store_calls.h"

namespace holdfast {

// Runs `read(view)` (no access to anything of the loop's) and then, on the
// loop, `then(*owner, absl::StatusOr<result of read>)`, if the owner is still
// there.
template <class Owner, class Read, class Then>
void ReadForCommand(QueueServices* services, std::weak_ptr<Owner> owner,
                    Read read, Then then) {
  ReadThenPost(
      services->loop(), services->store(), std::move(read),
      [owner = std::move(owner), then = std::move(then)](auto value) mutable {
        if (std::shared_ptr<Owner> alive = owner.lock())
          then(*alive, std::move(value));
      });
}

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_CONTROL_READ_H_
