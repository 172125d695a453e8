// A connected stream socket on an event loop: TCP or Unix.
#ifndef HOLDFAST_SERVER_LOOP_STREAM_H_
#define HOLDFAST_SERVER_LOOP_STREAM_H_

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// Used on the loop's thread only.  Dropping it closes the socket at once; what
// was not yet written is lost (call Shutdown() first to see it out).
class Stream {
 public:
  struct Callbacks {
    // Bytes came.  The view is valid during the call only (all streams of a
    // loop share one read buffer).
    absl::AnyInvocable<void(absl::string_view)> on_bytes;
    // kOk: the peer has closed its sending side, and nothing more is read; what
    // is written still goes out.  Else what went wrong (kUnavailable with the
    // system's text); nothing is called after that.
    absl::AnyInvocable<void(absl::Status)> on_closed;
    // What was written has all been handed to the kernel (called when the
    // backlog falls to zero after it wasn't).  Optional.
    absl::AnyInvocable<void()> on_drained;
  };

  virtual ~Stream() = default;

  // Sets who is told.  Reading starts with the first call of Resume().
  virtual void SetCallbacks(Callbacks callbacks) = 0;
  virtual void PauseReading() = 0;
  virtual void ResumeReading() = 0;

  // Sends; tries at once, keeps what the kernel does not take.  The caller
  // watches backlog() and stops producing above a limit of its own.
  virtual void Write(absl::string_view bytes) = 0;
  // Bytes written but not yet taken by the kernel.
  virtual size_t backlog() const = 0;
  // Sends what is left, then closes the sending side.
  virtual void Shutdown() = 0;
  // Our own address of the connection: "192.0.2.1", "2001:db8::1"; empty for
  // a Unix socket.
  virtual std::string LocalAddress() const { return ""; }
  // Our own port of the connection; 0 for a Unix socket.
  virtual uint16_t LocalPort() const { return 0; }
};

// Takes ownership of a connected, non-blocking socket.
std::unique_ptr<Stream> MakeStream(EventLoop* loop, int fd);

// A connection being made.  Dropping it gives up.
using PendingConnect = std::unique_ptr<EventLoop::Registration>;

// Connects a TCP (or Unix) socket to `address`, from `source` if it is not
// null (port 0).  `done` gets the stream or kUnavailable with the system's
// text ("Connection refused"), kDeadlineExceeded after `timeout`.  TCP_NODELAY
// is set.
[[nodiscard]] PendingConnect Connect(
    EventLoop* loop, const sockaddr* address, socklen_t length,
    const sockaddr* source, socklen_t source_length, absl::Duration timeout,
    absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<Stream>>)> done);

// Accepts connections of a listening, non-blocking socket (not owned).
class Acceptor {
 public:
  virtual ~Acceptor() = default;
  virtual void Pause() = 0;
  virtual void Resume() = 0;
};

// `on_accept` gets a non-blocking, close-on-exec descriptor, which it owns.
// When descriptors run out, accepting pauses for a second, using a reserve
// descriptor so that it never spins; `on_exhausted` (may be null) is told.
[[nodiscard]] std::unique_ptr<Acceptor> MakeAcceptor(
    EventLoop* loop, int listening_fd,
    absl::AnyInvocable<void(int fd)> on_accept, Task on_exhausted);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOP_STREAM_H_
