#include "server/relay/socket_dialer.h"

#include <netinet/in.h>

#include <cstring>
#include <utility>

#include "server/relay/unix_dialer.h"

namespace holdfast {
namespace {

socklen_t ToSockaddr(const IpAddress& address, uint16_t port,
                     sockaddr_storage* out) {
  *out = {};
  if (address.inet6) {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(out);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    std::memcpy(&in6->sin6_addr, address.bytes.data(), 16);
    return sizeof *in6;
  }
  auto* in = reinterpret_cast<sockaddr_in*>(out);
  in->sin_family = AF_INET;
  in->sin_port = htons(port);
  std::memcpy(&in->sin_addr, address.bytes.data(), 4);
  return sizeof *in;
}

class SocketDialer : public Dialer {
 public:
  SocketDialer(EventLoop* loop, Door* parent)
      : loop_(loop), unix_(loop, parent) {}
  PendingConnect Dial(const IpAddress& address, uint16_t port,
                      const std::optional<IpAddress>& source,
                      absl::Duration timeout, Done done) override {
    sockaddr_storage to, from;
    const socklen_t to_length = ToSockaddr(address, port, &to);
    const socklen_t from_length = source ? ToSockaddr(*source, 0, &from) : 0;
    return Connect(loop_, reinterpret_cast<sockaddr*>(&to), to_length,
                   source ? reinterpret_cast<sockaddr*>(&from) : nullptr,
                   from_length, timeout, std::move(done));
  }
  PendingConnect DialUnix(const std::string& action, absl::Duration timeout,
                          Done done) override {
    return unix_.Dial(action, timeout, std::move(done));
  }
  bool OnParentFrame(Frame& frame) override {
    return unix_.OnParentFrame(frame);
  }

 private:
  EventLoop* const loop_;
  UnixDialer unix_;
};

}  // namespace

std::unique_ptr<Dialer> MakeDialer(EventLoop* loop, Door* parent) {
  return std::make_unique<SocketDialer>(loop, parent);
}

}  // namespace holdfast
