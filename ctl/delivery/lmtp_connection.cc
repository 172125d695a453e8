#include "ctl/delivery/lmtp_connection.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "config/delivery_way.h"

namespace holdfast {
namespace {

absl::Status Error(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(errno)));
}

OwnedFd OpenSocket(int family) {
  OwnedFd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit = absl::ToTimeval(kLmtpTimeout);
  if (fd) {
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  return fd;
}

absl::StatusOr<OwnedFd> ConnectToPath(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return Error("connect");
  }
  memcpy(address.sun_path, path.data(), path.size());
  OwnedFd fd = OpenSocket(AF_UNIX);
  if (!fd || connect(fd.get(), reinterpret_cast<sockaddr*>(&address),
                     sizeof address) != 0)
    return Error("connect");
  return fd;
}

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

absl::StatusOr<OwnedFd> ConnectToHost(const LmtpDestination& to) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(to.host.c_str(), absl::StrCat(to.port).c_str(),
                                &hints, &found);
  if (error != 0)
    return absl::UnavailableError(absl::StrCat("inet: ", gai_strerror(error)));
  const std::unique_ptr<addrinfo, FreeAddresses> list(found);
  for (const addrinfo* one = list.get(); one != nullptr; one = one->ai_next) {
    OwnedFd fd = OpenSocket(one->ai_family);
    if (fd && connect(fd.get(), one->ai_addr, one->ai_addrlen) == 0) return fd;
  }
  return Error("connect");
}

}  // namespace

absl::StatusOr<OwnedFd> ConnectToLmtp(const std::string& to) {
  if (!to.empty() && to[0] == '/') return ConnectToPath(to);
  const std::optional<LmtpDestination> host = ParseLmtpDestination(to);
  if (!host)
    return absl::UnavailableError(absl::StrCat("inet: not a host: ", to));
  return ConnectToHost(*host);
}

}  // namespace holdfast
