// The router: who may open a connection to which host, now (reference part 2,
// sections 3.1, 3.5 to 3.7, 3.13).  A relay worker asks for a slot before it
// connects, and gives it back with what became of it; what is counted over all
// workers is counted here.
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
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "protocol/ids.h"
#include "server/door/worker_messages.h"
#include "server/queue/router_objects.h"

namespace holdfast {

// For `show stats`.
struct RouterCounts {
  size_t connectors = 0, domains = 0, envelopes = 0, hosts = 0, relays = 0;
  size_t routes = 0, sessions = 0, sources = 0, tasks = 0, running = 0;
};

class Router {
 public:
  // Wait before asking again: a limit is reached; another connection is proving
  // the route (a quarter of the time that this has taken, between the two).
  static constexpr absl::Duration kLimitDelay = absl::Seconds(1);
  static constexpr absl::Duration kProvingDelay = absl::Milliseconds(50);
  // A route that failed rests 15 s * penalty², an hour at most.
  static constexpr absl::Duration kPenaltyBase = absl::Seconds(15);
  static constexpr absl::Duration kPenaltyMax = absl::Hours(1);
  // A proven route must prove itself again after so long without connections;
  // what is not used for so long is forgotten (but delays and penalties).
  static constexpr absl::Duration kProofLife = absl::Minutes(5);
  // How often what is not used is looked for.
  static constexpr absl::Duration kSweepEvery = absl::Seconds(15);
  // More hosts than this in one question are not looked at.
  static constexpr size_t kMaxHosts = 256;
  // Above this many objects of a kind the unused ones are forgotten at once.
  static constexpr size_t kMaxRemembered = 10000;
  // Connections at a time, whatever the limits are.
  static constexpr size_t kMaxSlots = 20000;
  // What is longer is no address, name or URL.  Relays speak with strangers:
  // what one says must not cost memory without bound.
  static constexpr size_t kMaxText = 1024;
  // Pairs of `pause mta from ... for ...`.
  static constexpr size_t kMaxBlocks = 1000;

  using LogLineFn = std::function<void(const std::string&)>;
  using BatchKey = std::pair<WorkerId, BatchId>;

  // `config` outlives the router.
  Router(const Config* config, LogLineFn log);

  SlotAnswer Ask(WorkerId worker, const SlotRequest& request,
                 absl::Duration now);
  // False: this worker has no such slot.
  bool Report(WorkerId worker, const SlotReport& report, absl::Duration now);
  // The worker is gone: its slots are free, without fault of the routes, and
  // its tasks are over.
  void DropWorker(WorkerId worker, absl::Duration now);

  // A batch of so many messages and envelopes has gone to a worker, and is over
  // (nothing happens if it is not known).
  void AddTasks(const BatchKey& batch, const RelayTarget& target,
                size_t messages, size_t envelopes);
  void EndTasks(const BatchKey& batch);

  // Enables routes whose time has come.  When to call next: NextWake();
  // InfiniteDuration: no need.
  void Wake(absl::Duration now);
  absl::Duration NextWake() const {
    return resting_.empty() ? absl::InfiniteDuration()
                            : resting_.begin()->first;
  }

  // ---- The operator's

  // Enables all that rest and forgets their penalties: an operator wants an
  // attempt now.
  void EnableAll();
  // A route by its number; false: there is none.  What is disabled stays so
  // until it is enabled.
  bool EnableRoute(uint64_t id);
  bool DisableRoute(uint64_t id);
  // No connections from this address ("" the unspecified one) for this domain
  // or smarthost (any case).  False: there are too many.
  bool Block(const std::string& source, absl::string_view domain);
  void Unblock(const std::string& source, absl::string_view domain);
  // Lines as the reference prints them, in order.
  std::vector<std::string> BlockLines() const;
  std::vector<std::string> HostLines(absl::Duration now) const;
  std::vector<std::string> RelayLinesOfAll(absl::Duration now) const;
  std::vector<std::string> RouteLines(absl::Duration now) const;
  RouterCounts Counts() const;

  size_t slots() const { return slots_.size(); }
  size_t routes() const { return routes_.size(); }
  size_t relays() const { return relays_.size(); }
  size_t hosts() const { return hosts_.size(); }

 private:
  using Uses = std::map<std::string, RouterUse>;
  struct Slot {
    WorkerId worker{};
    bool ready = false;
    RouteKey route;
    std::string relay, domain;
  };
  struct Batch {
    std::string relay;
    size_t messages = 0, envelopes = 0;
  };
  // What a question comes to: a host; else a wait; else the flags say why not.
  struct Choice {
    int host = -1;
    absl::Duration wait = absl::InfiniteDuration();
    uint16_t flags = 0;
    std::string failure;
  };
  // What stands in the way of one more connection.
  struct Obstacle {
    absl::Duration wait = absl::ZeroDuration();
    uint16_t flags = 0;
    void Add(const RouterUse& use, uint32_t max, uint32_t delay, uint16_t flag,
             absl::Duration now);
  };

  Choice Choose(const SlotRequest& request, const Slot& slot,
                absl::Duration now);
  Obstacle BeforeHosts(const SlotRequest& request, const Slot& slot,
                       const MtaLimits& limits, absl::Duration now) const;
  Obstacle OnTheRoute(const RouteKey& key, const MtaLimits& limits,
                      absl::Duration now);
  Choice ChooseHost(const SlotRequest& request, const MtaLimits& limits,
                    absl::Duration now);
  Choice ChooseInLevel(const SlotRequest& request, size_t begin, size_t end,
                       const MtaLimits& limits, absl::Duration now);
  void NoteAnswer(const Slot& slot, const SlotRequest& request,
                  const Choice& choice, absl::Duration now);
  uint64_t Grant(Slot slot, const SlotRequest::Host& host, absl::Duration now);
  void Count(const Slot& slot, int by, absl::Duration now);
  void Release(const Slot& slot, absl::Duration now);
  std::string KeyOf(const RelayTarget& target) const;
  RouterRelay& RelayOf(const std::string& key, const RelayTarget& target);
  std::string NameOf(const RouteKey& key, const RouterRoute& route) const;
  void Rest(const RouteKey& key, RouterRoute* route, absl::Duration now);
  void Enable(const RouteKey& key, RouterRoute* route);
  std::pair<const RouteKey, RouterRoute>* FindRoute(uint64_t id);
  bool IsBlocked(const std::string& source, const std::string& domain) const {
    return blocks_.contains({source, domain});
  }
  // router_acts.cc
  void Forget(absl::Duration now);
  void ForgetRoutes(absl::Duration now, absl::Duration life);
  bool IsIdle(const RouterRoute& route, absl::Duration now,
              absl::Duration life) const;

  const Config& config_;
  const LogLineFn log_;
  const absl::Duration life_;  // of what is not used
  uint64_t last_slot_ = 0;
  uint64_t last_route_ = 0;
  std::map<uint64_t, Slot> slots_;
  std::map<BatchKey, Batch> batches_;
  std::map<RouteKey, RouterRoute> routes_;
  std::set<std::pair<absl::Duration, RouteKey>> resting_;  // until when
  std::map<std::string, RouterRelay> relays_;              // by RelayKey()
  std::map<std::string, RouterHost> hosts_;                // by address
  Uses sources_, domains_;
  std::set<std::pair<std::string, std::string>> blocks_;  // source, domain
  absl::Duration next_sweep_ = -absl::InfiniteDuration();
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_ROUTER_H_
