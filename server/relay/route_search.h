// Finds a host that takes mail for a target: asks DNS, picks a source address,
// asks the router for a slot, connects, makes TLS where it comes first; with
// the next host if one fails (reference part 2, sections 3.3 to 3.8).
//
//   resolving -> asking -> (waiting -> asking) -> connecting [-> securing] ->
//   greeting -> over
//
// A search is for a batch, or for a connection in advance: that one gives up
// where another would wait.
#ifndef HOLDFAST_SERVER_RELAY_ROUTE_SEARCH_H_
#define HOLDFAST_SERVER_RELAY_ROUTE_SEARCH_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "server/door/table_question.h"
#include "server/relay/batch_work.h"
#include "server/relay/relay_services.h"
#include "server/relay/route_tls.h"

namespace holdfast {

// Hosts that one search tries.
inline constexpr int kMaxHostTries = 10;
// Addresses that the program of a `src` table is asked for, one after the
// other, until one is of use; and of those that seem to be, how many are left
// again.
inline constexpr int kMaxSourceFetches = 10;
// Hosts whose failures are told.
inline constexpr size_t kMaxToldFailures = 3;
// Of one of those, in bytes.
inline constexpr size_t kMaxFailureText = 200;
// Bounds of what the router's "later" may be.
inline constexpr absl::Duration kMinSlotDelay = absl::Milliseconds(50);
inline constexpr absl::Duration kMaxSlotDelay = absl::Seconds(60);
// With a filter the connection is reported with its host's name, which is
// waited for so long.
inline constexpr absl::Duration kMaxNameWait = absl::Seconds(5);
// One that has waited for a slot so long gives its work back untried: only in
// the queue can it be removed, expire, or go before or behind others.
inline constexpr absl::Duration kMaxSlotWait = absl::Minutes(10);

class RouteSearch : public std::enable_shared_from_this<RouteSearch> {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // A connection is up.  The owner answers with HostFailed(), or takes the
    // work and drops the search.
    virtual void OnConnected(RouteSearch* search, Route route,
                             std::unique_ptr<Stream> stream) = 0;
    // No way: the destination as a whole is to be tried later.  `failure`
    // empty: nothing is known to be wrong with it.
    virtual void OnUnreachable(RouteSearch* search,
                               const std::string& failure) = 0;
    // Every recipient has the same fate: `outcome` (without an envelope).
    virtual void OnHopeless(RouteSearch* search,
                            const WorkerOutcome& outcome) = 0;
  };

  // `action` may be null: it is gone from the configuration.
  RouteSearch(RelayServices* services, Owner* owner,
              std::shared_ptr<BatchWork> work, const Action* action);
  // For a connection in advance.
  RouteSearch(RelayServices* services, Owner* owner, RelayTarget target,
              DestinationId destination, const Action* action);

  void Start();
  // Ends it: gives back what it holds, calls nobody any more.
  void Cancel();
  // The host of the last OnConnected() did not greet us.
  void HostFailed(const std::string& error);
  // It could not do TLS, which is only used where it works: once more without,
  // through the slot of that connection.
  void RetryInClear(uint64_t slot);
  // We do not know what to say to any host.
  void NoCredentials();

  // Null: it is in advance.
  const std::shared_ptr<BatchWork>& work() const { return work_; }
  const RelayTarget& target() const { return target_; }
  const std::string& key() const { return key_; }
  // Whether no connection is under way yet, so that a session which has become
  // idle may take the work instead.
  bool CanYield() const {
    return work_ != nullptr && state_ < State::kConnecting;
  }
  // When it began, on both clocks.
  absl::Time began() const { return began_; }
  absl::Duration took() const {
    return services_->loop()->Elapsed() - began_elapsed_;
  }

 private:
  enum class State : uint8_t {
    kResolving,
    kAsking,
    kWaiting,
    kConnecting,
    kSecuring,
    kGreeting,
    kOver,
  };

  RouteSearch(RelayServices* services, Owner* owner,
              std::shared_ptr<BatchWork> work, RelayTarget target,
              DestinationId destination, const Action* action);

  void OnHosts(MailHosts hosts);
  bool PickSource();
  bool TakeSource(const std::string& text);
  void FetchSource(int tries);
  void NoSource();
  void AskTable(TableQuestion::Op op, TableService service, const Table& table,
                const std::string& key,
                std::function<void(const TableAnswer&)> done);
  void AskHelo(const std::string& key);
  void AskSlot();
  void RequestSlot();
  void OnSlot(const SlotAnswer& answer);
  void OnNoRoute(const std::string& failure);
  bool ChooseHelo();
  void FindNameThenDial();
  void BeginReports(const Stream& stream);
  void Connect(const SlotAnswer& answer);
  void Dial();
  void OnDialed(absl::StatusOr<std::unique_ptr<Stream>> stream);
  void Connected(std::unique_ptr<Stream> stream);
  void OnSecured(absl::StatusOr<std::unique_ptr<Stream>> stream);
  void SourceFailed(const std::string& error);
  void LeaveSource(const std::string& why);
  void NoteFailure(const std::string& error);
  std::string NetworkError() const;
  void Unreachable(const std::string& failure);
  void Hopeless(WorkerOutcome::Result result, EnhancedStatus status,
                const std::string& text);
  std::string TargetForLog() const;
  std::string ConnectorForLog() const;
  std::string RouteForLog() const;

  RelayServices* const services_;
  Owner* const owner_;
  const std::shared_ptr<BatchWork> work_;
  const RelayTarget target_;
  const DestinationId destination_;
  const Action* const action_;
  const std::string key_;
  const MtaLimits& limits_;
  const absl::Time began_;
  const absl::Duration began_elapsed_;
  State state_ = State::kResolving;

  RoutePolicy policy_;
  std::vector<MailHost> hosts_;  // those that may still be tried
  std::optional<IpAddress> source_;
  std::vector<MailHost> fitting_;  // of hosts_: reachable from source_
  int tries_ = 0;
  // No use, and what to say when there is no other.
  std::vector<IpAddress> bad_sources_;
  std::string why_no_source_;
  std::vector<std::string> failures_;  // of hosts, the first of them

  // What a program has said of source_; nothing: it was not asked, or does not
  // know it.
  std::optional<std::string> helo_of_source_;

  uint64_t table_question_ = 0;  // 0: none is open
  uint64_t question_ = 0;        // for a slot; 0: none is open
  EventLoop::Timer timer_;
  Route route_;
  PendingConnect connecting_;
  std::unique_ptr<RouteTls> securing_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_ROUTE_SEARCH_H_
