// A whole run of smtp-load: keeps the sessions busy, the ledger and the
// statistics.
#ifndef HOLDFAST_CTL_LOAD_LOAD_RUN_H_
#define HOLDFAST_CTL_LOAD_LOAD_RUN_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ctl/load/latency_histogram.h"
#include "ctl/load/ledger.h"
#include "ctl/load/load_message.h"
#include "ctl/load/load_plan.h"
#include "ctl/load/load_session.h"
#include "ctl/load/poller.h"
#include "ctl/load/socket_address.h"

namespace holdfast {

class LoadRun : public LoadSession::Owner {
 public:
  // `ledger` must outlive the run.  `poller` gets this run's round hook.
  LoadRun(Poller* poller, const LoadPlan& plan, const SocketAddress& server,
          LedgerWriter* ledger);
  ~LoadRun() override;

  // Starts the sessions; Poller::Run() returns when the run has ended.
  void Start();

  // Every message was acknowledged for every recipient.
  bool complete() const;
  // An error of the run itself: the server can't be reached, the ledger can't
  // be written.
  const absl::Status& status() const { return status_; }
  // One line, without its end.
  std::string StatsJson() const;

 private:
  struct Counts {
    int64_t acknowledged = 0;
    int64_t temporary = 0;
    int64_t refused = 0;
    int64_t cut = 0;
    int64_t unknown = 0;
    int64_t recipients = 0;          // of acknowledged messages
    int64_t refused_recipients = 0;  // of all
    int64_t bytes = 0;               // of acknowledged messages
    int64_t connections = 0;
    int64_t failed_connections = 0;
  };

  void OnReady(LoadSession* session) override;
  void OnOutcome(const LoadOutcome& outcome) override;
  void OnEnd(LoadSession* session, bool greeted,
             const std::string& why) override;
  void Connect();
  void ConnectLater(int64_t delay_ms);
  void SendNext(LoadSession* session);
  void EndOfRound();
  void EverySecond();
  void CutAll(const std::string& why);
  bool AllStarted() const { return next_ >= plan_.messages; }

  Poller* poller_;
  const LoadPlan plan_;
  const SocketAddress server_;
  LedgerWriter* ledger_;
  const std::vector<LoadBody> bodies_;
  const std::string date_;
  std::map<LoadSession*, std::unique_ptr<LoadSession>> sessions_;
  std::vector<std::unique_ptr<LoadSession>> ended_;  // deleted after the round
  // Sessions that wait for their turn under plan_.rate.
  std::map<LoadSession*, Poller::TimerId> held_;
  int64_t pending_connects_ = 0;
  int64_t next_ = 0;  // messages started
  int64_t failures_in_row_ = 0;
  int64_t started_ms_ = 0;
  int64_t ended_ms_ = 0;
  bool stopping_ = false;
  absl::Status status_;
  Counts counts_;
  LatencyHistogram latency_;
  std::map<std::string, int64_t> replies_;  // that refused, by their code
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_LOAD_RUN_H_
