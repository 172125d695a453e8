// The router: who may open a connection to which host, now (reference part 2,
// sections 3.5 to 3.7).  A relay worker asks for a slot before it connects,
// and gives it back with what became of it; what is counted over all workers is
// counted here.
//
// Pure but for what it remembers: time comes in with every call (`now` is
// EventLoop::Elapsed()), log lines go out through a function.  Knows nothing of
// doors or of storage.  One thread.
#ifndef HOLDFAST_SERVER_QUEUE_ROUTER_H_
#define HOLDFAST_SERVER_QUEUE_ROUTER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "protocol/ids.h"
#include "server/door/worker_messages.h"

namespace holdfast {

class Router {
 public:
  // Wait before asking again: a limit is reached; another connection is proving
  // the route.
  static constexpr absl::Duration kLimitDelay = absl::Seconds(1);
  static constexpr absl::Duration kProvingDelay = absl::Milliseconds(50);
  // A route that failed rests 15 s * penalty², an hour at most.
  static constexpr absl::Duration kPenaltyBase = absl::Seconds(15);
  static constexpr absl::Duration kPenaltyMax = absl::Hours(1);
  // A proven route must prove itself again after so long without connections.
  static constexpr absl::Duration kProofLife = absl::Minutes(5);
  // More hosts than this in one question are not looked at.
  static constexpr size_t kMaxHosts = 256;
  // Above this many objects of a kind the unused ones are forgotten.
  static constexpr size_t kMaxRemembered = 10000;

  using LogLineFn = std::function<void(const std::string&)>;

  // `config` outlives the router.
  Router(const Config* config, LogLineFn log)
      : config_(*config), log_(std::move(log)) {}

  SlotAnswer Ask(WorkerId worker, const SlotRequest& request,
                 absl::Duration now);
  // False: this worker has no such slot.
  bool Report(WorkerId worker, const SlotReport& report, absl::Duration now);
  // The worker is gone: its slots are free, without fault of the routes.
  void DropWorker(WorkerId worker, absl::Duration now);

  // Enables routes whose time has come.  When to call next: NextWake();
  // InfiniteDuration: no need.
  void Wake(absl::Duration now);
  // Enables all that are disabled and forgets their penalties: an operator
  // wants an attempt now.
  void EnableAll();
  absl::Duration NextWake() const {
    return disabled_.empty() ? absl::InfiniteDuration()
                             : disabled_.begin()->first;
  }

  size_t slots() const { return slots_.size(); }
  size_t routes() const { return routes_.size(); }

 private:
  // Connections of one object and when the last was begun.
  struct Use {
    uint32_t connections = 0;
    absl::Duration last_begin = -absl::InfiniteDuration();
  };
  struct Route {
    Use use;
    bool proven = false;
    uint32_t penalty = 0;
    absl::Duration last_end = -absl::InfiniteDuration();
    bool disabled = false;
    std::string name;  // of the host
  };
  using RouteKey = std::pair<std::string, std::string>;  // source, address
  using Uses = std::map<std::string, Use>;
  struct Slot {
    WorkerId worker{};
    bool ready = false;
    RouteKey route;
    std::string connector, relay, domain;
  };
  // How a limit or a delay stands: ZeroDuration says go, else wait so long.
  static absl::Duration Wait(const Use& use, uint32_t max, uint32_t delay,
                             absl::Duration now);
  static absl::Duration Wait(const Uses& uses, const std::string& key,
                             uint32_t max, uint32_t delay, absl::Duration now);
  absl::Duration WaitForRoute(const RouteKey& key, const MtaLimits& limits,
                              absl::Duration now);
  absl::Duration WaitBeforeHosts(const SlotRequest& request,
                                 const std::string& relay,
                                 const std::string& connector,
                                 const MtaLimits& limits,
                                 absl::Duration now) const;

  struct Choice {
    int host = -1;
    absl::Duration wait = absl::InfiniteDuration();  // host < 0: why not
  };
  Choice ChooseInLevel(const SlotRequest& request, size_t begin, size_t end,
                       const MtaLimits& limits, absl::Duration now);
  Choice ChooseHost(const SlotRequest& request, const MtaLimits& limits,
                    absl::Duration now);
  uint64_t Grant(WorkerId worker, const SlotRequest& request, Slot slot,
                 absl::Duration now);
  void Release(const Slot& slot, absl::Duration now);
  void Disable(const RouteKey& key, Route* route, absl::Duration now);
  void Forget(absl::Duration now);

  const Config& config_;
  LogLineFn log_;
  uint64_t last_slot_ = 0;
  std::map<uint64_t, Slot> slots_;
  std::map<RouteKey, Route> routes_;
  std::set<std::pair<absl::Duration, RouteKey>> disabled_;  // until when
  Uses hosts_, sources_, connectors_, relays_, domains_;
  absl::Duration next_sweep_ = -absl::InfiniteDuration();
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_ROUTER_H_
