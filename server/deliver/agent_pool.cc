#include "server/deliver/agent_pool.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/random/distributions.h"

namespace holdfast {

void AgentPool::Schedule() {
  if (match_ != nullptr) return;
  match_ = loop_->RunAfter(absl::ZeroDuration(), [this] {
    match_.reset();
    Match();
  });
}

void AgentPool::Acquire(const AgentKey& key, AgentUser* user) {
  waiting_.push_back({key, user});
  Schedule();
}

void AgentPool::Forget(AgentUser* user) {
  waiting_.erase(
      std::remove_if(waiting_.begin(), waiting_.end(),
                     [user](const Waiting& w) { return w.user == user; }),
      waiting_.end());
}

AgentPool::Agent* AgentPool::AgentOf(AgentUser* user) {
  for (auto& [request, agent] : agents_) {
    if (agent->user == user) return agent.get();
  }
  return nullptr;
}

SessionId AgentPool::SessionOf(const AgentKey& key) {
  auto [it, added] = sessions_.try_emplace(key);
  if (added) it->second = SessionId(absl::Uniform<uint64_t>(random_));
  return it->second;
}

void AgentPool::DropSession(const AgentKey& key) {
  for (const auto& [request, agent] : agents_) {
    if (!(agent->key < key) && !(key < agent->key)) return;
  }
  sessions_.erase(key);
}

AgentPool::Owner AgentPool::OwnerOf(const AgentKey& key) {
  return {key.run_as, key.mailbox_user.empty() ? key.run_as : key.mailbox_user};
}

AgentPool::Census AgentPool::Count() {
  Census census;
  for (auto& [request, agent] : agents_) {
    for (Room* room : {&census.all, &census.of_owner[OwnerOf(agent->key)]}) {
      ++room->taken;
      if (agent->leaving) ++room->leaving;
    }
    if (agent->leaving) continue;
    if (agent->number == 0)
      ++census.coming[agent->key];
    else if (agent->user == nullptr)
      census.idle[agent->key].push_back(agent.get());
  }
  for (const Waiting& one : waiting_) census.wanted.insert(one.key);
  return census;
}

// In the order in which they came, but that an agent may serve those of its key
// for some turns before it makes room: whoever keeps his agents busy does not
// hold up who came before for long.
void AgentPool::Match() {
  Census census = Count();
  std::deque<Waiting> still;
  std::deque<Waiting> waiting = std::move(waiting_);
  waiting_.clear();
  for (Waiting& one : waiting) {
    auto idle = census.idle.find(one.key);
    if (idle != census.idle.end()) {
      Agent* agent = idle->second.back();
      idle->second.pop_back();
      if (idle->second.empty()) census.idle.erase(idle);
      Give(agent, one.user);
      continue;
    }
    size_t& coming = census.coming[one.key];
    if (coming > 0)
      --coming;
    else
      Ask(one.key, &census);
    still.push_back(std::move(one));
  }
  // Those whom a callback made wait come behind.
  still.insert(still.end(), waiting_.begin(), waiting_.end());
  waiting_ = std::move(still);
}

void AgentPool::Ask(const AgentKey& key, Census* census) {
  const Owner owner = OwnerOf(key);
  Room& own = census->of_owner[owner];
  if (own.taken >= std::min(max_per_user_, kMaxAgentsPerUser))
    return MakeRoom(&own, &owner, census);
  if (census->all.taken >= max_agents_)
    return MakeRoom(&census->all, nullptr, census);
  ++own.taken;
  ++census->all.taken;
  auto agent = std::make_unique<Agent>();
  agent->key = key;
  AgentRequest request;
  request.request = next_request_++;
  request.user = key.run_as;
  request.mbox = key.mbox;
  request.action = key.action;
  request.commands = key.commands;
  request.mailbox_user = key.mailbox_user;
  agents_.emplace(request.request, std::move(agent));
  parent_->Send(request);
}

void AgentPool::MakeRoom(Room* room, const Owner* owner, Census* census) {
  // Retired ones count until they have ended; one is on its way out for us.
  if (room->leaving > 0) {
    --room->leaving;
    return;
  }
  auto victim = census->idle.end();
  for (auto it = census->idle.begin(); it != census->idle.end(); ++it) {
    if (owner != nullptr && OwnerOf(it->first) != *owner) continue;
    if (census->wanted.count(it->first) == 0) {  // nobody misses it
      victim = it;
      break;
    }
    if (it->second.back()->turns >= kMaxAgentTurns) victim = it;
  }
  if (victim == census->idle.end()) return;
  Retire(victim->second.back());
  victim->second.pop_back();
  if (victim->second.empty()) census->idle.erase(victim);
}

void AgentPool::Give(Agent* agent, AgentUser* user) {
  agent->idle.reset();
  agent->user = user;
  ++agent->turns;
  user->OnAgent(agent->door.get(), agent->home, SessionOf(agent->key));
}

void AgentPool::Retire(Agent* agent) {
  agent->leaving = true;
  agent->idle.reset();
  agent->door.reset();  // it ends when its door closes
}

void AgentPool::Release(AgentUser* user) {
  Agent* agent = AgentOf(user);
  if (agent == nullptr) return;
  agent->user = nullptr;
  if (!agent->leaving) {
    agent->idle = loop_->RunAfter(kAgentIdle, [this, agent] { Retire(agent); });
  }
  Schedule();
}

void AgentPool::Abandon(AgentUser* user) {
  if (Agent* agent = AgentOf(user)) Retire(agent);
}

void AgentPool::Kill(AgentUser* user) {
  Agent* agent = AgentOf(user);
  if (agent == nullptr) return;
  AgentKill kill;
  kill.agent = agent->number;
  parent_->Send(kill);
}

void AgentPool::OnReady(const AgentReady& ready, OwnedFd fd) {
  auto it = agents_.find(ready.request);
  if (it == agents_.end() || it->second->number != 0) return;
  if (!ready.ok || !fd || ready.agent == 0) {
    const AgentKey key = it->second->key;
    const SessionId session = SessionOf(key);
    agents_.erase(it);
    DropSession(key);
    // Whoever waits for such an agent hears why there is none.
    std::vector<AgentUser*> refused;
    for (const Waiting& one : waiting_) {
      if (!(one.key < key) && !(key < one.key)) refused.push_back(one.user);
    }
    for (AgentUser* user : refused) Forget(user);
    for (AgentUser* user : refused)
      user->OnRefused(ready.permanent, ready.error, session);
    Schedule();
    return;
  }
  Agent* agent = it->second.get();
  agent->number = ready.agent;
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
      [agent](absl::Status) { agent->leaving = true; });
  agent->idle = loop_->RunAfter(kAgentIdle, [this, agent] { Retire(agent); });
  Schedule();
}

void AgentPool::OnEnded(const AgentEnded& ended) {
  for (auto it = agents_.begin(); it != agents_.end(); ++it) {
    if (it->second->number == 0 || it->second->number != ended.agent) continue;
    std::unique_ptr<Agent> agent = std::move(it->second);
    agents_.erase(it);
    DropSession(agent->key);
    AgentUser* user = agent->user;
    agent.reset();
    Schedule();
    if (user != nullptr) user->OnEnded(ended.how);
    return;
  }
}

}  // namespace holdfast
