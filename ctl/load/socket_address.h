// "127.0.0.1:2525", "[::1]:2525" or ":2525" (all of IPv4) as a socket address.
#ifndef HOLDFAST_CTL_LOAD_SOCKET_ADDRESS_H_
#define HOLDFAST_CTL_LOAD_SOCKET_ADDRESS_H_

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace holdfast {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

// Numeric addresses only: a load test that waits for DNS measures DNS.
absl::StatusOr<SocketAddress> ParseSocketAddress(const std::string& text);

// A non-blocking listening socket; the caller closes it.
absl::StatusOr<int> ListenOn(const SocketAddress& address);

// A non-blocking socket on its way to `address`; the caller closes it.
absl::StatusOr<int> ConnectTo(const SocketAddress& address);

// The port a listening socket got; 0 if it can't be told.
uint16_t LocalPort(int fd);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_SOCKET_ADDRESS_H_
