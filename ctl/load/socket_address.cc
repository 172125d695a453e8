#include "ctl/load/socket_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr int kBacklog = 1024;

absl::Status SystemError(const char* what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(errno)));
}

void SetOption(int fd, int level, int name) {
  const int one = 1;
  setsockopt(fd, level, name, &one, sizeof(one));
}

}  // namespace

absl::StatusOr<SocketAddress> ParseSocketAddress(const std::string& text) {
  const size_t colon = text.rfind(':');
  uint32_t port = 0;
  if (colon == std::string::npos ||
      !absl::SimpleAtoi(text.substr(colon + 1), &port) || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("not ADDRESS:PORT: ", text));
  }
  std::string host = text.substr(0, colon);
  SocketAddress result;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&result.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    result.length = sizeof(*v6);
    host = host.substr(1, host.size() - 2);
    if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) return result;
  } else {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&result.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    result.length = sizeof(*v4);
    if (host.empty()) return result;
    if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) return result;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("not a numeric address: ", text));
}

absl::StatusOr<int> ListenOn(const SocketAddress& address) {
  const int fd = socket(address.storage.ss_family,
                        SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return SystemError("socket");
  SetOption(fd, SOL_SOCKET, SO_REUSEADDR);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address.storage),
           address.length) != 0 ||
      listen(fd, kBacklog) != 0) {
    const absl::Status error = SystemError("listen");
    close(fd);
    return error;
  }
  return fd;
}

absl::StatusOr<int> ConnectTo(const SocketAddress& address) {
  const int fd = socket(address.storage.ss_family,
                        SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return SystemError("socket");
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address.storage),
              address.length) != 0 &&
      errno != EINPROGRESS) {
    const absl::Status error = SystemError("connect");
    close(fd);
    return error;
  }
  return fd;
}

uint16_t LocalPort(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
    return 0;
  }
  return ntohs(storage.ss_family == AF_INET6
                   ? reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port
                   : reinterpret_cast<sockaddr_in*>(&storage)->sin_port);
}

}  // namespace holdfast
