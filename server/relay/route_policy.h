// How a connection for a relay target is made: what the next hop's URL and the
// options of the action say together (smtpd.conf(5), `relay`; reference part 2,
// sections 3.2 and 3.8).  Pure.
#ifndef HOLDFAST_SERVER_RELAY_ROUTE_POLICY_H_
#define HOLDFAST_SERVER_RELAY_ROUTE_POLICY_H_

#include <cstdint>
#include <string>
#include <variant>

#include "config/config.h"
#include "protocol/relay_url.h"
#include "server/door/worker_messages.h"

namespace holdfast {

struct RoutePolicy {
  // What is spoken, TLS included: `smtp://` is kSmtpTls where the action says
  // `tls`.
  RelayProtocol protocol = RelayProtocol::kSmtp;
  // The server's certificate must be valid and for its name.
  bool verify = false;
  // A smarthost's name or literal; empty: the MX of the target's domain, or a
  // Unix socket.
  std::string host;
  // LMTP through a Unix socket, which `parent` connects.
  std::string unix_path;
  uint16_t port = 25;
  // Of the credentials that are used; empty: none.
  std::string label;
};

// Why nothing may be sent to this target for now.
struct RouteRefusal {
  std::string text;  // of the outcome
  std::string log;   // a whole line
};

// Each action and each URL stands for itself: unlike the reference, where a URL
// with TLS changes the action for all later mail.  `action` may be null: it is
// gone from the configuration, and nothing is asked beyond the URL.
std::variant<RoutePolicy, RouteRefusal> MakeRoutePolicy(
    const RelayTarget& target, const Action* action);

// The domain or smarthost name of a target: what limits and log lines are
// about.
std::string TargetDomain(const RelayTarget& target);
// "[relay:example.org,smtp]" (reference part 2, section 5.4).
std::string TargetText(const RelayTarget& target, const Action* action);
// RelayKey() of the target: who may share its sessions.
std::string TargetKey(const RelayTarget& target, const Action* action);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_ROUTE_POLICY_H_
