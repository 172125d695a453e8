// The queue room's services and its store, in memory, for tests of reports and
// control commands.  Reads run at once; commits are applied at once and
// answered in a later turn of the (fake) loop.
#ifndef HOLDFAST_SERVER_QUEUE_FAKE_QUEUE_H_
#define HOLDFAST_SERVER_QUEUE_FAKE_QUEUE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/filter_client/filter_client.h"
#include "server/loop/fake_event_loop.h"
#include "server/queue/host_stats.h"
#include "server/queue/queue_services.h"
#include "server/queue/router.h"

namespace holdfast {

class FakeQueueStore : public QueueStore {
 public:
  struct Message {
    MessageRow row;
    std::vector<std::string> chunks;
  };

  // Compresses and cuts `raw` as the accept path does.
  void AddMessage(MessageId id, const std::string& raw);
  void AddReport(PendingReport report);
  // All of an accepted message's text.
  std::string TextOf(MessageId id) const;

  OperationResult Apply(QueueOperation& operation);

  void Submit(QueueBatch batch, Done done) override;
  absl::StatusOr<std::unique_ptr<QueueView>> View() override;
  void ReadLater(
      absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)> read) override;
  void Drain() override {}
  const std::string& uuid() const override { return uuid_; }
  uint64_t start_number() const override { return 1; }
  CommitFigures Commits() const override { return commits; }
  std::vector<DestinationBacklog> LargestBacklogs(size_t limit) override {
    std::vector<DestinationBacklog> largest = backlogs;
    if (largest.size() > limit) largest.resize(limit);
    return largest;
  }

  std::map<MessageId, Message> messages;
  std::map<EnvelopeId, Envelope> envelopes;
  std::map<EnvelopeId, absl::Time> due;
  std::set<EnvelopeId> claimed;
  std::map<std::pair<EnvelopeId, ReportKind>, PendingReport> reports;
  std::map<MessageId, std::vector<std::string>> incoming;
  std::map<std::string, DestinationRow> destinations;  // by routing key
  CommitFigures commits;
  std::vector<DestinationBacklog> backlogs;
  std::vector<DoubtRow> doubts;
  std::vector<HistoryRow> history;  // by (envelope, serial)
  Ledger ledger;
  bool accepting = true;
  // Bodies of more than this are refused with kResourceExhausted.
  uint64_t room = UINT64_MAX;
  absl::Status read_status;
  absl::Status act_status;  // of ActOnEnvelope
  int reads = 0;
  size_t max_chunks_in_batch = 0;
  std::vector<AcceptMessage> accepted;

 private:
  class FakeView;
  OperationResult Accept(AcceptMessage& accept);
  // kMove and kMoveBack.
  OperationResult Move(const ActOnEnvelope& act);

  std::string uuid_ = "0123456789abcdef";
};

class FakeQueueServices : public QueueServices {
 public:
  FakeQueueServices();
  ~FakeQueueServices() override;

  FakeEventLoop* loop() override { return &loop_; }
  FakeQueueStore* store() override { return &store_; }
  const Config& config() override { return config_; }
  absl::BitGenRef random() override { return random_; }
  void Commit(QueueBatch batch,
              absl::AnyInvocable<void(BatchResult)> done) override;
  void TakeMessageId(absl::AnyInvocable<void(MessageId)> done) override;
  void Expand(ExpandRequest request,
              absl::AnyInvocable<void(ExpandAnswer)> done) override;
  void Explain(ExplainRequest request,
               absl::AnyInvocable<void(ExplainAnswer)> done) override;
  void UpdateTable(const std::string& name,
                   absl::AnyInvocable<void(TableUpdated)> done) override;
  void Act(OperatorAct act, std::vector<EnvelopeId> envelopes,
           absl::AnyInvocable<void(uint64_t)> done) override;
  // Removes, or holds; what is in flight waits.
  void ActOnSlice(std::shared_ptr<const EnvelopeAct> act,
                  const EnvelopeFilter& filter, std::vector<EnvelopeId> ids,
                  absl::AnyInvocable<void(ActCounts)> done) override;
  std::optional<absl::Time> InFlightSince(EnvelopeId id) override;
  size_t InFlightOf(DestinationId id) override { return in_flight_of[id]; }
  bool SetPaused(DeliveryKind kind, bool paused) override;
  bool IsPaused(DeliveryKind kind) override { return paused_.count(kind); }
  bool SetSmtpPaused(bool paused) override;
  bool IsSmtpPaused() override { return smtp_paused_; }
  void SetVerboseEverywhere(bool verbose) override { verbose_ = verbose; }
  QueueCounters Counters() override { return counters; }
  FilterClient* filters() override { return &filters_; }
  Router* router() override { return &router_; }
  HostStats* host_stats() override { return &host_stats_; }

  Config config_;
  QueueCounters counters;
  // What Expand() answers; by default one relayed recipient.
  std::function<ExpandAnswer(const ExpandRequest&)> expand;
  std::vector<ExpandRequest> expanded;
  ExplainAnswer explanation;  // what Explain() answers
  std::vector<ExplainRequest> explained;
  TableUpdated table_updated;  // what UpdateTable() answers
  std::vector<std::string> updated_tables;
  std::vector<std::pair<OperatorAct, std::vector<EnvelopeId>>> acts;
  std::map<EnvelopeId, absl::Time> in_flight;
  std::map<DestinationId, size_t> in_flight_of;
  std::vector<std::pair<EnvelopeAct, std::vector<EnvelopeId>>> slices;
  std::function<void()> after_slice;  // before its counts are told
  bool verbose_ = false;

 private:
  FakeEventLoop loop_;
  FakeQueueStore store_;
  std::mt19937_64 random_{20261122};
  uint32_t next_message_ = 0x10000000;
  std::set<DeliveryKind> paused_;
  bool smtp_paused_ = false;
  FilterClient filters_{&loop_, "queue", nullptr, nullptr, nullptr};
  Router router_{&config_, [](const std::string&) {}};
  HostStats host_stats_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_FAKE_QUEUE_H_
