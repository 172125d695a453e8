// A door (server/door/door.h) for programs that do one thing at a time: they
// wait for a frame, act, answer.  No event loop, no descriptors on frames.
#ifndef HOLDFAST_SERVER_AGENT_BLOCKING_DOOR_H_
#define HOLDFAST_SERVER_AGENT_BLOCKING_DOOR_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/wire.h"

namespace holdfast {

class BlockingDoor {
 public:
  struct Frame {
    uint16_t type = 0;
    std::string payload;
  };

  // `fd` is a connected stream socket and stays its owner's; it is made
  // blocking.
  explicit BlockingDoor(int fd);
  BlockingDoor(const BlockingDoor&) = delete;
  BlockingDoor& operator=(const BlockingDoor&) = delete;

  // Waits for the next frame.  nullopt: the peer has closed the door.
  // kDataLoss: what came is not a frame; kUnavailable: the system's error.
  absl::StatusOr<std::optional<Frame>> Read();

  // Waits until all of it is with the kernel.
  template <class Message>
  absl::Status Send(const Message& message) {
    return SendFrame(Message::kType, Encode(message));
  }

 private:
  absl::Status SendFrame(uint16_t type, absl::string_view payload);
  // Reads until `bytes` are in in_; false at the end of the stream.
  absl::StatusOr<bool> Fill(size_t bytes);

  const int fd_;
  std::string in_;
  size_t used_ = 0;  // bytes of in_ that were given out
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_BLOCKING_DOOR_H_
