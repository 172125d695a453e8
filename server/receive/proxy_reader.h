// Reads the PROXY header of a connection, and not an octet more: what follows
// may be TLS.
#ifndef HOLDFAST_SERVER_RECEIVE_PROXY_READER_H_
#define HOLDFAST_SERVER_RECEIVE_PROXY_READER_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "protocol/proxy_header.h"
#include "server/door/door.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// A balancer says it at once.
inline constexpr absl::Duration kProxyHeaderTimeout = absl::Seconds(30);

// Used on the loop's thread.
class ProxyReader {
 public:
  // The connection, and who is behind it (nullopt: the peer itself); or why
  // there is nobody: in the reference's words, as the log has them.
  struct Client {
    OwnedFd fd;
    std::optional<IpAddress> address;
    uint16_t port = 0;  // of that address
  };
  using Done = absl::AnyInvocable<void(absl::StatusOr<Client>)>;

  // Calls `done` once, later; not when it is dropped before, which closes the
  // connection.  `done` may drop the reader.
  ProxyReader(EventLoop* loop, OwnedFd fd, ProxyVersion version, Done done);

 private:
  void OnReadable();
  void Finish(absl::StatusOr<Client> result);

  OwnedFd fd_;
  ProxyHeader header_;
  Done done_;
  EventLoop::Timer timer_;
  std::unique_ptr<EventLoop::Watch> watch_;  // dropped before fd_
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_PROXY_READER_H_
