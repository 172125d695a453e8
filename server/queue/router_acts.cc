// The router's side towards operators: what they may do to routes and see of
// all, and what is forgotten when nobody uses it.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/queue/router.h"

namespace holdfast {

std::string Router::NameOf(const RouteKey& key,
                           const RouterRoute& route) const {
  const auto host = hosts_.find(key.second);
  const bool named = host != hosts_.end() && host->second.ptr_known &&
                     host->second.ptr != key.second;
  return named ? host->second.ptr : route.name;
}

// ---- Acts

std::pair<const RouteKey, RouterRoute>* Router::FindRoute(uint64_t id) {
  for (auto& entry : routes_) {
    if (entry.second.id == id) return &entry;
  }
  return nullptr;
}

bool Router::EnableRoute(uint64_t id) {
  auto* found = FindRoute(id);
  if (found == nullptr) return false;
  auto& [key, route] = *found;
  route.penalty = 0;
  if (!route.Usable()) Enable(key, &route);
  log_(absl::StrCat("smtp-out: Enabling route ",
                    PrintedRoute(key, NameOf(key, route)),
                    " per admin request"));
  return true;
}

bool Router::DisableRoute(uint64_t id) {
  auto* found = FindRoute(id);
  if (found == nullptr) return false;
  auto& [key, route] = *found;
  resting_.erase({route.until, key});
  route.state = RouterRoute::State::kOff;
  log_(absl::StrCat("smtp-out: Disabling route ",
                    PrintedRoute(key, NameOf(key, route)),
                    " per admin request"));
  return true;
}

void Router::EnableAll() {
  const auto resting = resting_;
  for (const auto& [until, key] : resting) EnableRoute(routes_[key].id);
}

bool Router::Block(const std::string& source, absl::string_view domain) {
  if (blocks_.size() >= kMaxBlocks) return false;
  blocks_.emplace(source, absl::AsciiStrToLower(domain));
  return true;
}

void Router::Unblock(const std::string& source, absl::string_view domain) {
  blocks_.erase({source, absl::AsciiStrToLower(domain)});
}

// ---- Listings

std::vector<std::string> Router::BlockLines() const {
  std::vector<std::string> lines;
  for (const auto& [source, domain] : blocks_) {
    lines.push_back(absl::StrCat(source.empty() ? "[]" : VisEncode(source),
                                 " -> ", VisEncode(domain), "\n"));
  }
  return lines;
}

std::vector<std::string> Router::HostLines(absl::Duration now) const {
  std::map<std::string, size_t> routes;
  for (const auto& [key, route] : routes_) ++routes[key.second];
  std::vector<std::string> lines;
  for (const auto& [address, host] : hosts_) {
    lines.push_back(HostLine(address, host, routes[address], now));
  }
  return lines;
}

std::vector<std::string> Router::RelayLinesOfAll(absl::Duration now) const {
  std::vector<std::string> lines;
  for (const auto& [key, relay] : relays_) {
    if (relay.InUse()) lines.push_back(RelayLines(relay, now));
  }
  return lines;
}

std::vector<std::string> Router::RouteLines(absl::Duration now) const {
  std::map<uint64_t, std::string> lines;
  for (const auto& [key, route] : routes_) {
    lines[route.id] =
        RouteLine(key, route, NameOf(key, route), kProofLife, now);
  }
  std::vector<std::string> sorted;
  for (auto& [id, line] : lines) sorted.push_back(std::move(line));
  return sorted;
}

RouterCounts Router::Counts() const {
  RouterCounts c;
  for (const auto& [key, relay] : relays_) {
    if (!relay.InUse()) continue;
    ++c.relays;
    c.connectors += relay.connectors.size();
    c.envelopes += relay.envelopes;
    c.tasks += relay.tasks;
    // One in each session that has got so far.
    c.running += std::min<size_t>(relay.tasks, relay.ready);
  }
  for (const auto& [domain, use] : domains_) c.domains += use.connections > 0;
  for (const auto& [source, use] : sources_) c.sources += use.connections > 0;
  c.hosts = hosts_.size();
  c.routes = routes_.size();
  c.sessions = slots_.size();
  return c;
}

// ---- What is forgotten

bool Router::IsIdle(const RouterRoute& route, absl::Duration now,
                    absl::Duration life) const {
  if (!route.Usable() || route.use.connections > 0) return false;
  // A penalty is kept longer, where there is room.
  const bool keep = route.penalty > 0 && life > absl::ZeroDuration();
  const absl::Duration kept = keep ? std::max(life, kPenaltyMax) : life;
  return now - std::max(route.use.last_begin, route.last_end) > kept;
}

// Routes that rest go before their time when there are too many of them: who
// answers for a domain may invent addresses without end.
void Router::ForgetRoutes(absl::Duration now, absl::Duration life) {
  std::erase_if(routes_, [&](const auto& entry) {
    return IsIdle(entry.second, now, life);
  });
  while (routes_.size() > kMaxRemembered && !resting_.empty()) {
    const RouteKey key = resting_.begin()->second;
    resting_.erase(resting_.begin());
    routes_.erase(key);
  }
}

void Router::Forget(absl::Duration now) {
  const bool full =
      std::max({routes_.size(), hosts_.size(), relays_.size(), domains_.size(),
                sources_.size()}) > kMaxRemembered;
  if (now < next_sweep_ && !full) return;
  if (full && now < next_sweep_ - kSweepEvery + absl::Seconds(1)) return;
  next_sweep_ = now + kSweepEvery;
  const auto life = [&](size_t size) {
    return size > kMaxRemembered ? absl::ZeroDuration() : life_;
  };
  ForgetRoutes(now, life(routes_.size()));
  std::set<std::string> routed;
  for (const auto& [key, route] : routes_) routed.insert(key.second);
  std::erase_if(hosts_, [&, l = life(hosts_.size())](const auto& h) {
    return h.second.use.Idle(now, l) && !routed.contains(h.first);
  });
  std::erase_if(relays_, [&, l = life(relays_.size())](const auto& r) {
    return !r.second.InUse() && r.second.use.Idle(now, l);
  });
  for (Uses* uses : {&sources_, &domains_}) {
    std::erase_if(*uses, [&, l = life(uses->size())](const auto& u) {
      return u.second.Idle(now, l);
    });
  }
}

}  // namespace holdfast
