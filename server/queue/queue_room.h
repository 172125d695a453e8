// The `queue` room: owns the store, takes messages from `receive`, has them
// delivered by `relay` and `deliver`, answers smtpctl (docs/ARCHITECTURE.md).
//
// Here the parts meet: acceptance (what comes in), the engine (what goes out),
// reports and the control socket, which see it as QueueServices.
#ifndef HOLDFAST_SERVER_QUEUE_QUEUE_ROOM_H_
#define HOLDFAST_SERVER_QUEUE_QUEUE_ROOM_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/filter_client/filter_client.h"
#include "server/queue/acceptance.h"
#include "server/queue/control_server.h"
#include "server/queue/lookup_door.h"
#include "server/queue/queue_engine.h"
#include "server/queue/queue_services.h"
#include "server/queue/report_sender.h"
#include "server/room/room.h"
#include "storage/queue_store.h"

namespace holdfast {

class QueueRoom : public RoomHandler, public QueueServices {
 public:
  // While another process has the store locked, how often to try.
  static constexpr absl::Duration kOpenRetry = absl::Seconds(1);
  // Message ids kept for reports.
  static constexpr uint32_t kOwnLease = 64;

  using StoreOpener =
      std::function<absl::StatusOr<std::unique_ptr<QueueStore>>(StoreOptions)>;

  QueueRoom(RoomContext context, StoreOpener open);
  ~QueueRoom() override;

  // Opens the store.  kUnavailable, another process has it: the room tries
  // again by itself.  Any other error is for good.
  absl::Status Start();

  // RoomHandler:
  void OnDoor(const NewDoor& to, std::unique_ptr<Door> door) override;
  bool OnParentFrame(Frame& frame) override;
  void OnStop(absl::Duration grace) override;

  // QueueServices:
  EventLoop* loop() override { return context_.loop; }
  QueueStore* store() override { return store_.get(); }
  const Config& config() override { return *context_.config; }
  absl::BitGenRef random() override { return context_.random; }
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
  void ActOnSlice(std::shared_ptr<const EnvelopeAct> act,
                  const EnvelopeFilter& filter,
                  std::vector<EnvelopeId> envelopes,
                  absl::AnyInvocable<void(ActCounts)> done) override;
  std::optional<absl::Time> InFlightSince(EnvelopeId id) override;
  size_t InFlightOf(DestinationId id) override;
  bool SetPaused(DeliveryKind kind, bool paused) override;
  bool IsPaused(DeliveryKind kind) override;
  bool SetSmtpPaused(bool paused) override;
  bool IsSmtpPaused() override { return acceptance_.paused(); }
  void SetVerboseEverywhere(bool verbose) override;
  QueueCounters Counters() override;
  FilterClient* filters() override { return &filters_; }
  Router* router() override { return &engine_->router(); }
  HostStats* host_stats() override { return &engine_->host_stats(); }

 private:
  StoreOptions OptionsForStore() const;
  void OnOpen(std::unique_ptr<QueueStore> store);
  void PauseFromCommandLine();
  void OnFailedSync(const absl::Status& status);
  void GiveIds();
  void WaitForWorkers(absl::Duration deadline);
  void Finish();

  RoomContext context_;
  StoreOpener open_;
  const absl::Time started_;
  OwnedFd control_;
  std::string told_;  // why the store is not open, as logged
  // In this order: what is below uses what is above.
  std::unique_ptr<QueueStore> store_;
  CommandSeals seals_;
  Acceptance acceptance_;
  LookupDoor lookup_;
  FilterClient filters_;
  std::unique_ptr<QueueEngine> engine_;
  std::unique_ptr<ReportSender> reports_;
  std::unique_ptr<ControlServer> control_server_;

  // What came before the store was open.
  std::vector<std::pair<NewDoor, std::unique_ptr<Door>>> early_doors_;
  std::optional<Workers> workers_;

  std::deque<absl::AnyInvocable<void(MessageId)>> wants_id_;
  MessageId own_first_{};
  uint32_t own_left_ = 0;
  bool leasing_ = false;
  EventLoop::Timer open_timer_;
  EventLoop::Timer lease_timer_;
  EventLoop::Timer stop_timer_;
  bool stopping_ = false;
  CallGuard guard_;
};

// For RunRoom().
absl::StatusOr<std::unique_ptr<RoomHandler>> MakeQueueRoom(RoomContext context);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_QUEUE_ROOM_H_
