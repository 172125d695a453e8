// `listen on WHERE`: from words to listening sockets (reference part 1, section
// 1.9).
#ifndef HOLDFAST_SERVER_PARENT_LISTENER_SOCKETS_H_
#define HOLDFAST_SERVER_PARENT_LISTENER_SOCKETS_H_

#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "server/door/door.h"
#include "server/parent/system_facts.h"

namespace holdfast {

// All of a receive room's ride on one frame (server/door/door.cc).
inline constexpr size_t kMaxListenAddresses = 60;

struct ListenAddress {
  uint32_t listener = 0;  // index in Config::listeners
  std::string text;       // "127.0.0.1", "[::1]"
  uint16_t port = 0;
  sockaddr_storage address = {};
  socklen_t length = 0;
};

// The addresses of all listeners: an interface's, the literal, or all that a
// name has.  Blocks for names.  The error is "invalid virtual ip or interface:
// X".
absl::StatusOr<std::vector<ListenAddress>> ResolveListeners(
    const std::vector<Listener>& listeners,
    const std::vector<InterfaceAddress>& interfaces);

// One listening socket for each address; with `shared`, others of this user may
// listen on it too (each receive room has sockets of its own, and the kernel
// spreads connections over them).  Fails if somebody else listens there.
absl::StatusOr<std::vector<OwnedFd>> ListenOn(
    std::vector<ListenAddress>* addresses, bool shared);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_LISTENER_SOCKETS_H_
