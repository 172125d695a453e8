#include "server/relay/relay_room.h"

#include <algorithm>
#include <utility>

#include "absl/random/random.h"
#include "server/log/log.h"
#include "server/relay/lmtp_delivery.h"

namespace holdfast {
namespace {

// Of the grace to stop in, what is kept for the queue to record outcomes.
constexpr absl::Duration kLastWords = absl::Seconds(1);

const Action* FindAction(const Config& config, const std::string& name) {
  const auto it = config.actions.find(name);
  return it == config.actions.end() ? nullptr : &it->second;
}

}  // namespace

RelayRoom::RelayRoom(RoomContext context, Parts parts)
    : context_(std::move(context)),
      parts_(std::move(parts)),
      secrets_(context_.loop),
      filter_reports_(context_.loop, [this] { context_.exit(1); }),
      reverse_(context_.loop, parts_.resolver.get()),
      batches_(context_.loop) {}

RelayRoom::~RelayRoom() {
  // These speak to us while they go.
  checks_.clear();
  searches_.Clear();
  sessions_.Clear();
  graveyard_.clear();
}

// ---- doors

void RelayRoom::OnDoor(const NewDoor& to, std::unique_ptr<Door> door) {
  switch (to.peer) {
    case Room::kQueue:
      // The old queue is dead, even if its door has not closed yet.
      OnQueueClosed();
      queue_ = std::move(door);
      queue_->SetCallbacks([this](Frame& frame) { OnQueueFrame(frame); },
                           // The old one may say so when there is a new one.
                           [this, raw = queue_.get()](absl::Status) {
                             if (queue_.get() == raw) OnQueueClosed();
                           });
      questions_.SetDoor(queue_.get());
      return batches_.SetDoor(queue_.get());
    case Room::kReceive:
      return reverse_.AddDoor(to.number, std::move(door));
    case Room::kLookup:
      return secrets_.SetDoor(std::move(door));
    case Room::kFilters:
      return filter_reports_.SetDoor(std::move(door));
    case Room::kKeys:
      return tls()->SetKeysDoor(std::move(door));
    default:
      return;
  }
}

bool RelayRoom::OnParentFrame(Frame& frame) {
  if (dialer()->OnParentFrame(frame)) return true;
  return Dispatch<ResolverFiles>(frame, [this](const ResolverFiles& files) {
    resolver()->SetFiles(ParseResolvConf(files.resolv_conf),
                         HostsFile(files.hosts));
  });
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
  batches_.SetDoor(nullptr);
  questions_.SetDoor(nullptr);
  Bury(std::move(queue_));
  for (RelaySession* session : sessions_.all()) session->ForgetSlot();
  EndChecks();
  CancelSearches();
  for (const auto& [id, work] : batches_.all()) {
    RelaySession* session = work->session;
    if (!work->claimed)
      batches_.Forget(work.get());
    else if (session != nullptr && session->passed_dot())
      batches_.Return(work.get(), session->message());
    else
      batches_.Return(work.get());
    if (session != nullptr && !session->passed_dot()) session->Abandon();
  }
  DrainSessions();
  ExitIfDone();
}

// ---- from queue

void RelayRoom::On(RelayBatch& batch) {
  std::shared_ptr<BatchWork> work = batches_.Begin(std::move(batch));
  if (work == nullptr) return;
  if (work->undecided == 0 || stopping_) return batches_.Return(work.get());
  if (IsLmtpAction(work->batch.target)) return CheckLoops(std::move(work));
  Assign(std::move(work));
}

void RelayRoom::On(const BatchClaimed& claimed) {
  if (claimed.ok) batches_.Claimed(claimed.batch);
  const std::shared_ptr<BatchWork> work = batches_.Find(claimed.batch);
  if (work == nullptr) {
    if (!claimed.ok) batches_.Forget(claimed.batch);
    return;
  }
  RelaySession* session = work->session;
  if (claimed.ok) {
    work->claimed = true;
    if (session != nullptr) session->OnClaimed();
    return;
  }
  if (RouteSearch* search = searches_.Of(work.get())) {
    // A session that is being greeted for it goes on without work.
    std::erase_if(greeting_, [search](const auto& entry) {
      return entry.second == search;
    });
    EndSearch(search);
  }
  batches_.Forget(work.get());
  if (session != nullptr) session->Abandon();
  ExitIfDone();
}

void RelayRoom::On(const OutcomesRecorded& recorded) {
  batches_.Recorded(recorded.batch, recorded.sequence);
  ExitIfDone();
}

SessionId RelayRoom::NewSessionId() {
  return SessionId(absl::Uniform<uint64_t>(absl::IntervalClosed,
                                           context_.random, 1, UINT64_MAX));
}

// ---- work

void RelayRoom::CheckLoops(std::shared_ptr<BatchWork> work) {
  RelayServices* services = this;
  auto check = std::make_shared<LmtpLoopCheck>(
      services, std::move(work), [this](LmtpLoopCheck* done) {
        auto node = checks_.extract(done);
        if (node.empty()) return;
        Bury(std::move(node.mapped()));
        const std::shared_ptr<BatchWork>& work = done->work();
        if (!work->stopped && work->undecided > 0) Assign(work);
        ExitIfDone();
      });
  checks_[check.get()] = check;
  check->Start();
}

// Their batches are ended by who calls this.
void RelayRoom::EndChecks() {
  for (auto& [check, owned] : checks_) Bury(std::move(owned));
  checks_.clear();
}

void RelayRoom::Assign(std::shared_ptr<BatchWork> work) {
  const RelayTarget& target = work->batch.target;
  const Action* action = FindAction(config(), target.action);
  const std::string key = TargetKey(target, action);
  if (RelaySession* session = sessions_.TakeIdle(key)) {
    ConnectInAdvance(*work, key);
    return session->Run(std::move(work));
  }
  RelayServices* services = this;
  RouteSearch::Owner* owner = this;
  Begin(
      std::make_shared<RouteSearch>(services, owner, std::move(work), action));
}

// More waits where this goes: the next connection is made before its work is
// there.  Where it would have to wait for its turn it is not.
void RelayRoom::ConnectInAdvance(const BatchWork& work,
                                 const std::string& key) {
  if (work.batch.waiting == 0 || stopping_ || queue_ == nullptr) return;
  if (sessions_.HasIdle(key) || searches_.InAdvance(key)) return;
  RelayServices* services = this;
  RouteSearch::Owner* owner = this;
  Begin(std::make_shared<RouteSearch>(
      services, owner, work.batch.target, work.batch.destination,
      FindAction(config(), work.batch.target.action)));
}

void RelayRoom::Begin(std::shared_ptr<RouteSearch> search) {
  searches_.Add(search);
  search->Start();
}

std::shared_ptr<RouteSearch> RelayRoom::EndSearch(RouteSearch* search) {
  std::shared_ptr<RouteSearch> ended = searches_.End(search);
  if (ended != nullptr) Bury(ended);
  return ended;
}

// All searches end, and with them the sessions that were not greeted.
void RelayRoom::CancelSearches() {
  std::vector<RelaySession*> sessions;
  for (auto& [session, search] : greeting_) sessions.push_back(session);
  greeting_.clear();
  for (const std::shared_ptr<RouteSearch>& search : searches_.all()) {
    EndSearch(search.get());
    BatchWork* work = search->work().get();
    if (work != nullptr && (work->claimed || queue_ != nullptr))
      batches_.Return(work);
  }
  for (RelaySession* session : sessions) session->Abandon();
}

void RelayRoom::DrainSessions() {
  for (RelaySession* session : sessions_.all()) session->Drain();
}

// ---- searches

void RelayRoom::OnConnected(RouteSearch* search, Route route,
                            std::unique_ptr<Stream> stream) {
  const MtaLimits& limits = config().LimitsFor(TargetDomain(route.target));
  RelayServices* services = this;
  RelaySession::Owner* owner = this;
  auto session = std::make_unique<RelaySession>(
      services, owner, std::move(route), limits, std::move(stream));
  greeting_[session.get()] = search;
  sessions_.Add(std::move(session));
}

// The destination as a whole is to be tried later; that it was tried now is
// told with each of its envelopes.
void RelayRoom::OnUnreachable(RouteSearch* search, const std::string& failure) {
  const std::shared_ptr<RouteSearch> ended = EndSearch(search);
  BatchWork* work = search->work().get();
  if (work != nullptr && !work->stopped) {
    work->stopped = true;
    WorkerOutcome outcome;
    outcome.result = WorkerOutcome::Result::kReturned;
    outcome.began = search->began();
    outcome.took = search->took();
    batches_.DecideAll(work, BatchList::kKeepNone, outcome, failure);
  }
  ExitIfDone();
}

void RelayRoom::OnHopeless(RouteSearch* search, const WorkerOutcome& outcome) {
  const std::shared_ptr<RouteSearch> ended = EndSearch(search);
  if (BatchWork* work = search->work().get()) {
    work->stopped = true;
    WorkerOutcome one = outcome;
    one.began = search->began();
    one.took = search->took();
    batches_.DecideAll(work, BatchList::kKeepNone, one, "");
  }
  ExitIfDone();
}

// ---- sessions

void RelayRoom::OnGreeted(RelaySession* session) {
  ReportSlot(session->route(), SlotReport::Event::kReady);
  failures_.Forget(session->route().key);
  const auto it = greeting_.find(session);
  if (it == greeting_.end()) return;
  const std::shared_ptr<RouteSearch> search = EndSearch(it->second);
  greeting_.erase(it);
  if (search == nullptr || search->work() == nullptr || search->work()->stopped)
    return;
  ConnectInAdvance(*search->work(), session->route().key);
  session->Run(search->work());
}

void RelayRoom::OnIdle(RelaySession* session) {
  if (stopping_ || queue_ == nullptr) return session->Drain();
  if (RouteSearch* search = searches_.Yielding(session->route().key)) {
    const std::shared_ptr<BatchWork> work = search->work();
    EndSearch(search);
    return session->Run(work);
  }
  sessions_.AddIdle(session);
}

void RelayRoom::OnRest(std::shared_ptr<BatchWork> work) {
  if (!work->stopped && !work->HasNext()) return;
  // Of its last message, too, some may not have been begun.
  if (work->stopped || stopping_ || queue_ == nullptr)
    return batches_.Return(work.get());
  Assign(std::move(work));
}

void RelayRoom::OnOver(RelaySession* session, RelaySession::End end,
                       const std::string& error) {
  if (auto owned = sessions_.Remove(session)) Bury(std::move(owned));
  const auto it = greeting_.find(session);
  RouteSearch* const search = it == greeting_.end() ? nullptr : it->second;
  if (search != nullptr) greeting_.erase(it);
  if (search == nullptr) {
    // Nobody wants the way that it would have tried in clear.
    if (end == RelaySession::End::kTryInClear)
      ReportSlot(session->route(), SlotReport::Event::kClosed);
  } else if (end == RelaySession::End::kTryInClear) {
    search->RetryInClear(session->route().slot);
  } else if (end == RelaySession::End::kNoCredentials) {
    search->NoCredentials();
  } else {
    search->HostFailed(error);
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
  EndChecks();
  CancelSearches();
  for (const auto& [id, work] : batches_.all()) {
    const RelaySession* session = work->session;
    batches_.Return(work.get(), session != nullptr ? session->message()
                                                   : BatchList::kKeepNone);
  }
  DrainSessions();
  ExitIfDone();
}

void RelayRoom::EndGrace() {
  for (const auto& [id, work] : batches_.all()) {
    RelaySession* session = work->session;
    WorkerOutcome outcome;
    outcome.result = WorkerOutcome::Result::kReturned;
    if (session != nullptr && session->passed_dot()) {
      outcome.result = WorkerOutcome::Result::kTempFail;
      outcome.status = {4, 0};
      outcome.text = "Connection closed unexpectedly";
      session->StampAttempt(&outcome);
    }
    batches_.DecideAll(work.get(), BatchList::kKeepNone, outcome, "");
  }
  // With or without the queue's answer.
  grace_ = loop()->RunAfter(kLastWords / 2, [this] { context_.exit(0); });
}

void RelayRoom::ExitIfDone() {
  if (!stopping_ || !sessions_.empty() || !searches_.empty()) return;
  if (queue_ != nullptr && !batches_.settled()) return;
  // After what was said in this turn has left.
  grace_ = loop()->RunAfter(absl::ZeroDuration(), [this] { context_.exit(0); });
}

}  // namespace holdfast
