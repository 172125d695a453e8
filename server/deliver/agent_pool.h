// The delivery agents that `deliver` has: asked of `parent`, one for each user
// (up to 4 in all if he gets a lot), kept for a while, given to one batch at a
// time.
#ifndef HOLDFAST_SERVER_DELIVER_AGENT_POOL_H_
#define HOLDFAST_SERVER_DELIVER_AGENT_POOL_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "absl/time/time.h"
#include "protocol/ids.h"
#include "server/door/door.h"
#include "server/door/parent_messages.h"
#include "server/loop/event_loop.h"

namespace holdfast {

inline constexpr absl::Duration kAgentIdle = absl::Seconds(10);
inline constexpr size_t kMaxAgentsPerUser = 4;
// While others wait for a place, so many batches one after the other.
inline constexpr int kMaxAgentTurns = 16;

// What makes two agents interchangeable.
struct AgentKey {
  std::string run_as;
  bool mbox = false;
  std::string action;        // empty: users are the system's
  std::string mailbox_user;  // empty: nobody's home matters
  bool commands = false;     // runs commands; `action` is whose

  friend bool operator<(const AgentKey& a, const AgentKey& b) {
    return std::tie(a.run_as, a.mbox, a.action, a.mailbox_user, a.commands) <
           std::tie(b.run_as, b.mbox, b.action, b.mailbox_user, b.commands);
  }
};

// Who uses an agent.  After OnRefused() and OnEnded() it has none.
class AgentUser {
 public:
  virtual ~AgentUser() = default;
  // Its own until AgentPool::Release().  `session` is the same for all agents
  // of a key; for log lines.
  virtual void OnAgent(Door* door, const std::string& home,
                       SessionId session) = 0;
  virtual void OnRefused(bool permanent, const std::string& error,
                         SessionId session) = 0;
  virtual void OnAgentFrame(Frame& frame) = 0;
  // The process has ended: nothing it was told to do goes on.
  virtual void OnEnded(const std::string& how) = 0;
};

// Used on the loop's thread.  Users are called in a later turn than the one in
// which they ask.
class AgentPool {
 public:
  AgentPool(EventLoop* loop, Door* parent, absl::BitGenRef random,
            size_t max_agents, size_t max_per_user)
      : loop_(loop),
        parent_(parent),
        random_(random),
        max_agents_(max_agents),
        max_per_user_(max_per_user) {}

  // `user` stays where it is until it is refused, released, ended or
  // forgotten.
  void Acquire(const AgentKey& key, AgentUser* user);
  // A user that has no agent yet wants none any more.
  void Forget(AgentUser* user);
  // The agent is free for others; it has no half-done work.
  void Release(AgentUser* user);
  // The agent is to drop what it does and end.  OnEnded() follows.
  void Abandon(AgentUser* user);
  // It does not even do that: parent kills it.  OnEnded() follows.
  void Kill(AgentUser* user);

  // From parent.  False: not understood.
  void OnReady(const AgentReady& ready, OwnedFd fd);
  void OnEnded(const AgentEnded& ended);

  size_t agents() const { return agents_.size(); }

 private:
  struct Agent {
    AgentKey key;
    uint64_t number = 0;  // parent's; 0: asked for
    std::unique_ptr<Door> door;
    std::string home;
    AgentUser* user = nullptr;
    bool leaving = false;  // no more work for it
    int turns = 0;         // how many it has had
    EventLoop::Timer idle;
  };
  using AgentMap = std::map<uint64_t, std::unique_ptr<Agent>>;  // by request
  struct Waiting {
    AgentKey key;
    AgentUser* user;
  };

  // Whose agents are counted together, whatever they are for: the user, and
  // for whom he works (the `user` option).
  using Owner = std::pair<std::string, std::string>;
  struct Room {
    size_t taken = 0;    // with those that leave
    size_t leaving = 0;  // of them, and nobody waits for that yet
  };
  // How things are when Match() begins; it keeps this up to date.
  struct Census {
    std::map<AgentKey, std::vector<Agent*>> idle;
    std::map<AgentKey, size_t> coming;  // asked for, and nobody's yet
    std::set<AgentKey> wanted;
    std::map<Owner, Room> of_owner;
    Room all;
  };

  static Owner OwnerOf(const AgentKey& key);
  Census Count();
  void Schedule();
  // Gives idle agents to those who wait, and asks for more.
  void Match();
  // Asks for one, or sees to it that there will be room for it.
  void Ask(const AgentKey& key, Census* census);
  // `owner`: among his; null: among all.
  void MakeRoom(Room* room, const Owner* owner, Census* census);
  void Give(Agent* agent, AgentUser* user);
  void Retire(Agent* agent);
  Agent* AgentOf(AgentUser* user);
  SessionId SessionOf(const AgentKey& key);
  void DropSession(const AgentKey& key);

  EventLoop* const loop_;
  Door* const parent_;
  absl::BitGenRef random_;
  const size_t max_agents_;
  const size_t max_per_user_;
  uint64_t next_request_ = 1;
  AgentMap agents_;
  std::deque<Waiting> waiting_;
  std::map<AgentKey, SessionId> sessions_;
  EventLoop::Timer match_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DELIVER_AGENT_POOL_H_
