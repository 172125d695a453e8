// The room `relay`: sends batches of the queue to other hosts, and tells
// `receive` what its clients are called.
//
// A batch goes to an idle session of an equal target, else to a RouteSearch,
// which ends with a connection; each outcome goes to the OutcomeBook.
#ifndef HOLDFAST_SERVER_RELAY_RELAY_ROOM_H_
#define HOLDFAST_SERVER_RELAY_RELAY_ROOM_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/door/receive_messages.h"
#include "server/door/worker_messages.h"
#include "server/relay/batch_work.h"
#include "server/relay/outcome_book.h"
#include "server/relay/relay_services.h"
#include "server/relay/relay_session.h"
#include "server/relay/resolver.h"
#include "server/relay/route_search.h"
#include "server/room/room.h"

namespace holdfast {

class RelayRoom : public RoomHandler,
                  private RelayServices,
                  private RouteSearch::Owner,
                  private RelaySession::Owner {
 public:
  RelayRoom(RoomContext context, std::unique_ptr<Resolver> resolver,
            std::unique_ptr<Dialer> dialer);
  ~RelayRoom() override;

  void OnDoor(const NewDoor& to, std::unique_ptr<Door> door) override;
  bool OnParentFrame(Frame& frame) override;
  void OnStop(absl::Duration grace) override;

 private:
  // RelayServices
  EventLoop* loop() override { return context_.loop; }
  const Config& config() override { return *context_.config; }
  Resolver* resolver() override { return resolver_.get(); }
  Dialer* dialer() override { return dialer_.get(); }
  SessionId NewSessionId() override;
  uint64_t AskSlot(SlotRequest request,
                   absl::AnyInvocable<void(const SlotAnswer&)> done) override;
  void CancelSlot(uint64_t question) override;
  uint64_t AskBody(BodyRequest request,
                   absl::AnyInvocable<void(BodyPart)> done) override;
  void CancelBody(uint64_t question) override;
  void ReportSlot(uint64_t slot, SlotReport::Event event) override;
  void Decide(BatchWork* work, size_t message, size_t recipient,
              const RelayVia& via, WorkerOutcome outcome) override;

  // RouteSearch::Owner
  void OnConnected(RouteSearch* search, Route route,
                   std::unique_ptr<Stream> stream) override;
  void OnUnreachable(RouteSearch* search, const std::string& failure) override;
  void OnHopeless(RouteSearch* search, const WorkerOutcome& outcome) override;

  // RelaySession::Owner
  void OnGreeted(RelaySession* session) override;
  void OnIdle(RelaySession* session) override;
  void OnRest(std::shared_ptr<BatchWork> work) override;
  void OnOver(RelaySession* session, const std::string& error) override;

  // From queue.
  void OnQueueFrame(Frame& frame);
  void On(RelayBatch& batch);
  void On(const BatchClaimed& claimed);
  void On(const OutcomesRecorded& recorded);
  void On(BodyPart& part);
  void On(const SlotAnswer& answer);
  void OnQueueClosed();

  void OnReceiveFrame(uint32_t number, Frame& frame);

  void Assign(std::shared_ptr<BatchWork> work);
  RelaySession* TakeIdle(const RelayTarget& target);
  std::shared_ptr<RouteSearch> EndSearch(RouteSearch* search);
  void CancelSearches();
  RelaySession* SessionOf(const BatchWork* work);
  // Every message but `keep` goes back untried.
  static constexpr size_t kKeepNone = SIZE_MAX;
  void StopWork(BatchWork* work, size_t keep, const std::string& failure = "");
  void ForgetWork(BatchWork* work);
  void DecideAll(BatchWork* work, size_t keep, const WorkerOutcome& outcome,
                 const std::string& failure);
  void Bury(std::shared_ptr<void> body);
  void EndGrace();
  void ExitIfDone();
  void ExitSoon();

  RoomContext context_;
  std::unique_ptr<Resolver> resolver_;
  std::unique_ptr<Dialer> dialer_;
  OutcomeBook book_;

  std::unique_ptr<Door> queue_;  // null: there is none now
  std::map<uint32_t, std::shared_ptr<Door>> receive_;

  // What is not decided yet.
  std::map<BatchId, std::shared_ptr<BatchWork>> batches_;
  std::map<RouteSearch*, std::shared_ptr<RouteSearch>> searches_;
  std::map<RelaySession*, std::unique_ptr<RelaySession>> sessions_;
  std::map<RelaySession*, RouteSearch*> greeting_;
  // Sessions that may be idle, the latest last, by target.
  std::map<std::string, std::vector<RelaySession*>> idle_;

  uint64_t next_question_ = 1;
  std::map<uint64_t, absl::AnyInvocable<void(const SlotAnswer&)>> slots_asked_;
  std::map<uint64_t, absl::AnyInvocable<void(BodyPart)>> bodies_asked_;

  bool stopping_ = false;
  EventLoop::Timer grace_;
  // What ended in this turn, perhaps in the middle of its own doing.
  std::vector<std::shared_ptr<void>> graveyard_;
  EventLoop::Timer gravedigger_;
};

// The real one.
absl::StatusOr<std::unique_ptr<RoomHandler>> MakeRelayRoom(RoomContext context);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_RELAY_ROOM_H_
