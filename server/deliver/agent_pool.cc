#include "server/deliver/agent_pool.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/random/distributions.h"
#include "absl/strings/match.h"
#include "server/agent/agent_arguments.h"

namespace holdfast {

void AgentPool::Schedule() {
  if (matching_ != Matching::kNo) {
    matching_ = Matching::kAgain;  // what it looked at before has changed
    return;
  }
  if (match_ != nullptr || waiting_.empty()) return;
  match_ = loop_->RunAfter(absl::ZeroDuration(), [this] {
    match_.reset();
    Match();
  });
}

AgentPool::Owner AgentPool::OwnerOf(const AgentKey& key) {
  return {key.run_as, key.mailbox_user.empty() ? key.run_as : key.mailbox_user};
}

AgentPool::Kinds::iterator AgentPool::KindOf(const AgentKey& key) {
  auto [it, added] = kinds_.try_emplace(key);
  if (added) it->second.session = SessionId(absl::Uniform<uint64_t>(random_));
  return it;
}

void AgentPool::DropIfUnused(Kinds::iterator kind) {
  if (kind->second.agents == 0 && kind->second.waiting == 0) kinds_.erase(kind);
}

void AgentPool::Acquire(const AgentKey& key, AgentUser* user) {
  const auto kind = KindOf(key);
  ++kind->second.waiting;
  waiting_.push_back({kind, user});
  Schedule();
}

void AgentPool::Forget(AgentUser* user) {
  const auto it =
      std::find_if(waiting_.begin(), waiting_.end(),
                   [user](const Waiting& w) { return w.user == user; });
  if (it == waiting_.end()) return;
  const auto kind = it->kind;
  waiting_.erase(it);
  --kind->second.waiting;
  DropIfUnused(kind);
}

AgentPool::Agent* AgentPool::AgentOf(AgentUser* user) {
  const auto it = by_user_.find(user);
  return it == by_user_.end() ? nullptr : it->second;
}

// ---- who gets one

// In the order in which they came, but that an agent may serve those of its key
// for some turns before it makes room: whoever keeps his agents busy does not
// hold up who came before for long.
void AgentPool::Match() {
  ++match_number_;
  matching_ = Matching::kYes;
  std::deque<Waiting> still;
  std::deque<Waiting> waiting = std::move(waiting_);
  waiting_.clear();
  for (Waiting& one : waiting) {
    Kind& kind = one.kind->second;
    if (!kind.idle.empty() && working_ < limits_.working) {
      --kind.waiting;
      Give(kind.idle.back(), one.user);
      continue;
    }
    size_t& promised = kind.promised.In(match_number_);
    if (promised < kind.coming)
      ++promised;
    else if (kind.idle.empty())
      Ask(one.kind);
    still.push_back(one);
  }
  // Those whom a callback made wait come behind.
  still.insert(still.end(), waiting_.begin(), waiting_.end());
  waiting_ = std::move(still);
  if (std::exchange(matching_, Matching::kNo) == Matching::kAgain) Schedule();
}

// A program or user database that is slow must not take all places from users
// whose agents are there, or are known elsewhere.
bool AgentPool::MayAsk(const AgentKey& key) const {
  const auto it = asking_.find(key.program);
  return it == asking_.end() || it->second < (limits_.working + 1) / 2;
}

void AgentPool::Ask(Kinds::iterator kind) {
  if (working_ >= limits_.working) return;  // one will be free
  if (!MayAsk(kind->first)) return;         // one will be answered
  const auto owner = owners_.try_emplace(OwnerOf(kind->first)).first;
  Room& own = owner->second;
  if (own.taken >= std::min(limits_.per_user, kMaxAgentsPerUser))
    return MakeRoom(&own, &own);
  if (all_.taken >= limits_.working + limits_.idle ||
      (full_ != nullptr && all_.taken >= room_)) {
    if (own.taken == 0) owners_.erase(owner);
    return MakeRoom(&all_, nullptr);
  }
  ++own.taken;
  ++all_.taken;
  ++working_;
  ++asking_[kind->first.program];
  ++kind->second.agents;
  ++kind->second.coming;
  // It is this user's who waits now.
  ++kind->second.promised.In(match_number_);
  auto agent = std::make_unique<Agent>();
  agent->request = next_request_++;
  agent->kind = kind;
  agent->owner = owner;
  const AgentKey& key = kind->first;
  AgentRequest request;
  request.request = agent->request;
  request.user = key.run_as;
  request.mbox = key.mbox;
  request.action = key.action;
  request.commands = key.commands;
  request.mailbox_user = key.mailbox_user;
  agents_.emplace(request.request, std::move(agent));
  parent_->Send(request);
}

void AgentPool::MakeRoom(Room* room, const Room* owner) {
  // Retired ones count until they have ended; one is on its way out for us.
  size_t& promised = room->promised.In(match_number_);
  if (promised < room->leaving) {
    ++promised;
    return;
  }
  if (room->idle == 0) return;
  Agent* victim = nullptr;
  for (Agent* agent : idle_) {
    if (owner != nullptr && &agent->owner->second != owner) continue;
    if (agent->kind->second.waiting == 0) {  // nobody misses it
      victim = agent;
      break;
    }
    if (agent->turns >= kMaxAgentTurns) victim = agent;
  }
  if (victim == nullptr) return;
  Retire(victim);
  // Its place is this one's, whatever was short.
  ++victim->owner->second.promised.In(match_number_);
  ++all_.promised.In(match_number_);
}

void AgentPool::Give(Agent* agent, AgentUser* user) {
  EndIdle(agent);
  agent->user = user;
  by_user_[user] = agent;
  ++working_;
  ++agent->turns;
  user->OnAgent(agent->door.get(), agent->home, agent->kind->second.session);
}

// ---- what becomes of them

void AgentPool::BeginIdle(Agent* agent) {
  const absl::Duration left = agent->ready + kAgentAge - loop_->Elapsed();
  if (left <= absl::ZeroDuration()) return Retire(agent);
  agent->is_idle = true;
  agent->kind->second.idle.push_back(agent);
  agent->place = idle_.insert(idle_.end(), agent);
  ++agent->owner->second.idle;
  ++all_.idle;
  agent->timer = loop_->RunAfter(std::min(kAgentIdle, left),
                                 [this, agent] { Retire(agent); });
}

void AgentPool::EndIdle(Agent* agent) {
  if (!std::exchange(agent->is_idle, false)) return;
  agent->timer.reset();
  std::erase(agent->kind->second.idle, agent);
  idle_.erase(agent->place);
  --agent->owner->second.idle;
  --all_.idle;
}

void AgentPool::MarkLeaving(Agent* agent) {
  EndIdle(agent);
  if (std::exchange(agent->leaving, true)) return;
  ++agent->owner->second.leaving;
  ++all_.leaving;
  agent->timer = loop_->RunAfter(kAgentLeave, [this, agent] { Kill(*agent); });
}

void AgentPool::Retire(Agent* agent) {
  MarkLeaving(agent);
  agent->door.reset();  // it ends when its door closes
}

void AgentPool::Release(AgentUser* user) {
  Agent* agent = AgentOf(user);
  if (agent == nullptr) return;
  by_user_.erase(user);
  agent->user = nullptr;
  --working_;
  if (!agent->leaving) BeginIdle(agent);
  Schedule();
}

void AgentPool::Abandon(AgentUser* user) {
  if (Agent* agent = AgentOf(user)) Retire(agent);
}

void AgentPool::Kill(AgentUser* user) {
  if (const Agent* agent = AgentOf(user)) Kill(*agent);
}

void AgentPool::Kill(const Agent& agent) {
  AgentKill kill;
  kill.agent = agent.number;
  parent_->Send(kill);
}

// Off all the books but its kind's, which the caller may still need.
std::unique_ptr<AgentPool::Agent> AgentPool::Take(Agent* agent) {
  EndIdle(agent);
  Room& own = agent->owner->second;
  for (Room* room : {&own, &all_}) {
    --room->taken;
    if (agent->leaving) --room->leaving;
  }
  if (own.taken == 0) owners_.erase(agent->owner);
  --agent->kind->second.agents;
  if (agent->number == 0) Arrive(agent->kind);
  if (agent->number == 0 || agent->user != nullptr) --working_;
  if (agent->user != nullptr) by_user_.erase(agent->user);
  by_number_.erase(agent->number);
  auto node = agents_.extract(agent->request);
  return std::move(node.mapped());
}

void AgentPool::Arrive(Kinds::iterator kind) {
  --kind->second.coming;
  const auto asking = asking_.find(kind->first.program);
  if (--asking->second == 0) asking_.erase(asking);
}

// The machine, or the cgroup we are in, has room for no more than there are.
// That may change, so it is tried again.
bool AgentPool::LearnRoom() {
  if (all_.idle == 0 && all_.leaving == 0) return false;
  room_ = all_.taken;
  full_ = loop_->RunAfter(kAgentsFull, [this] {
    full_.reset();
    Schedule();
  });
  Schedule();
  return true;
}

void AgentPool::OnReady(const AgentReady& ready, OwnedFd fd) {
  auto it = agents_.find(ready.request);
  if (it == agents_.end() || it->second->number != 0) return;
  Agent* const agent = it->second.get();
  if (!ready.ok || !fd || ready.agent == 0) {
    const auto kind = Take(agent)->kind;
    if (absl::StartsWith(ready.error, kNoAgentRoom) && LearnRoom())
      return DropIfUnused(kind);
    const SessionId session = kind->second.session;
    // Whoever waits for such an agent hears why there is none.
    std::vector<AgentUser*> refused;
    for (const Waiting& one : waiting_)
      if (one.kind == kind) refused.push_back(one.user);
    if (refused.empty()) DropIfUnused(kind);
    for (AgentUser* user : refused) Forget(user);
    for (AgentUser* user : refused)
      user->OnRefused(ready.permanent, ready.error, session);
    return Schedule();
  }
  agent->number = ready.agent;
  agent->ready = loop_->Elapsed();
  by_number_[agent->number] = agent;
  agent->home = ready.home;
  agent->door = MakeDoor(loop_, std::move(fd));
  agent->door->SetCallbacks(
      [this, agent](Frame& frame) {
        if (agent->user != nullptr)
          agent->user->OnAgentFrame(frame);
        else
          Retire(agent);  // it has nothing to say
      },
      // What that means is said by AgentEnded.
      [this, agent](absl::Status) { MarkLeaving(agent); });
  Arrive(agent->kind);
  --working_;
  BeginIdle(agent);
  Schedule();
}

void AgentPool::OnEnded(const AgentEnded& ended) {
  const auto it = by_number_.find(ended.agent);
  if (it == by_number_.end()) return;
  std::unique_ptr<Agent> agent = Take(it->second);
  DropIfUnused(agent->kind);
  AgentUser* const user = agent->user;
  agent.reset();
  Schedule();
  if (user != nullptr) user->OnEnded(ended.how);
}

}  // namespace holdfast
