// Finds a host that takes mail for a batch: asks DNS, picks a source address,
// asks the router for a slot, connects; with the next host if one fails
// (reference part 2, sections 3.3 to 3.7).
//
//   resolving -> asking -> (waiting -> asking) -> connecting -> greeting ->
//   over
#ifndef HOLDFAST_SERVER_RELAY_ROUTE_SEARCH_H_
#define HOLDFAST_SERVER_RELAY_ROUTE_SEARCH_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "server/relay/batch_work.h"
#include "server/relay/relay_services.h"

namespace holdfast {

// Smtpd gives a connection this long, as the reference does.
inline constexpr absl::Duration kConnectTimeout = absl::Seconds(300);
// Hosts that one search tries.
inline constexpr int kMaxHostTries = 10;
// Bounds of what the router's "later" may be.
inline constexpr absl::Duration kMinSlotDelay = absl::Milliseconds(50);
inline constexpr absl::Duration kMaxSlotDelay = absl::Seconds(60);

class RouteSearch : public std::enable_shared_from_this<RouteSearch> {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // A connection is up.  The owner answers with HostFailed(), or takes the
    // work and drops the search.
    virtual void OnConnected(RouteSearch* search, Route route,
                             std::unique_ptr<Stream> stream) = 0;
    // No way: the destination as a whole is to be tried later.
    virtual void OnUnreachable(RouteSearch* search,
                               const std::string& failure) = 0;
    // Every recipient has the same fate: `outcome` (without an envelope).
    virtual void OnHopeless(RouteSearch* search,
                            const WorkerOutcome& outcome) = 0;
  };

  // `action` may be null: it is gone from the configuration.
  RouteSearch(RelayServices* services, Owner* owner,
              std::shared_ptr<BatchWork> work, const Action* action);

  void Start();
  // Ends it: gives back what it holds, calls nobody any more.
  void Cancel();
  // The host of the last OnConnected() did not greet us.
  void HostFailed();

  const std::shared_ptr<BatchWork>& work() const { return work_; }
  // Whether no connection is under way yet, so that a session which has become
  // idle may take the work instead.
  bool CanYield() const { return state_ < State::kConnecting; }

 private:
  enum class State : uint8_t {
    kResolving,
    kAsking,
    kWaiting,
    kConnecting,
    kGreeting,
    kOver,
  };

  void OnHosts(MailHosts hosts);
  bool PickSource();
  void AskSlot();
  void OnSlot(const SlotAnswer& answer);
  void Connect(const SlotAnswer& answer);
  void Dial();
  void OnDialed(absl::StatusOr<std::unique_ptr<Stream>> stream);
  void TryNext();
  void Unreachable(const std::string& failure);
  void Hopeless(WorkerOutcome::Result result, EnhancedStatus status,
                const std::string& text);
  std::string TargetForLog() const;
  std::string ConnectorForLog() const;
  std::string RouteForLog() const;

  RelayServices* const services_;
  Owner* const owner_;
  const std::shared_ptr<BatchWork> work_;
  const Action* const action_;
  const MtaLimits& limits_;
  State state_ = State::kResolving;

  RelayProtocol protocol_ = RelayProtocol::kSmtp;
  uint16_t port_ = 25;
  std::vector<MailHost> hosts_;  // those that may still be tried
  std::optional<IpAddress> source_;
  std::vector<MailHost> fitting_;  // of hosts_: reachable from source_
  int tries_ = 0;
  size_t bad_sources_ = 0;

  uint64_t question_ = 0;  // for a slot; 0: none is open
  EventLoop::Timer timer_;
  Route route_;
  PendingConnect connecting_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_ROUTE_SEARCH_H_
