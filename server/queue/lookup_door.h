// The door to `lookup`: where does mail for a recipient go?  One thread: the
// loop's.
#ifndef HOLDFAST_SERVER_QUEUE_LOOKUP_DOOR_H_
#define HOLDFAST_SERVER_QUEUE_LOOKUP_DOOR_H_

#include <cstdint>
#include <map>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "server/door/door.h"
#include "server/door/receive_messages.h"
#include "server/loop/event_loop.h"
#include "server/queue/store_calls.h"

namespace holdfast {

class LookupDoor {
 public:
  using Done = absl::AnyInvocable<void(ExpandAnswer)>;

  explicit LookupDoor(EventLoop* loop) : loop_(loop) {}

  void SetDoor(std::unique_ptr<Door> door);
  // `done` is called in a later turn; with lookup away: "451 ...".
  void Expand(ExpandRequest request, Done done);

 private:
  void OnClosed();
  void OnFrame(Frame& frame);

  EventLoop* loop_;
  std::unique_ptr<Door> door_;
  uint64_t last_question_ = 0;
  std::map<uint64_t, Done> waiting_;
  CallGuard guard_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_LOOKUP_DOOR_H_
