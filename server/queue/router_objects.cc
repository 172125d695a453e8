#include "server/queue/router_objects.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "protocol/mail_date.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

constexpr struct {
  uint16_t flag;
  const char* name;
} kFlagNames[] = {
    {kConnectorNew, "NEW"},
    {kConnectorWait, "WAIT"},
    {kConnectorErrorFamily, "ERROR_FAMILY"},
    {kConnectorErrorSource, "ERROR_SOURCE"},
    {kConnectorErrorMx, "ERROR_MX"},
    {kConnectorErrorRouteNet, "ERROR_ROUTE_NET"},
    {kConnectorErrorRouteSmtp, "ERROR_ROUTE_SMTP"},
    {kConnectorErrorBlocked, "ERROR_BLOCKED"},
    {kConnectorLimitHost, "LIMIT_HOST"},
    {kConnectorLimitRoute, "LIMIT_ROUTE"},
    {kConnectorLimitSource, "LIMIT_SOURCE"},
    {kConnectorLimitRelay, "LIMIT_RELAY"},
    {kConnectorLimitConn, "LIMIT_CONN"},
    {kConnectorLimitDomain, "LIMIT_DOMAIN"},
};

std::string Since(const RouterUse& use, absl::Duration now) {
  if (use.last_begin == -absl::InfiniteDuration()) return "-";
  return FormatShortDuration(now - use.last_begin);
}

std::string Until(absl::Duration when, absl::Duration now) {
  if (when <= now || when == absl::InfiniteDuration()) return "-";
  return FormatShortDuration(absl::Ceil(when - now, absl::Seconds(1)));
}

bool Waits(const RouterConnector& c, absl::Duration now) {
  return (c.flags & kConnectorWait) != 0 && c.wait_until > now;
}

std::string FlagsText(const RouterConnector& c, absl::Duration now) {
  uint16_t flags = c.flags;
  // What a wait was for says nothing once it is over.
  if ((flags & kConnectorWait) != 0 && !Waits(c, now)) flags = 0;
  std::vector<std::string> names;
  for (const auto& f : kFlagNames) {
    if ((flags & f.flag) != 0) names.push_back(f.name);
  }
  return absl::StrJoin(names, ",");
}

std::string WaitWords(const RouterRelay& relay, bool waits) {
  std::vector<std::string> words;
  if (relay.batches > 0 && !relay.resolved && relay.use.connections == 0) {
    words.push_back("MX");
    if (relay.backup) words.push_back("preference");
  }
  if (waits) words.push_back("connector");
  return absl::StrCat(absl::StrJoin(words, ","), relay.on_hold ? "ONHOLD" : "");
}

}  // namespace

std::string PrintedAddress(const std::string& address) {
  if (address.empty()) return "[]";
  const bool inet6 = address.find(':') != std::string::npos;
  return VisEncode(inet6 ? absl::StrCat("[", address, "]") : address);
}

std::string PrintedRoute(const RouteKey& key, const std::string& name) {
  return absl::StrCat(PrintedAddress(key.first), " <-> ",
                      PrintedAddress(key.second), " (",
                      VisEncode(name.empty() ? key.second : name), ")");
}

std::string HostLine(const std::string& address, const RouterHost& host,
                     size_t routes, absl::Duration now) {
  return absl::StrCat(VisEncode(address), " ",
                      host.ptr_known ? VisEncode(host.ptr) : "(null)",
                      " refcount=", routes, " nconn=", host.use.connections,
                      " lastconn=", Since(host.use, now), "\n");
}

std::string RouteLine(const RouteKey& key, const RouterRoute& route,
                      const std::string& name, absl::Duration life,
                      absl::Duration now) {
  const bool kept = route.Usable() && route.use.connections == 0;
  absl::Duration until = kept ? route.last_end + life : now;
  if (route.state == RouterRoute::State::kResting) until = route.until;
  const bool timer = until > now;
  const char flags[] = {route.proven ? '-' : 'N', route.Usable() ? '-' : 'D',
                        timer ? 'Q' : '-', kept ? 'K' : '-', '\0'};
  return absl::StrCat(route.id, ". ", PrintedRoute(key, name), " ", flags,
                      " nconn=", route.use.connections,
                      " nerror=0 penalty=", route.penalty,
                      " timeout=", Until(until, now), "\n");
}

std::string RelayLines(const RouterRelay& relay, absl::Duration now) {
  absl::Duration next = absl::InfiniteDuration();
  std::string connectors;
  for (const auto& [source, c] : relay.connectors) {
    if (Waits(c, now)) next = std::min(next, c.wait_until);
    absl::StrAppend(&connectors, "  connector ", PrintedAddress(source),
                    " refcount=0 nconn=", c.use.connections,
                    " lastconn=", Since(c.use, now),
                    " timeout=", Until(c.wait_until, now),
                    " flags=", FlagsText(c, now), "\n");
  }
  return absl::StrCat(
      VisEncode(relay.text),
      " refcount=", relay.batches + relay.use.connections,
      " ntask=", relay.tasks, " nconn=", relay.use.connections,
      " lastconn=", Since(relay.use, now), " timeout=", Until(next, now),
      " wait=", WaitWords(relay, next != absl::InfiniteDuration()), "\n",
      connectors);
}

}  // namespace holdfast
