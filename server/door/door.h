// A door: a typed channel between two rooms (processes) of smtpd.
//
// Over a Unix stream socket pair go frames: 4 bytes length (little endian, of
// what follows), 2 bytes type, 1 byte number of descriptors that ride on the
// frame, then the fields of one struct (protocol/wire.h).  Frames written
// during a turn of the loop leave together at its end, in one system call.
//
// Rules that keep doors from blocking each other (docs/ARCHITECTURE.md):
// answers are always read; only requests are held back, by credits that the
// protocol of the door defines; whoever cannot keep up makes `receive` stop
// reading from the network.  A door itself buffers what it is given: backlog()
// tells how much, and who produces without being asked watches it.
//
// The peer is not trusted: a frame longer than kMaxFrameBytes, or one that
// does not decode, closes the door with kDataLoss.
#ifndef HOLDFAST_SERVER_DOOR_DOOR_H_
#define HOLDFAST_SERVER_DOOR_DOOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "protocol/wire.h"
#include "server/loop/event_loop.h"
#include "storage/owned_fd.h"

namespace holdfast {

inline constexpr size_t kMaxFrameBytes = 16 << 20;

// One frame as it came in.  `payload` is valid during the callback only.
struct Frame {
  uint16_t type = 0;
  absl::string_view payload;
  std::vector<OwnedFd> fds;
};

// Used on the loop's thread only.
class Door {
 public:
  virtual ~Door() = default;

  // `on_frame` may destroy the door (last act).  `on_closed` is called once:
  // kOk when the peer closed or died, else why.
  virtual void SetCallbacks(
      absl::AnyInvocable<void(Frame&)> on_frame,
      absl::AnyInvocable<void(absl::Status)> on_closed) = 0;

  template <class Message>
  void Send(const Message& message, std::vector<OwnedFd> fds = {}) {
    std::string& out = BeginFrame(Message::kType);
    Encode(message, &out);
    EndFrame(std::move(fds));
  }

  // Bytes not yet taken by the peer's socket.
  virtual size_t backlog() const = 0;
  // Calls `task` once when the backlog has fallen below `bytes`.
  virtual void WhenBelow(size_t bytes, Task task) = 0;
  // Stops (and starts again) the delivery of frames, and so, in the end, the
  // peer.  Only for rooms that serve requests of others.
  virtual void PauseReading() = 0;
  virtual void ResumeReading() = 0;

 protected:
  virtual std::string& BeginFrame(uint16_t type) = 0;
  virtual void EndFrame(std::vector<OwnedFd> fds) = 0;
};

// Takes ownership of `fd`, a connected Unix stream socket.
std::unique_ptr<Door> MakeDoor(EventLoop* loop, OwnedFd fd);

// Two ends in one process, for tests: frames arrive in a later turn.
std::pair<std::unique_ptr<Door>, std::unique_ptr<Door>> MakeDoorPair(
    EventLoop* loop);

// A connected, close-on-exec socket pair for a door between two processes.
std::pair<OwnedFd, OwnedFd> MakeDoorSockets();

// Calls the overload of `handler` that takes the message in `frame`:
//
//   if (!Dispatch<Accepted, ChunkStored>(frame, [&](auto& m) { On(m); }))
//     ... neither type, or malformed: the peer is broken, drop the door.
template <class... Messages, class Handler>
bool Dispatch(Frame& frame, Handler&& handler) {
  bool handled = false;
  auto attempt = [&]<class Message>(Message*) {
    if (handled || frame.type != Message::kType) return;
    absl::StatusOr<Message> message = Decode<Message>(frame.payload);
    if (!message.ok()) return;
    handled = true;
    handler(*message);
  };
  (attempt(static_cast<Messages*>(nullptr)), ...);
  return handled;
}

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DOOR_DOOR_H_
