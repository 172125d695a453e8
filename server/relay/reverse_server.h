// Tells `receive` what its clients are called.
#ifndef HOLDFAST_SERVER_RELAY_REVERSE_SERVER_H_
#define HOLDFAST_SERVER_RELAY_REVERSE_SERVER_H_

#include <cstdint>
#include <map>
#include <memory>

#include "server/door/door.h"
#include "server/door/receive_messages.h"
#include "server/loop/event_loop.h"
#include "server/relay/resolver.h"

namespace holdfast {

// Used on the loop's thread; both outlive it.
class ReverseServer {
 public:
  ReverseServer(EventLoop* loop, Resolver* resolver)
      : loop_(loop), resolver_(resolver) {}

  // To the `receive` of this number; replaces the one before.
  void AddDoor(uint32_t number, std::unique_ptr<Door> door);

 private:
  void OnFrame(uint32_t number, Frame& frame);
  void Answer(const std::shared_ptr<Door>& door, const ReverseRequest& request);
  void Drop(uint32_t number);

  EventLoop* const loop_;
  Resolver* const resolver_;
  std::map<uint32_t, std::shared_ptr<Door>> doors_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_REVERSE_SERVER_H_
