// Connects to the sockets of milters for `filters`, which has none of its own.
#ifndef HOLDFAST_SERVER_PARENT_MILTER_CONNECTOR_H_
#define HOLDFAST_SERVER_PARENT_MILTER_CONNECTOR_H_

#include <sys/socket.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
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
// When a Unix socket with a full backlog is tried again meanwhile: one attempt
// after the other until one finds it full still.  Twice the time after a round
// in which the first did, up to the longest.
inline constexpr absl::Duration kMilterConnectRetry = absl::Milliseconds(50);
inline constexpr absl::Duration kMaxMilterConnectRetry =
    absl::Milliseconds(800);
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
    std::string filter;
    OwnedFd fd;
    sockaddr_storage address = {};
    socklen_t address_size = 0;
    std::unique_ptr<EventLoop::Watch> watch;  // null: it waits in a Backlog
    EventLoop::Timer deadline;
  };
  // Those of a milter whose socket was full, in their order; never empty.
  struct Backlog {
    std::set<uint64_t> attempts;
    absl::Duration delay = kMilterConnectRetry;
    EventLoop::Timer retry;
  };

  void WaitForRoom(uint64_t number);
  void RetryLater(const std::string& filter, Backlog* backlog);
  void Retry(std::string filter);
  // It is not under way any more.
  Attempt Take(uint64_t number);
  void OnConnected(uint64_t number);
  void OnDeadline(uint64_t number);

  EventLoop* const loop_;
  const std::shared_ptr<const Config> config_;
  uint64_t next_ = 1;
  std::map<uint64_t, Attempt> attempts_;
  std::map<std::string, Backlog> full_;  // by filter
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_MILTER_CONNECTOR_H_
