// Connects to the sockets of milters for `filters`, which has none of its own.
#ifndef HOLDFAST_SERVER_PARENT_MILTER_CONNECTOR_H_
#define HOLDFAST_SERVER_PARENT_MILTER_CONNECTOR_H_

#include <sys/socket.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "config/config.h"
#include "protocol/ids.h"
#include "server/door/door.h"
#include "server/door/program_messages.h"
#include "server/loop/event_loop.h"

namespace holdfast {

inline constexpr absl::Duration kMilterConnectTimeout = absl::Seconds(10);
// How often a Unix socket with a full backlog is tried again meanwhile.
inline constexpr absl::Duration kMilterConnectRetry = absl::Milliseconds(50);
// On their way at once, there or back; more are answered with an error.
inline constexpr size_t kMaxMilterConnects = 1024;

// Used on the loop's thread; never waits.
class MilterConnector {
 public:
  MilterConnector(EventLoop* loop, std::shared_ptr<const Config> config)
      : loop_(loop), config_(std::move(config)) {}

  // Answers through `door`, once, unless its room dies before.  What is
  // connected to is what the configuration says of the filter; `filters` can
  // only name one.
  void OnQuestion(WorkerId worker, Door* door, const MilterConnect& question);
  void OnRoomDied(WorkerId worker);

 private:
  struct Attempt {
    WorkerId worker{};
    Door* door = nullptr;
    uint64_t question = 0;
    OwnedFd fd;
    sockaddr_storage address = {};
    socklen_t address_size = 0;
    std::unique_ptr<EventLoop::Watch> watch;
    EventLoop::Timer retry;  // instead of `watch`
    EventLoop::Timer deadline;
  };

  void RetryLater(uint64_t number);
  void Retry(uint64_t number);
  void OnConnected(uint64_t number);
  void OnDeadline(uint64_t number);

  EventLoop* const loop_;
  const std::shared_ptr<const Config> config_;
  uint64_t next_ = 1;
  std::map<uint64_t, Attempt> attempts_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_MILTER_CONNECTOR_H_
