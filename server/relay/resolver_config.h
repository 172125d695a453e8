// What resolv.conf(5) and hosts(5) say, from their texts: this process can't
// open the files.  What isn't understood is skipped, as other resolvers do.
#ifndef HOLDFAST_SERVER_RELAY_RESOLVER_CONFIG_H_
#define HOLDFAST_SERVER_RELAY_RESOLVER_CONFIG_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/ip_address.h"

namespace holdfast {

struct ResolvConf {
  struct Server {
    IpAddress address;
    uint16_t port = 53;  // "[192.0.2.1]:5353", as in OpenBSD
  };
  // Never empty: without any it is this machine, as resolv.conf(5) says.
  std::vector<Server> servers;
  std::vector<std::string> search;
  absl::Duration timeout = absl::Seconds(5);  // of the first attempt
  int attempts = 2;
};

ResolvConf ParseResolvConf(absl::string_view text);

// Knows "localhost" even when the file doesn't.
class HostsFile {
 public:
  explicit HostsFile(absl::string_view text);

  // In the order of the file; empty if it does not know the name.
  std::vector<IpAddress> Addresses(absl::string_view name) const;
  // The first name of the address; empty: unknown.
  std::string Name(const IpAddress& address) const;

 private:
  std::map<std::string, std::vector<IpAddress>> addresses_;
  std::map<IpAddress, std::string> names_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_RESOLVER_CONFIG_H_
