#include "server/relay/relay_services.h"

#include <netinet/in.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

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
  explicit SocketDialer(EventLoop* loop) : loop_(loop) {}
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
  PendingConnect DialUnix(const std::string&, absl::Duration,
                          Done done) override {
    return loop_->RunAfter(
        absl::ZeroDuration(), [done = std::move(done)]() mutable {
          done(absl::UnavailableError("Protocol not supported"));
        });
  }

 private:
  EventLoop* loop_;
};

}  // namespace

std::unique_ptr<Dialer> MakeDialer(EventLoop* loop) {
  return std::make_unique<SocketDialer>(loop);
}

std::string Route::RelayText() const {
  if (is_unix()) return absl::StrCat(host.name, " (", host.name, ")");
  return absl::StrCat(host.address.ToBracketed(), " (",
                      host_name->empty() ? host.address.ToString() : *host_name,
                      ")");
}

RelayVia Route::Via() const {
  RelayVia via;
  via.session = session;
  if (!source.empty()) {
    const std::optional<IpAddress> address = IpAddress::Parse(source);
    via.source = address ? address->ToBracketed() : source;
  }
  via.relay = RelayText();
  via.tls = tls;
  return via;
}

}  // namespace holdfast
