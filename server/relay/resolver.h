// Where mail for a domain goes, and what hosts are called (RFC 5321 section
// 5.1, RFC 7505; reference part 2, section 3.3).
#ifndef HOLDFAST_SERVER_RELAY_RESOLVER_H_
#define HOLDFAST_SERVER_RELAY_RESOLVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "protocol/envelope.h"
#include "protocol/ip_address.h"
#include "server/loop/event_loop.h"
#include "server/relay/dns_client.h"
#include "server/relay/resolver_config.h"

namespace holdfast {

inline constexpr size_t kMaxMxHosts = 20;
inline constexpr size_t kMaxAddressesPerHost = 10;

// One address that takes mail.
struct MailHost {
  IpAddress address;
  std::string name;        // of the MX, the smarthost, or a literal
  int32_t preference = 0;  // -1: a literal
};

struct MailHosts {
  enum class Result : uint8_t { kOk, kTempFail, kPermFail };
  Result result = Result::kTempFail;
  // The best first; not empty if kOk.
  std::vector<MailHost> hosts;
  // Else why, in the reference's words, and as a status of envelopes.
  std::string text;
  EnhancedStatus status;
  // Worth a line in the log, whatever the result.
  bool backup_not_found = false;  // our name isn't among the MX
  bool loops_back = false;        // hosts were left out: they are we
};

// The name of a client or of a host.
struct HostName {
  enum class Confirmed : uint8_t { kPass, kFail, kError };
  std::string name;  // empty: none
  // Whether the name has the address.
  Confirmed confirmed = Confirmed::kFail;
};

// Callbacks run in a later turn, each within a bounded time.
class Resolver {
 public:
  using HostsDone = absl::AnyInvocable<void(MailHosts)>;
  using NameDone = absl::AnyInvocable<void(HostName)>;

  virtual ~Resolver() = default;
  // The files have changed: open questions are asked anew, nothing that was
  // known is kept.
  virtual void SetFiles(ResolvConf conf, HostsFile hosts) = 0;
  // Hosts for mail to `domain`, a name or a literal.  `backup_name`: as a
  // backup MX of this name we use better ones only; empty: we are none.
  virtual void FindMx(const std::string& domain, const std::string& backup_name,
                      HostsDone done) = 0;
  // The addresses of a smarthost, a name or a literal.
  virtual void FindHost(const std::string& name, HostsDone done) = 0;
  // What the address is called, and whether that is true.
  virtual void FindName(const IpAddress& address, NameDone done) = 0;
  // What the address is called, said or not; empty: nothing is known.
  virtual void FindPtr(const IpAddress& address,
                       absl::AnyInvocable<void(std::string)> done) = 0;
};

struct ResolverOptions {
  ResolvConf conf;
  HostsFile hosts{""};
  // Of this machine: no mail goes to these because of an MX record.
  std::vector<IpAddress> own;
};

// Makes a way to the name servers of a resolv.conf.
using DnsTransportMaker =
    std::function<std::unique_ptr<DnsTransport>(const ResolvConf&)>;

std::unique_ptr<Resolver> MakeDnsResolver(EventLoop* loop,
                                          ResolverOptions options,
                                          DnsTransportMaker make_transport);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_RESOLVER_H_
