#include "server/queue/router.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

bool IsInet6(absl::string_view address) {
  return address.find(':') != absl::string_view::npos;
}

std::string Printed(const std::string& address) {
  if (address.empty()) return "[]";
  return VisEncode(IsInet6(address) ? absl::StrCat("[", address, "]")
                                    : address);
}

// "[] <-> 192.0.2.9 (mx.example.net)"
std::string RouteText(const std::pair<std::string, std::string>& key,
                      const std::string& name) {
  return absl::StrCat(Printed(key.first), " <-> ", Printed(key.second), " (",
                      VisEncode(name.empty() ? key.second : name), ")");
}

// All that makes two relays different; NUL cannot stand in any of the parts
// without being one more difference.
std::string RelayKey(const RelayTarget& target) {
  return absl::StrCat(target.action, absl::string_view("\0", 1), target.domain,
                      absl::string_view("\0", 1), target.backup_name,
                      target.smarthost ? "1" : "0");
}

bool FamilyFits(const std::string& source, const std::string& address,
                MtaLimits::Family family) {
  const bool v6 = IsInet6(address);
  if (family == MtaLimits::Family::kInet4 && v6) return false;
  if (family == MtaLimits::Family::kInet6 && !v6) return false;
  return source.empty() || IsInet6(source) == v6;
}

// Drops what nobody uses, once there is much of it.
template <class Map, class Unused>
void Sweep(Map* map, Unused unused) {
  if (map->size() <= Router::kMaxRemembered) return;
  for (auto it = map->begin(); it != map->end();) {
    it = unused(it->second) ? map->erase(it) : std::next(it);
  }
}

}  // namespace

absl::Duration Router::Wait(const Use& use, uint32_t max, uint32_t delay,
                            absl::Duration now) {
  if (use.connections >= max) return kLimitDelay;
  return std::max(absl::ZeroDuration(),
                  use.last_begin + absl::Seconds(delay) - now);
}

absl::Duration Router::Wait(const Uses& uses, const std::string& key,
                            uint32_t max, uint32_t delay, absl::Duration now) {
  const auto it = uses.find(key);
  return Wait(it == uses.end() ? Use() : it->second, max, delay, now);
}

absl::Duration Router::WaitForRoute(const RouteKey& key,
                                    const MtaLimits& limits,
                                    absl::Duration now) {
  absl::Duration wait = Wait(hosts_, key.second, limits.max_conn_per_host,
                             limits.conn_delay_host, now);
  const auto it = routes_.find(key);
  if (it == routes_.end()) {
    return limits.max_conn_per_route == 0 ? kLimitDelay : wait;
  }
  Route& route = it->second;
  if (route.proven && route.use.connections == 0 &&
      now - route.last_end > kProofLife) {
    route.proven = false;
  }
  if (!route.proven && route.use.connections > 0) {
    wait = std::max(wait, kProvingDelay);
  }
  wait = std::max(wait, Wait(route.use, limits.max_conn_per_route,
                             limits.conn_delay_route, now));
  return std::max(
      wait, route.last_end + absl::Seconds(limits.reconn_delay_route) - now);
}

absl::Duration Router::WaitBeforeHosts(const SlotRequest& request,
                                       const std::string& relay,
                                       const std::string& connector,
                                       const MtaLimits& limits,
                                       absl::Duration now) const {
  return std::max(
      {Wait(relays_, relay, limits.max_conn_per_relay, limits.conn_delay_relay,
            now),
       Wait(domains_, absl::AsciiStrToLower(request.domain),
            limits.max_conn_per_domain, limits.conn_delay_domain, now),
       Wait(sources_, request.source, limits.max_conn_per_source,
            limits.conn_delay_source, now),
       Wait(connectors_, connector, limits.max_conn_per_connector,
            limits.conn_delay_connector, now)});
}

// Within one preference: the eligible route with the fewest connections.
Router::Choice Router::ChooseInLevel(const SlotRequest& request, size_t begin,
                                     size_t end, const MtaLimits& limits,
                                     absl::Duration now) {
  Choice choice;
  uint32_t fewest = 0;
  for (size_t i = begin; i < end; ++i) {
    const std::string& address = request.hosts[i].address;
    if (!FamilyFits(request.source, address, limits.family)) continue;
    const RouteKey key(request.source, address);
    const auto route = routes_.find(key);
    if (route != routes_.end() && route->second.disabled) continue;
    const absl::Duration wait = WaitForRoute(key, limits, now);
    if (wait > absl::ZeroDuration()) {
      choice.wait = std::min(choice.wait, wait);
      continue;
    }
    const uint32_t connections =
        route == routes_.end() ? 0 : route->second.use.connections;
    if (choice.host < 0 || connections < fewest) {
      choice.host = static_cast<int>(i);
      fewest = connections;
    }
  }
  return choice;
}

// The next level only when this one has neither a candidate nor anything that
// merely has to wait.
Router::Choice Router::ChooseHost(const SlotRequest& request,
                                  const MtaLimits& limits, absl::Duration now) {
  const size_t count = std::min(request.hosts.size(), kMaxHosts);
  for (size_t begin = 0; begin < count;) {
    size_t end = begin + 1;
    while (end < count &&
           request.hosts[end].preference == request.hosts[begin].preference) {
      ++end;
    }
    const Choice choice = ChooseInLevel(request, begin, end, limits, now);
    if (choice.host >= 0 || choice.wait != absl::InfiniteDuration()) {
      return choice;
    }
    begin = end;
  }
  return Choice();
}

SlotAnswer Router::Ask(WorkerId worker, const SlotRequest& request,
                       absl::Duration now) {
  Wake(now);
  Forget(now);
  const MtaLimits& limits = config_.LimitsFor(request.domain);
  Slot slot;
  slot.relay = RelayKey(request.target);
  slot.connector =
      absl::StrCat(slot.relay, absl::string_view("\0", 1), request.source);
  SlotAnswer answer;
  answer.question = request.question;
  answer.delay =
      WaitBeforeHosts(request, slot.relay, slot.connector, limits, now);
  if (answer.delay > absl::ZeroDuration()) {
    answer.result = SlotAnswer::Result::kLater;
    return answer;
  }
  const Choice choice = ChooseHost(request, limits, now);
  if (choice.host < 0) {
    const bool wait = choice.wait != absl::InfiniteDuration();
    answer.result =
        wait ? SlotAnswer::Result::kLater : SlotAnswer::Result::kNoRoute;
    if (wait) answer.delay = choice.wait;
    return answer;
  }
  answer.result = SlotAnswer::Result::kGranted;
  answer.host = static_cast<uint32_t>(choice.host);
  slot.route = {request.source, request.hosts[choice.host].address};
  routes_[slot.route].name = request.hosts[choice.host].name;
  answer.slot = Grant(worker, request, std::move(slot), now);
  return answer;
}

uint64_t Router::Grant(WorkerId worker, const SlotRequest& request, Slot slot,
                       absl::Duration now) {
  slot.worker = worker;
  slot.domain = absl::AsciiStrToLower(request.domain);
  for (Use* use : {&routes_[slot.route].use, &hosts_[slot.route.second],
                   &sources_[slot.route.first], &connectors_[slot.connector],
                   &relays_[slot.relay], &domains_[slot.domain]}) {
    ++use->connections;
    use->last_begin = now;
  }
  slots_[++last_slot_] = std::move(slot);
  return last_slot_;
}

void Router::Release(const Slot& slot, absl::Duration now) {
  Route& route = routes_[slot.route];
  route.last_end = now;
  for (Use* use : {&route.use, &hosts_[slot.route.second],
                   &sources_[slot.route.first], &connectors_[slot.connector],
                   &relays_[slot.relay], &domains_[slot.domain]}) {
    --use->connections;
  }
}

bool Router::Report(WorkerId worker, const SlotReport& report,
                    absl::Duration now) {
  const auto it = slots_.find(report.slot);
  if (it == slots_.end() || it->second.worker != worker) return false;
  Slot& slot = it->second;
  if (report.event == SlotReport::Event::kReady) {
    slot.ready = true;
    routes_[slot.route].proven = true;
    return true;
  }
  Release(slot, now);
  const bool failed = report.event == SlotReport::Event::kFailed && !slot.ready;
  const RouteKey key = slot.route;
  slots_.erase(it);
  Route& route = routes_[key];
  // A route that worked once is not disabled by later errors.
  if (failed && !route.proven) Disable(key, &route, now);
  return true;
}

void Router::Disable(const RouteKey& key, Route* route, absl::Duration now) {
  ++route->penalty;
  const int64_t n = std::min<uint32_t>(route->penalty, 1000);
  const absl::Duration rest = std::min(kPenaltyBase * (n * n), kPenaltyMax);
  route->disabled = true;
  disabled_.emplace(now + rest, key);
  log_(absl::StrCat("smtp-out: Disabling route ", RouteText(key, route->name),
                    " for ", absl::ToInt64Seconds(rest), "s"));
}

void Router::Wake(absl::Duration now) {
  while (!disabled_.empty() && disabled_.begin()->first <= now) {
    const RouteKey key = disabled_.begin()->second;
    disabled_.erase(disabled_.begin());
    Route& route = routes_[key];
    route.disabled = false;
    route.proven = false;
    if (route.penalty > 0) --route.penalty;
    log_(absl::StrCat("smtp-out: Enabling route ", RouteText(key, route.name)));
  }
}

void Router::EnableAll() {
  for (const auto& [until, key] : std::exchange(disabled_, {})) {
    Route& route = routes_[key];
    route.disabled = false;
    route.proven = false;
    route.penalty = 0;
    log_(absl::StrCat("smtp-out: Enabling route ", RouteText(key, route.name),
                      " per admin request"));
  }
}

void Router::DropWorker(WorkerId worker, absl::Duration now) {
  for (auto it = slots_.begin(); it != slots_.end();) {
    if (it->second.worker != worker) {
      ++it;
      continue;
    }
    Release(it->second, now);
    it = slots_.erase(it);
  }
}

void Router::Forget(absl::Duration now) {
  if (now < next_sweep_) return;
  next_sweep_ = now + absl::Seconds(1);
  // The delays of sensible limits are far below the life of a proof.
  const auto unused = [now](const Use& use) {
    return use.connections == 0 && now - use.last_begin > kProofLife;
  };
  for (Uses* uses : {&hosts_, &sources_, &connectors_, &relays_, &domains_}) {
    Sweep(uses, unused);
  }
  Sweep(&routes_, [&](const Route& route) {
    return unused(route.use) && !route.disabled && route.penalty == 0;
  });
}

}  // namespace holdfast
