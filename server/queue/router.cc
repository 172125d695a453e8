#include "server/queue/router.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "config/relay_key.h"
#include "config/relay_text.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

// In the order of the reference's flags: the first that fits is said.
constexpr char kNoMx[] = "No MX found for destination";
constexpr char kFamily[] = "Address family mismatch on destination MXs";
constexpr char kBlocked[] = "All routes to destination blocked";
constexpr char kNetwork[] = "Network error on destination MXs";
constexpr char kNoRoute[] = "No valid route to destination";

bool IsInet6(absl::string_view address) {
  return address.find(':') != absl::string_view::npos;
}

bool FamilyFits(const std::string& source, const std::string& address,
                MtaLimits::Family family) {
  if (address.empty()) return true;  // a Unix socket
  const bool v6 = IsInet6(address);
  if (family == MtaLimits::Family::kInet4 && v6) return false;
  if (family == MtaLimits::Family::kInet6 && !v6) return false;
  return source.empty() || IsInet6(source) == v6;
}

bool IsSensible(const SlotRequest& request) {
  const auto fits = [](const std::string& text) {
    return text.size() <= Router::kMaxText;
  };
  return fits(request.domain) && fits(request.source) &&
         fits(request.target.domain) && fits(request.target.backup_name) &&
         std::all_of(request.hosts.begin(), request.hosts.end(),
                     [&](const SlotRequest::Host& host) {
                       return fits(host.address) && fits(host.name);
                     });
}

RouteKey KeyOfHost(const std::string& source, const SlotRequest::Host& host) {
  return {source, host.address.empty() ? host.name : host.address};
}

// The longest that anything has to be remembered for a delay's sake.
absl::Duration LongestDelay(const MtaLimits& l) {
  return absl::Seconds(
      std::max({l.conn_delay_host, l.conn_delay_route, l.conn_delay_source,
                l.conn_delay_connector, l.conn_delay_relay, l.conn_delay_domain,
                l.reconn_delay_route}));
}

absl::Duration LifeOfUnused(const Config& config) {
  absl::Duration life =
      std::max(Router::kProofLife, LongestDelay(config.mta_limits));
  for (const auto& [domain, limits] : config.mta_domain_limits) {
    life = std::max(life, LongestDelay(limits));
  }
  return life;
}

template <class Map>
const RouterUse& UseOf(const Map& uses, const typename Map::key_type& key) {
  static const RouterUse kUnused;
  const auto it = uses.find(key);
  if (it == uses.end()) return kUnused;
  if constexpr (std::is_same_v<typename Map::mapped_type, RouterUse>) {
    return it->second;
  } else {
    return it->second.use;
  }
}

}  // namespace

Router::Router(const Config* config, LogLineFn log)
    : config_(*config), log_(std::move(log)), life_(LifeOfUnused(*config)) {}

std::string Router::KeyOf(const RelayTarget& target) const {
  const auto action = config_.actions.find(target.action);
  return RelayKey(action == config_.actions.end() ? nullptr : &action->second,
                  target.domain, target.smarthost, target.backup_name);
}

RouterRelay& Router::RelayOf(const std::string& key,
                             const RelayTarget& target) {
  RouterRelay& relay = relays_[key];
  if (relay.text.empty()) {
    const auto action = config_.actions.find(target.action);
    relay.text =
        RelayText(action == config_.actions.end() ? nullptr : &action->second,
                  target.domain, target.smarthost, target.backup_name);
    relay.backup = !target.backup_name.empty();
  }
  return relay;
}

// ---- May it go, and where?

void Router::Obstacle::Add(const RouterUse& use, uint32_t max, uint32_t delay,
                           uint16_t flag, absl::Duration now) {
  if (use.connections >= max) {
    wait = std::max(wait, kLimitDelay);
    flags |= flag;
    return;
  }
  wait = std::max(wait, use.last_begin + absl::Seconds(delay) - now);
}

Router::Obstacle Router::BeforeHosts(const SlotRequest& request,
                                     const Slot& slot, const MtaLimits& limits,
                                     absl::Duration now) const {
  Obstacle o;
  if (slots_.size() >= kMaxSlots) o.wait = kLimitDelay;
  const auto relay = relays_.find(slot.relay);
  const bool known = relay != relays_.end();
  o.Add(UseOf(relays_, slot.relay), limits.max_conn_per_relay,
        limits.conn_delay_relay, kConnectorLimitRelay, now);
  o.Add(known ? UseOf(relay->second.connectors, request.source) : RouterUse(),
        limits.max_conn_per_connector, limits.conn_delay_connector,
        kConnectorLimitConn, now);
  o.Add(UseOf(domains_, slot.domain), limits.max_conn_per_domain,
        limits.conn_delay_domain, kConnectorLimitDomain, now);
  o.Add(UseOf(sources_, request.source), limits.max_conn_per_source,
        limits.conn_delay_source, kConnectorLimitSource, now);
  return o;
}

Router::Obstacle Router::OnTheRoute(const RouteKey& key,
                                    const MtaLimits& limits,
                                    absl::Duration now) {
  Obstacle o;
  o.Add(UseOf(hosts_, key.second), limits.max_conn_per_host,
        limits.conn_delay_host, kConnectorLimitHost, now);
  o.Add(UseOf(routes_, key), limits.max_conn_per_route, limits.conn_delay_route,
        kConnectorLimitRoute, now);
  const auto it = routes_.find(key);
  if (it == routes_.end()) return o;
  RouterRoute& route = it->second;
  if (route.proven && route.use.connections == 0 &&
      now - route.last_end > kProofLife) {
    route.proven = false;
  }
  if (!route.proven && route.use.connections > 0) {
    // A host that hangs is not asked about twenty times a second.
    o.wait = std::max(o.wait, std::clamp((now - route.use.last_begin) / 4,
                                         kProvingDelay, kLimitDelay));
  }
  o.wait = std::max(
      o.wait, route.last_end + absl::Seconds(limits.reconn_delay_route) - now);
  return o;
}

// Within one preference: the eligible route with the fewest connections.
Router::Choice Router::ChooseInLevel(const SlotRequest& request, size_t begin,
                                     size_t end, const MtaLimits& limits,
                                     absl::Duration now) {
  Choice choice;
  uint32_t fewest = 0;
  for (size_t i = begin; i < end; ++i) {
    const SlotRequest::Host& host = request.hosts[i];
    if (!FamilyFits(request.source, host.address, limits.family)) {
      choice.flags |= kConnectorErrorFamily;
      continue;
    }
    const RouteKey key = KeyOfHost(request.source, host);
    const auto route = routes_.find(key);
    if (route != routes_.end() && !route->second.Usable()) {
      choice.flags |= kConnectorErrorRouteNet;
      const bool off = route->second.state == RouterRoute::State::kOff;
      if (choice.failure != kNetwork)
        choice.failure = off ? kNoRoute : kNetwork;
      continue;
    }
    const Obstacle o = OnTheRoute(key, limits, now);
    if (o.wait > absl::ZeroDuration()) {
      choice.wait = std::min(choice.wait, o.wait);
      choice.flags |= kConnectorWait | o.flags;
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
  Choice none;
  const size_t count = std::min(request.hosts.size(), kMaxHosts);
  for (size_t begin = 0; begin < count;) {
    size_t end = begin + 1;
    while (end < count &&
           request.hosts[end].preference == request.hosts[begin].preference) {
      ++end;
    }
    Choice choice = ChooseInLevel(request, begin, end, limits, now);
    if (choice.host >= 0 || choice.wait != absl::InfiniteDuration()) {
      return choice;
    }
    none.flags |= choice.flags;
    if (none.failure != kNetwork && !choice.failure.empty()) {
      none.failure = choice.failure;
    }
    begin = end;
  }
  if (count == 0) {
    none.flags = kConnectorErrorMx;
    none.failure = kNoMx;
  } else if (none.failure.empty()) {
    none.failure = kFamily;
  }
  return none;
}

Router::Choice Router::Choose(const SlotRequest& request, const Slot& slot,
                              absl::Duration now) {
  Choice choice;
  if (IsBlocked(request.source, slot.domain)) {
    choice.flags = kConnectorErrorBlocked;
    choice.failure = kBlocked;
    return choice;
  }
  const MtaLimits& limits = config_.LimitsFor(request.domain);
  const Obstacle before = BeforeHosts(request, slot, limits, now);
  if (before.wait <= absl::ZeroDuration()) {
    return ChooseHost(request, limits, now);
  }
  choice.wait = before.wait;
  choice.flags = kConnectorWait | before.flags;
  return choice;
}

SlotAnswer Router::Ask(WorkerId worker, const SlotRequest& request,
                       absl::Duration now) {
  Wake(now);
  Forget(now);
  SlotAnswer answer;
  answer.question = request.question;
  answer.failure = kNoRoute;
  if (!IsSensible(request)) return answer;
  Slot slot;
  slot.worker = worker;
  slot.relay = KeyOf(request.target);
  slot.domain = absl::AsciiStrToLower(request.domain);
  slot.route.first = request.source;
  const Choice choice = Choose(request, slot, now);
  NoteAnswer(slot, request, choice, now);
  answer.failure.clear();
  if (choice.host >= 0) {
    const SlotRequest::Host& host = request.hosts[choice.host];
    answer.result = SlotAnswer::Result::kGranted;
    answer.host = static_cast<uint32_t>(choice.host);
    slot.route = KeyOfHost(request.source, host);
    answer.slot = Grant(std::move(slot), host, now);
  } else if (choice.wait != absl::InfiniteDuration()) {
    answer.result = SlotAnswer::Result::kLater;
    answer.delay = choice.wait;
  } else {
    answer.result = SlotAnswer::Result::kNoRoute;
    answer.failure = choice.failure;
  }
  return answer;
}

// For the listings.  Only what gets a slot, or has tasks, is remembered: a
// question alone must not cost memory.
void Router::NoteAnswer(const Slot& slot, const SlotRequest& request,
                        const Choice& choice, absl::Duration now) {
  const auto known = relays_.find(slot.relay);
  if (choice.host < 0 && (known == relays_.end() || !known->second.InUse())) {
    return;
  }
  RouterRelay& relay = RelayOf(slot.relay, request.target);
  relay.resolved = true;
  if (choice.host < 0 && relay.connectors.size() >= kMaxHosts &&
      !relay.connectors.contains(slot.route.first)) {
    return;
  }
  RouterConnector& connector = relay.connectors[slot.route.first];
  connector.flags = choice.host >= 0 ? 0 : choice.flags;
  connector.wait_until = choice.wait == absl::InfiniteDuration()
                             ? -absl::InfiniteDuration()
                             : now + choice.wait;
}

// ---- Slots

void Router::Count(const Slot& slot, int by, absl::Duration now) {
  RouterRelay& relay = relays_[slot.relay];
  for (RouterUse* use :
       {&routes_[slot.route].use, &hosts_[slot.route.second].use,
        &sources_[slot.route.first], &relay.connectors[slot.route.first].use,
        &relay.use, &domains_[slot.domain]}) {
    use->connections += by;
    if (by > 0) use->last_begin = now;
  }
}

uint64_t Router::Grant(Slot slot, const SlotRequest::Host& host,
                       absl::Duration now) {
  Count(slot, 1, now);
  RouterRoute& route = routes_[slot.route];
  if (route.id == 0) route.id = ++last_route_;
  route.name = host.name;
  slots_[++last_slot_] = std::move(slot);
  return last_slot_;
}

void Router::Release(const Slot& slot, absl::Duration now) {
  routes_[slot.route].last_end = now;
  if (slot.ready) --relays_[slot.relay].ready;
  Count(slot, -1, now);
}

bool Router::Report(WorkerId worker, const SlotReport& report,
                    absl::Duration now) {
  const auto it = slots_.find(report.slot);
  if (it == slots_.end() || it->second.worker != worker) return false;
  Slot& slot = it->second;
  RouterHost& host = hosts_[slot.route.second];
  host.ptr_known = true;
  if (!report.ptr.empty()) host.ptr = report.ptr.substr(0, kMaxText);
  if (host.ptr.empty()) host.ptr = slot.route.second;
  if (report.event == SlotReport::Event::kReady) {
    if (!std::exchange(slot.ready, true)) ++relays_[slot.relay].ready;
    routes_[slot.route].proven = true;
    return true;
  }
  Release(slot, now);
  const bool failed = report.event == SlotReport::Event::kFailed && !slot.ready;
  const RouteKey key = slot.route;
  slots_.erase(it);
  RouterRoute& route = routes_[key];
  // A route that worked once is not disabled by later errors.
  if (failed && !route.proven && route.Usable()) Rest(key, &route, now);
  return true;
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
  while (true) {
    const auto it = batches_.lower_bound({worker, BatchId(0)});
    if (it == batches_.end() || it->first.first != worker) return;
    EndTasks(BatchKey(it->first));
  }
}

// ---- Tasks

void Router::AddTasks(const BatchKey& batch, const RelayTarget& target,
                      size_t messages, size_t envelopes) {
  const std::string key = KeyOf(target);
  if (!batches_.emplace(batch, Batch{key, messages, envelopes}).second) return;
  RouterRelay& relay = RelayOf(key, target);
  if (!relay.InUse()) relay.resolved = false;
  ++relay.batches;
  relay.tasks += messages;
  relay.envelopes += envelopes;
  const MtaLimits& limits =
      config_.LimitsFor(RelayDomain(target.domain, target.smarthost));
  relay.lowat = limits.task_lowat;
  if (relay.tasks >= limits.task_hiwat) relay.on_hold = true;
}

void Router::EndTasks(const BatchKey& batch) {
  const auto it = batches_.find(batch);
  if (it == batches_.end()) return;
  RouterRelay& relay = relays_[it->second.relay];
  --relay.batches;
  relay.tasks -= it->second.messages;
  relay.envelopes -= it->second.envelopes;
  if (relay.tasks <= relay.lowat) relay.on_hold = false;
  batches_.erase(it);
}

// ---- Routes that fail

void Router::Rest(const RouteKey& key, RouterRoute* route, absl::Duration now) {
  ++route->penalty;
  const int64_t n = std::min<uint32_t>(route->penalty, 1000);
  const absl::Duration rest = std::min(kPenaltyBase * (n * n), kPenaltyMax);
  route->state = RouterRoute::State::kResting;
  route->until = now + rest;
  resting_.emplace(route->until, key);
  log_(absl::StrCat("smtp-out: Disabling route ",
                    PrintedRoute(key, NameOf(key, *route)), " for ",
                    absl::ToInt64Seconds(rest), "s"));
}

void Router::Wake(absl::Duration now) {
  while (!resting_.empty() && resting_.begin()->first <= now) {
    const RouteKey key = resting_.begin()->second;
    RouterRoute& route = routes_[key];
    if (route.penalty > 0) --route.penalty;
    Enable(key, &route);
    log_(absl::StrCat("smtp-out: Enabling route ",
                      PrintedRoute(key, NameOf(key, route))));
  }
}

// A route has to prove itself anew.
void Router::Enable(const RouteKey& key, RouterRoute* route) {
  resting_.erase({route->until, key});
  route->state = RouterRoute::State::kOn;
  route->proven = false;
}

}  // namespace holdfast
