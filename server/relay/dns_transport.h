// Who carries DNS questions to a name server and answers back.
#ifndef HOLDFAST_SERVER_RELAY_DNS_TRANSPORT_H_
#define HOLDFAST_SERVER_RELAY_DNS_TRANSPORT_H_

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/random/bit_gen_ref.h"
#include "absl/status/statusor.h"
#include "protocol/dns_message.h"
#include "server/loop/event_loop.h"
#include "server/relay/resolver_config.h"

namespace holdfast {

class DnsTransport {
 public:
  // The bytes of an answer; else
  //   kUnavailable      no server gave one that is of use: timeout, SERVFAIL,
  //                     NOTIMP, REFUSED
  //   kInvalidArgument  the name can't be asked for
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::string>)>;

  virtual ~DnsTransport() = default;
  // `done` is called in a later turn, within the time that resolv.conf gives;
  // not at all if the transport is dropped before.
  virtual void Ask(const std::string& name, DnsType type, Done done) = 0;
};

// Asks the servers by UDP, and by TCP what UDP can't hold.  c-ares sends,
// waits, repeats and picks the server; nothing else is left to it.
std::unique_ptr<DnsTransport> MakeCaresTransport(EventLoop* loop,
                                                 const ResolvConf& conf,
                                                 absl::BitGenRef random);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_DNS_TRANSPORT_H_
