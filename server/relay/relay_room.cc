#include "server/relay/relay_room.h"

#include <algorithm>
#include <utility>

#include "absl/random/random.h"
#include "protocol/wire.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

// Of the grace to stop in, what is kept for the queue to record outcomes.
constexpr absl::Duration kLastWords = absl::Seconds(1);

const Action* FindAction(const Config& config, const std::string& name) {
  const auto it = config.actions.find(name);
  return it == config.actions.end() ? nullptr : &it->second;
}

}  // namespace

RelayRoom::RelayRoom(RoomContext context, std::unique_ptr<Resolver> resolver,
                     std::unique_ptr<Dialer> dialer)
    : context_(std::move(context)),
      resolver_(std::move(resolver)),
      dialer_(std::move(dialer)),
      book_(context_.loop) {}

RelayRoom::~RelayRoom() {
  // These speak to us while they go.
  searches_.clear();
  sessions_.clear();
  graveyard_.clear();
}

// ---- doors

void RelayRoom::OnDoor(const NewDoor& to, std::unique_ptr<Door> door) {
  if (to.peer == Room::kQueue) {
    // The old queue is dead, even if its door has not closed yet.
    if (queue_ != nullptr) OnQueueClosed();
    queue_ = std::move(door);
    queue_->SetCallbacks([this](Frame& frame) { OnQueueFrame(frame); },
                         [this](absl::Status) { OnQueueClosed(); });
    book_.SetDoor(queue_.get());
    return;
  }
  if (to.peer != Room::kReceive) return;
  const uint32_t number = to.number;
  std::shared_ptr<Door>& place = receive_[number];
  if (place != nullptr) Bury(std::move(place));
  place = std::move(door);
  const auto gone = [this, number] {
    const auto it = receive_.find(number);
    if (it == receive_.end()) return;
    Bury(std::move(it->second));
    receive_.erase(it);
  };
  place->SetCallbacks(
      [this, number](Frame& frame) { OnReceiveFrame(number, frame); },
      [gone](absl::Status) { gone(); });
}

bool RelayRoom::OnParentFrame(Frame& frame) {
  return Dispatch<ResolverFiles>(frame, [this](const ResolverFiles& files) {
    resolver_->SetFiles(ParseResolvConf(files.resolv_conf),
                        HostsFile(files.hosts));
  });
}

void RelayRoom::OnReceiveFrame(uint32_t number, Frame& frame) {
  const std::shared_ptr<Door> door = receive_[number];
  const bool known = Dispatch<ReverseRequest>(frame, [&](auto& request) {
    const std::optional<IpAddress> address = IpAddress::Parse(request.address);
    if (!address) {
      ReverseAnswer answer;
      answer.question = request.question;
      return door->Send(answer);
    }
    resolver_->FindName(*address, [weak = std::weak_ptr<Door>(door),
                                   question = request.question](HostName name) {
      const std::shared_ptr<Door> door = weak.lock();
      if (door == nullptr) return;
      using Confirmed = ReverseAnswer::Confirmed;
      ReverseAnswer answer;
      answer.question = question;
      answer.name = std::move(name.name);
      switch (name.confirmed) {
        case HostName::Confirmed::kPass:
          answer.fcrdns = Confirmed::kPass;
          break;
        case HostName::Confirmed::kFail:
          answer.fcrdns = Confirmed::kFail;
          break;
        case HostName::Confirmed::kError:
          answer.fcrdns = Confirmed::kError;
          break;
      }
      door->Send(answer);
    });
  });
  if (known) return;
  LogWarn("warn: relay: receive says what is not understood");
  Bury(std::move(receive_[number]));
  receive_.erase(number);
}

void RelayRoom::OnQueueFrame(Frame& frame) {
  if (Dispatch<RelayBatch, BatchClaimed, OutcomesRecorded, BodyPart,
               SlotAnswer>(frame, [this](auto& message) { On(message); }))
    return;
  LogWarn("warn: relay: queue says what is not understood");
  OnQueueClosed();
}

// What has not passed its final dot is given up, the rest is brought to an end,
// and all outcomes are kept for the next queue.
void RelayRoom::OnQueueClosed() {
  if (queue_ == nullptr) return;
  book_.SetDoor(nullptr);
  Bury(std::move(queue_));
  slots_asked_.clear();
  bodies_asked_.clear();
  for (auto& [session, owned] : sessions_) session->ForgetSlot();
  CancelSearches();
  const auto batches = batches_;
  for (const auto& [id, work] : batches) {
    RelaySession* session = SessionOf(work.get());
    if (!work->claimed)
      ForgetWork(work.get());
    else if (session != nullptr && session->passed_dot())
      StopWork(work.get(), session->message());
    else
      StopWork(work.get(), kKeepNone);
    if (session != nullptr && !session->passed_dot()) session->Abandon();
  }
  std::vector<RelaySession*> sessions;
  for (auto& [session, owned] : sessions_) sessions.push_back(session);
  for (RelaySession* session : sessions) session->Drain();
  ExitIfDone();
}

// ---- from queue

void RelayRoom::On(RelayBatch& batch) {
  const BatchId id = batch.batch;
  if (batches_.count(id) > 0) return;
  auto work = std::make_shared<BatchWork>(std::move(batch));
  batches_[id] = work;
  book_.Begin(id);
  if (work->undecided == 0) return StopWork(work.get(), kKeepNone);
  if (stopping_) return StopWork(work.get(), kKeepNone);
  Assign(std::move(work));
}

void RelayRoom::On(const BatchClaimed& claimed) {
  if (claimed.ok) book_.Claimed(claimed.batch);
  const auto it = batches_.find(claimed.batch);
  if (it == batches_.end()) {
    if (!claimed.ok) book_.Forget(claimed.batch);
    return;
  }
  const std::shared_ptr<BatchWork> work = it->second;
  RelaySession* session = SessionOf(work.get());
  if (claimed.ok) {
    work->claimed = true;
    if (session != nullptr) session->OnClaimed();
    return;
  }
  for (auto& [search, owned] : searches_) {
    if (search->work() != work) continue;
    // A session that is being greeted for it goes on without work.
    std::erase_if(greeting_, [s = search](const auto& entry) {
      return entry.second == s;
    });
    EndSearch(search);
    break;
  }
  ForgetWork(work.get());
  if (session != nullptr) session->Abandon();
  ExitIfDone();
}

void RelayRoom::On(const OutcomesRecorded& recorded) {
  book_.Recorded(recorded.batch, recorded.sequence);
  ExitIfDone();
}

void RelayRoom::On(BodyPart& part) {
  auto asked = bodies_asked_.extract(part.question);
  if (!asked.empty()) asked.mapped()(std::move(part));
}

void RelayRoom::On(const SlotAnswer& answer) {
  auto asked = slots_asked_.extract(answer.question);
  if (!asked.empty()) return asked.mapped()(answer);
  if (answer.result == SlotAnswer::Result::kGranted)
    ReportSlot(answer.slot, SlotReport::Event::kClosed);
}

// ---- services

SessionId RelayRoom::NewSessionId() {
  return SessionId(absl::Uniform<uint64_t>(absl::IntervalClosed,
                                           context_.random, 1, UINT64_MAX));
}

uint64_t RelayRoom::AskSlot(SlotRequest request,
                            absl::AnyInvocable<void(const SlotAnswer&)> done) {
  request.question = next_question_++;
  slots_asked_[request.question] = std::move(done);
  if (queue_ != nullptr) queue_->Send(request);
  return request.question;
}

void RelayRoom::CancelSlot(uint64_t question) { slots_asked_.erase(question); }

uint64_t RelayRoom::AskBody(BodyRequest request,
                            absl::AnyInvocable<void(BodyPart)> done) {
  request.question = next_question_++;
  bodies_asked_[request.question] = std::move(done);
  if (queue_ != nullptr) queue_->Send(request);
  return request.question;
}

void RelayRoom::CancelBody(uint64_t question) { bodies_asked_.erase(question); }

void RelayRoom::ReportSlot(uint64_t slot, SlotReport::Event event) {
  if (slot == 0 || queue_ == nullptr) return;
  queue_->Send(SlotReport{slot, event});
}

void RelayRoom::Decide(BatchWork* work, size_t message, size_t recipient,
                       const RelayVia& via, WorkerOutcome outcome) {
  if (work->decided[message][recipient]) return;
  work->decided[message][recipient] = true;
  const BatchId id = work->batch.batch;
  book_.Add(id, via, std::move(outcome));
  if (--work->undecided > 0) return;
  book_.Finish(id, "");
  batches_.erase(id);
}

// ---- work

void RelayRoom::Assign(std::shared_ptr<BatchWork> work) {
  if (RelaySession* session = TakeIdle(work->batch.target))
    return session->Run(std::move(work));
  const Action* action = FindAction(config(), work->batch.target.action);
  RelayServices* services = this;
  RouteSearch::Owner* owner = this;
  auto search = std::make_shared<RouteSearch>(services, owner, work, action);
  searches_[search.get()] = search;
  search->Start();
}

RelaySession* RelayRoom::TakeIdle(const RelayTarget& target) {
  const auto it = idle_.find(Encode(target));
  while (it != idle_.end() && !it->second.empty()) {
    RelaySession* session = it->second.back();
    it->second.pop_back();
    if (session->idle()) return session;
  }
  return nullptr;
}

RelaySession* RelayRoom::SessionOf(const BatchWork* work) {
  for (auto& [session, owned] : sessions_)
    if (session->work() == work) return session;
  return nullptr;
}

std::shared_ptr<RouteSearch> RelayRoom::EndSearch(RouteSearch* search) {
  auto node = searches_.extract(search);
  if (node.empty()) return nullptr;
  search->Cancel();
  Bury(node.mapped());
  return node.mapped();
}

// All searches end, and with them the sessions that were not greeted.
void RelayRoom::CancelSearches() {
  std::vector<std::shared_ptr<RouteSearch>> searches;
  for (auto& [search, owned] : searches_) searches.push_back(owned);
  std::vector<RelaySession*> sessions;
  for (auto& [session, search] : greeting_) sessions.push_back(session);
  greeting_.clear();
  for (auto& search : searches) {
    EndSearch(search.get());
    if (search->work()->claimed || queue_ != nullptr)
      StopWork(search->work().get(), kKeepNone);
  }
  for (RelaySession* session : sessions) session->Abandon();
}

void RelayRoom::StopWork(BatchWork* work, size_t keep,
                         const std::string& failure) {
  work->stopped = true;
  WorkerOutcome outcome;
  outcome.result = WorkerOutcome::Result::kReturned;
  DecideAll(work, keep, outcome, failure);
}

void RelayRoom::DecideAll(BatchWork* work, size_t keep,
                          const WorkerOutcome& outcome,
                          const std::string& failure) {
  const auto found = batches_.find(work->batch.batch);
  if (found == batches_.end()) return;
  const std::shared_ptr<BatchWork> held = found->second;
  RelayVia via;
  via.relay = TargetDomain(work->batch.target);
  for (size_t m = 0; m < work->batch.messages.size(); ++m) {
    if (m == keep) continue;
    const BatchMessage& message = work->batch.messages[m];
    for (size_t r = 0; r < message.recipients.size(); ++r) {
      if (work->decided[m][r]) continue;
      work->decided[m][r] = true;
      --work->undecided;
      WorkerOutcome one = outcome;
      one.envelope = message.recipients[r].envelope;
      book_.Add(work->batch.batch, via, std::move(one));
    }
  }
  if (work->undecided > 0) return;
  book_.Finish(work->batch.batch, failure);
  batches_.erase(work->batch.batch);
}

void RelayRoom::ForgetWork(BatchWork* work) {
  work->stopped = true;
  book_.Forget(work->batch.batch);
  batches_.erase(work->batch.batch);
}

// ---- searches

void RelayRoom::OnConnected(RouteSearch* search, Route route,
                            std::unique_ptr<Stream> stream) {
  const Action* action = FindAction(config(), route.target.action);
  std::string helo = config().server_name;
  if (action != nullptr && !action->helo.empty()) helo = action->helo;
  const MtaLimits& limits = config().LimitsFor(TargetDomain(route.target));
  RelayServices* services = this;
  RelaySession::Owner* owner = this;
  auto session =
      std::make_unique<RelaySession>(services, owner, std::move(route), limits,
                                     std::move(helo), std::move(stream));
  greeting_[session.get()] = search;
  RelaySession* key = session.get();
  sessions_[key] = std::move(session);
}

void RelayRoom::OnUnreachable(RouteSearch* search, const std::string& failure) {
  const std::shared_ptr<RouteSearch> ended = EndSearch(search);
  if (!search->work()->stopped)
    StopWork(search->work().get(), kKeepNone, failure);
  ExitIfDone();
}

void RelayRoom::OnHopeless(RouteSearch* search, const WorkerOutcome& outcome) {
  const std::shared_ptr<RouteSearch> ended = EndSearch(search);
  search->work()->stopped = true;
  DecideAll(search->work().get(), kKeepNone, outcome, "");
  ExitIfDone();
}

// ---- sessions

void RelayRoom::OnGreeted(RelaySession* session) {
  ReportSlot(session->route().slot, SlotReport::Event::kReady);
  const auto it = greeting_.find(session);
  if (it == greeting_.end()) return;
  const std::shared_ptr<RouteSearch> search = EndSearch(it->second);
  greeting_.erase(it);
  if (search != nullptr && !search->work()->stopped)
    session->Run(search->work());
}

void RelayRoom::OnIdle(RelaySession* session) {
  if (stopping_ || queue_ == nullptr) return session->Drain();
  const RelayTarget& target = session->route().target;
  for (auto& [search, owned] : searches_) {
    if (!search->CanYield() || search->work()->batch.target != target) continue;
    const std::shared_ptr<BatchWork> work = search->work();
    EndSearch(search);
    return session->Run(work);
  }
  idle_[Encode(target)].push_back(session);
}

void RelayRoom::OnRest(std::shared_ptr<BatchWork> work) {
  if (!work->stopped && !work->HasNext()) return;
  // Of its last message, too, some may not have been begun.
  if (work->stopped || stopping_ || queue_ == nullptr)
    return StopWork(work.get(), kKeepNone);
  Assign(std::move(work));
}

void RelayRoom::OnOver(RelaySession* session, const std::string&) {
  const auto idle = idle_.find(Encode(session->route().target));
  if (idle != idle_.end()) {
    std::erase(idle->second, session);
    if (idle->second.empty()) idle_.erase(idle);
  }
  auto node = sessions_.extract(session);
  if (!node.empty())
    Bury(std::shared_ptr<RelaySession>(std::move(node.mapped())));
  const auto it = greeting_.find(session);
  if (it != greeting_.end()) {
    RouteSearch* search = it->second;
    greeting_.erase(it);
    search->HostFailed();
  }
  ExitIfDone();
}

void RelayRoom::Bury(std::shared_ptr<void> body) {
  graveyard_.push_back(std::move(body));
  if (graveyard_.size() > 1) return;
  gravedigger_ = loop()->RunAfter(absl::ZeroDuration(), [this] {
    const auto buried = std::exchange(graveyard_, {});
  });
}

// ---- the end

void RelayRoom::OnStop(absl::Duration grace) {
  if (std::exchange(stopping_, true)) return;
  grace_ = loop()->RunAfter(std::max(grace - kLastWords, grace / 2),
                            [this] { EndGrace(); });
  CancelSearches();
  const auto batches = batches_;
  for (const auto& [id, work] : batches) {
    const RelaySession* session = SessionOf(work.get());
    StopWork(work.get(), session != nullptr ? session->message() : kKeepNone);
  }
  std::vector<RelaySession*> sessions;
  for (auto& [session, owned] : sessions_) sessions.push_back(session);
  for (RelaySession* session : sessions) session->Drain();
  ExitIfDone();
}

void RelayRoom::EndGrace() {
  const auto batches = batches_;
  for (const auto& [id, work] : batches) {
    RelaySession* session = SessionOf(work.get());
    WorkerOutcome outcome;
    outcome.result = WorkerOutcome::Result::kReturned;
    if (session != nullptr && session->passed_dot()) {
      outcome.result = WorkerOutcome::Result::kTempFail;
      outcome.status = {4, 0};
      outcome.text = "Connection closed unexpectedly";
    }
    DecideAll(work.get(), kKeepNone, outcome, "");
  }
  // With or without the queue's answer.
  grace_ = loop()->RunAfter(kLastWords / 2, [this] { context_.exit(0); });
}

void RelayRoom::ExitIfDone() {
  if (!stopping_ || !sessions_.empty() || !searches_.empty()) return;
  if (queue_ != nullptr && !book_.empty()) return;
  // After what was said in this turn has left.
  grace_ = loop()->RunAfter(absl::ZeroDuration(), [this] { context_.exit(0); });
}

absl::StatusOr<std::unique_ptr<RoomHandler>> MakeRelayRoom(
    RoomContext context) {
  ResolverOptions options;
  options.conf = ParseResolvConf(context.start->resolv_conf);
  options.hosts = HostsFile(context.start->hosts);
  for (const std::string& text : context.start->local_addresses)
    if (const std::optional<IpAddress> own = IpAddress::Parse(text))
      options.own.push_back(*own);
  auto resolver = MakeDnsResolver(
      context.loop, std::move(options),
      [loop = context.loop, random = context.random](const ResolvConf& conf) {
        return MakeCaresTransport(loop, conf, random);
      });
  auto dialer = MakeDialer(context.loop);
  return std::make_unique<RelayRoom>(std::move(context), std::move(resolver),
                                     std::move(dialer));
}

}  // namespace holdfast
