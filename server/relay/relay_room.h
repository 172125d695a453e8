// The room `relay`: sends batches of the queue to other hosts, and tells
// `receive` what its clients are called.
//
// A batch goes to an idle session that it may share (RelayKey()), else to a
// RouteSearch, which ends with a connection; each outcome goes to the
// OutcomeBook.  While more waits at a destination that works, a connection is
// kept ready in advance.
#ifndef HOLDFAST_SERVER_RELAY_RELAY_ROOM_H_
#define HOLDFAST_SERVER_RELAY_RELAY_ROOM_H_

#include <memory>
#include <string>
#include <vector>

#include "server/door/worker_messages.h"
#include "server/relay/batch_list.h"
#include "server/relay/lmtp_loop_check.h"
#include "server/relay/queue_questions.h"
#include "server/relay/relay_services.h"
#include "server/relay/relay_session.h"
#include "server/relay/resolver.h"
#include "server/relay/reverse_server.h"
#include "server/relay/route_search.h"
#include "server/relay/search_list.h"
#include "server/relay/session_list.h"
#include "server/room/room.h"

namespace holdfast {

class RelayRoom : public RoomHandler,
                  private RelayServices,
                  private RouteSearch::Owner,
                  private RelaySession::Owner {
 public:
  // What it reaches the world with.
  struct Parts {
    std::unique_ptr<Resolver> resolver;
    std::unique_ptr<Dialer> dialer;
    std::unique_ptr<TlsConnector> tls;
    const SaslCrypto* crypto = nullptr;
  };
  RelayRoom(RoomContext context, Parts parts);
  ~RelayRoom() override;

  void OnDoor(const NewDoor& to, std::unique_ptr<Door> door) override;
  bool OnParentFrame(Frame& frame) override;
  void OnStop(absl::Duration grace) override;

 private:
  // RelayServices
  EventLoop* loop() override { return context_.loop; }
  const Config& config() override { return *context_.config; }
  Resolver* resolver() override { return parts_.resolver.get(); }
  Dialer* dialer() override { return parts_.dialer.get(); }
  TlsConnector* tls() override { return parts_.tls.get(); }
  SecretQuestions* secrets() override { return &secrets_; }
  FailureMemory* failures() override { return &failures_; }
  FilterReports* filter_reports() override { return &filter_reports_; }
  const SaslCrypto* crypto() override { return parts_.crypto; }
  SessionId NewSessionId() override;
  uint64_t AskSlot(SlotRequest request,
                   absl::AnyInvocable<void(const SlotAnswer&)> done) override {
    return questions_.AskSlot(std::move(request), std::move(done));
  }
  void CancelSlot(uint64_t question) override {
    questions_.CancelSlot(question);
  }
  uint64_t AskBody(BodyRequest request,
                   absl::AnyInvocable<void(BodyPart)> done) override {
    return questions_.AskBody(std::move(request), std::move(done));
  }
  void CancelBody(uint64_t question) override {
    questions_.CancelBody(question);
  }
  void ReportSlot(const Route& route, SlotReport::Event event) override {
    questions_.Report({route.slot, event, *route.host_name});
  }
  void Decide(BatchWork* work, size_t message, size_t recipient,
              const RelayVia& via, WorkerOutcome outcome) override {
    batches_.Decide(work, message, recipient, via, std::move(outcome));
  }

  // RouteSearch::Owner
  void OnConnected(RouteSearch* search, Route route,
                   std::unique_ptr<Stream> stream) override;
  void OnUnreachable(RouteSearch* search, const std::string& failure) override;
  void OnHopeless(RouteSearch* search, const WorkerOutcome& outcome) override;

  // RelaySession::Owner
  void OnGreeted(RelaySession* session) override;
  void OnIdle(RelaySession* session) override;
  void OnRest(std::shared_ptr<BatchWork> work) override;
  void OnOver(RelaySession* session, RelaySession::End end,
              const std::string& error) override;

  // From queue.
  void OnQueueFrame(Frame& frame);
  void On(RelayBatch& batch);
  void On(const BatchClaimed& claimed);
  void On(const OutcomesRecorded& recorded);
  void On(BodyPart& part) { questions_.On(part); }
  void On(const SlotAnswer& answer) { questions_.On(answer); }
  void OnQueueClosed();

  void CheckLoops(std::shared_ptr<BatchWork> work);
  void EndChecks();
  void Assign(std::shared_ptr<BatchWork> work);
  void ConnectInAdvance(const BatchWork& work, const std::string& key);
  void Begin(std::shared_ptr<RouteSearch> search);
  std::shared_ptr<RouteSearch> EndSearch(RouteSearch* search);
  void CancelSearches();
  void DrainSessions();
  void Bury(std::shared_ptr<void> body);
  void EndGrace();
  void ExitIfDone();

  RoomContext context_;
  const Parts parts_;
  SecretQuestions secrets_;
  FailureMemory failures_;
  FilterReports filter_reports_;
  QueueQuestions questions_;
  ReverseServer reverse_;
  BatchList batches_;

  std::unique_ptr<Door> queue_;  // null: there is none now

  // Of batches for LMTP servers, before they are assigned.
  std::map<LmtpLoopCheck*, std::shared_ptr<LmtpLoopCheck>> checks_;
  SearchList searches_;
  SessionList sessions_;
  std::map<RelaySession*, RouteSearch*> greeting_;

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
