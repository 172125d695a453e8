// All of smtp-blackhole: listening sockets, sessions, ledger and counts.
#ifndef HOLDFAST_CTL_LOAD_SINK_SERVER_H_
#define HOLDFAST_CTL_LOAD_SINK_SERVER_H_

#include <array>
#include <cstdint>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "ctl/load/ledger.h"
#include "ctl/load/poller.h"
#include "ctl/load/sink_plan.h"
#include "ctl/load/sink_session.h"

namespace holdfast {

class SinkServer : public SinkSession::Owner {
 public:
  // Repeats are counted among at most so many pairs of id and recipient; the
  // ledger has them all.
  static constexpr size_t kCountedPairs = 8 * 1000 * 1000;

  struct Limits {
    int64_t messages = 0;    // Poller::Stop() after so many; 0: none
    int64_t recipients = 0;  // likewise
  };

  // `ledger` must outlive the server.  Seeds the shares of the plan's answers.
  SinkServer(Poller* poller, const SinkPlan& plan, const Limits& limits,
             uint64_t seed, LedgerWriter* ledger);
  ~SinkServer() override;

  // Takes a listening socket.
  void Listen(int fd);

  // An error of the sink itself: ledger or capture can't be written.
  const absl::Status& status() const { return status_; }
  int64_t messages() const { return messages_; }
  int64_t recipients() const { return recipients_; }
  // One line, without its end.
  std::string StatsJson() const;

 private:
  void OnTook(const SinkMessage& message) override;
  void OnEnvelopeCommand(absl::string_view line) override;
  void OnUnusual(SinkStage stage) override;
  void OnEnd(SinkSession* session) override;
  void Accept(int listening);
  void CountPairs(const SinkMessage& message);
  void Capture(const SinkMessage& message);
  void Flush();

  Poller* poller_;
  const SinkPlan plan_;
  const Limits limits_;
  std::mt19937_64 random_;
  LedgerWriter* ledger_;
  std::vector<int> listening_;
  std::map<SinkSession*, std::unique_ptr<SinkSession>> sessions_;
  std::vector<std::unique_ptr<SinkSession>> ended_;
  absl::flat_hash_map<uint64_t, uint16_t> pairs_;
  std::ofstream commands_;
  absl::Status status_;
  int64_t connections_ = 0;
  int64_t most_sessions_ = 0;
  int64_t messages_ = 0;
  int64_t recipients_ = 0;
  int64_t bytes_ = 0;
  int64_t unnumbered_ = 0;
  int64_t damaged_ = 0;
  int64_t repeated_ = 0;
  int64_t captured_ = 0;
  int64_t first_ms_ = 0;
  int64_t last_ms_ = 0;
  std::array<int64_t, kSinkStages> unusual_{};
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_SINK_SERVER_H_
