// Reads for control commands: on the store's reader thread, answered on the
// loop.
#ifndef HOLDFAST_SERVER_QUEUE_CONTROL_READ_H_
#define HOLDFAST_SERVER_QUEUE_CONTROL_READ_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "server/queue/queue_services.h"
#include "storage/queue_store.h"

namespace holdfast {

// Runs `read(view)` (no access to anything of the loop's) and then, on the
// loop, `then(*owner, absl::StatusOr<result of read>)`, if the owner is still
// there.
template <class Owner, class Read, class Then>
void ReadForCommand(QueueServices* services, std::weak_ptr<Owner> owner,
                    Read read, Then then) {
  using Value = decltype(read(std::declval<const QueueView&>()));
  EventLoop* loop = services->loop();
  services->store()->ReadLater(
      [loop, owner = std::move(owner), read = std::move(read),
       then = std::move(then)](absl::StatusOr<const QueueView*> view) mutable {
        auto value = view.ok() ? absl::StatusOr<Value>(read(**view))
                               : absl::StatusOr<Value>(view.status());
        loop->Post([owner = std::move(owner), then = std::move(then),
                    value = std::move(value)]() mutable {
          if (std::shared_ptr<Owner> alive = owner.lock())
            then(*alive, std::move(value));
        });
      });
}

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_CONTROL_READ_H_
