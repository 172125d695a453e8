// What the router remembers of relays, connectors, routes and hosts (reference
// part 2, section 3.1), and how it is printed (5.4).  Plain values; times are
// EventLoop::Elapsed().
#ifndef HOLDFAST_SERVER_QUEUE_ROUTER_OBJECTS_H_
#define HOLDFAST_SERVER_QUEUE_ROUTER_OBJECTS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "protocol/ids.h"

namespace holdfast {

// Source and address; of a Unix socket "" and its path.
using RouteKey = std::pair<std::string, std::string>;

// Connections of one object, and when the last was begun.
struct RouterUse {
  uint32_t connections = 0;
  absl::Duration last_begin = -absl::InfiniteDuration();

  bool Idle(absl::Duration now, absl::Duration life) const {
    return connections == 0 && now - last_begin > life;
  }
};

struct RouterHost {
  RouterUse use;
  std::string ptr;  // what DNS calls it, or the address
  bool ptr_known = false;
};

struct RouterRoute {
  enum class State : uint8_t {
    kOn,
    kResting,  // failed; until `until`
    kOff,      // an operator took it out of service
  };
  uint64_t id = 0;  // for `smtpctl enable|disable|resume route`
  RouterUse use;
  bool proven = false;  // reached READY
  uint32_t penalty = 0;
  State state = State::kOn;
  absl::Duration until = absl::ZeroDuration();  // kResting
  absl::Duration last_end = -absl::InfiniteDuration();
  std::string name;  // of the MX

  bool Usable() const { return state == State::kOn; }
};

// Flags of a connector: why it opens no connection.
enum ConnectorFlag : uint16_t {
  kConnectorNew = 1 << 0,
  kConnectorWait = 1 << 1,
  kConnectorErrorFamily = 1 << 2,
  kConnectorErrorSource = 1 << 3,
  kConnectorErrorMx = 1 << 4,
  kConnectorErrorRouteNet = 1 << 5,
  kConnectorErrorRouteSmtp = 1 << 6,
  kConnectorErrorBlocked = 1 << 7,
  kConnectorLimitHost = 1 << 8,
  kConnectorLimitRoute = 1 << 9,
  kConnectorLimitSource = 1 << 10,
  kConnectorLimitRelay = 1 << 11,
  kConnectorLimitConn = 1 << 12,
  kConnectorLimitDomain = 1 << 13,
};

// Of one relay and one source.
struct RouterConnector {
  RouterUse use;
  uint16_t flags = kConnectorNew;
  absl::Duration wait_until = -absl::InfiniteDuration();
};

// What RelayKey() tells apart.
struct RouterRelay {
  RouterUse use;
  std::string text;  // "[relay:example.org,smtp]"
  bool backup = false;
  std::map<std::string, RouterConnector> connectors;  // by source
  // With workers; a task is one message.
  size_t batches = 0;
  size_t tasks = 0;
  size_t envelopes = 0;
  uint32_t ready = 0;     // connections that are greeted
  bool resolved = false;  // a worker knows its hosts
  // As many tasks as `task-hiwat`; no more when there are `task-lowat`.
  bool on_hold = false;
  size_t lowat = 0;

  bool InUse() const { return batches > 0 || use.connections > 0; }
};

// "[]", "192.0.2.1", "[2001:db8::1]".  Escaped.
std::string PrintedAddress(const std::string& address);
// "[] <-> 192.0.2.9 (mx.example.net)".  Escaped.  `name` empty: the address.
std::string PrintedRoute(const RouteKey& key, const std::string& name);

// Lines of `show hosts`, `show routes` and `show relays`.  `life`: of a route's
// proof.
std::string HostLine(const std::string& address, const RouterHost& host,
                     size_t routes, absl::Duration now);
std::string RouteLine(const RouteKey& key, const RouterRoute& route,
                      const std::string& name, absl::Duration life,
                      absl::Duration now);
std::string RelayLines(const RouterRelay& relay, absl::Duration now);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_ROUTER_OBJECTS_H_
