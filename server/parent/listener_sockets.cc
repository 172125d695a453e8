#include "server/parent/listener_sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

bool Wants(const Listener& listener, int family) {
  switch (listener.family) {
    case Listener::Family::kAny:
      return true;
    case Listener::Family::kInet4:
      return family == AF_INET;
    case Listener::Family::kInet6:
      return family == AF_INET6;
  }
  return false;
}

ListenAddress FromInet4(in_addr address, uint16_t port) {
  ListenAddress out;
  auto* in = reinterpret_cast<sockaddr_in*>(&out.address);
  in->sin_family = AF_INET;
  in->sin_addr = address;
  in->sin_port = htons(port);
  out.length = sizeof *in;
  out.port = port;
  char text[INET_ADDRSTRLEN] = "";
  inet_ntop(AF_INET, &address, text, sizeof text);
  out.text = text;
  return out;
}

ListenAddress FromInet6(const in6_addr& address, uint32_t scope,
                        uint16_t port) {
  ListenAddress out;
  auto* in = reinterpret_cast<sockaddr_in6*>(&out.address);
  in->sin6_family = AF_INET6;
  in->sin6_addr = address;
  in->sin6_scope_id = scope;
  in->sin6_port = htons(port);
  out.length = sizeof *in;
  out.port = port;
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(AF_INET6, &address, text, sizeof text);
  out.text = absl::StrCat("[", text, "]");
  return out;
}

// False: `text` is no address.
bool AddLiteral(const Listener& listener, const std::string& text,
                uint32_t scope, std::vector<ListenAddress>* out) {
  in_addr four;
  in6_addr six;
  if (inet_pton(AF_INET, text.c_str(), &four) == 1) {
    if (Wants(listener, AF_INET))
      out->push_back(FromInet4(four, listener.port));
    return true;
  }
  if (inet_pton(AF_INET6, text.c_str(), &six) == 1) {
    if (Wants(listener, AF_INET6))
      out->push_back(FromInet6(six, scope, listener.port));
    return true;
  }
  return false;
}

void AddByName(const Listener& listener, std::vector<ListenAddress>* out) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_family = listener.family == Listener::Family::kInet4   ? AF_INET
                    : listener.family == Listener::Family::kInet6 ? AF_INET6
                                                                  : AF_UNSPEC;
  addrinfo* found = nullptr;
  if (getaddrinfo(listener.where.c_str(), nullptr, &hints, &found) != 0) return;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_family == AF_INET) {
      out->push_back(FromInet4(
          reinterpret_cast<const sockaddr_in*>(one->ai_addr)->sin_addr,
          listener.port));
    } else if (one->ai_family == AF_INET6) {
      const auto* in = reinterpret_cast<const sockaddr_in6*>(one->ai_addr);
      out->push_back(
          FromInet6(in->sin6_addr, in->sin6_scope_id, listener.port));
    }
  }
  freeaddrinfo(found);
}

std::vector<ListenAddress> Resolve(
    const Listener& listener, const std::vector<InterfaceAddress>& interfaces) {
  std::vector<ListenAddress> out;
  for (const InterfaceAddress& one : interfaces) {
    if (one.interface == listener.where)
      AddLiteral(listener, one.address, one.scope, &out);
  }
  if (!out.empty() || AddLiteral(listener, listener.where, 0, &out)) return out;
  AddByName(listener, &out);
  return out;
}

absl::Status Failed(const char* call, const ListenAddress& address) {
  return absl::UnavailableError(absl::StrCat(
      call, ": ", address.text, ":", address.port, ": ", strerror(errno)));
}

void Set(int fd, int level, int option) {
  const int on = 1;
  setsockopt(fd, level, option, &on, sizeof on);
}

absl::StatusOr<OwnedFd> Bind(const ListenAddress& address, bool shared) {
  OwnedFd fd(socket(address.address.ss_family,
                    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Failed("socket", address);
  Set(fd.get(), SOL_SOCKET, SO_REUSEADDR);
  if (shared) Set(fd.get(), SOL_SOCKET, SO_REUSEPORT);
  if (address.address.ss_family == AF_INET6)
    Set(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.address),
           address.length) != 0)
    return Failed("bind", address);
  return fd;
}

}  // namespace

absl::StatusOr<std::vector<ListenAddress>> ResolveListeners(
    const std::vector<Listener>& listeners,
    const std::vector<InterfaceAddress>& interfaces) {
  std::vector<ListenAddress> out;
  for (size_t i = 0; i < listeners.size(); ++i) {
    std::vector<ListenAddress> found = Resolve(listeners[i], interfaces);
    if (found.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "invalid virtual ip or interface: ", listeners[i].where));
    }
    for (ListenAddress& address : found) {
      address.listener = static_cast<uint32_t>(i);
      out.push_back(std::move(address));
    }
  }
  if (out.size() > kMaxListenAddresses) {
    return absl::InvalidArgumentError(
        absl::StrCat("too many addresses to listen on: ", out.size(),
                     ", the limit is ", kMaxListenAddresses));
  }
  return out;
}

absl::StatusOr<std::vector<OwnedFd>> ListenOn(
    std::vector<ListenAddress>* addresses, bool shared) {
  std::vector<OwnedFd> out;
  for (ListenAddress& address : *addresses) {
    absl::StatusOr<OwnedFd> fd = Bind(address, shared);
    if (!fd.ok()) return fd.status();
    if (listen(fd->get(), SOMAXCONN) != 0) return Failed("listen", address);
    out.push_back(*std::move(fd));
  }
  return out;
}

}  // namespace holdfast
