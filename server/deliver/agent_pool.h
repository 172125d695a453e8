// The delivery agents that `deliver` has: asked of `parent`, one for each user
// (up to 4 in all if he gets a lot), given to one batch at a time, and kept for
// a while: to start one costs as much as to deliver a message.
#ifndef HOLDFAST_SERVER_DELIVER_AGENT_POOL_H_
#define HOLDFAST_SERVER_DELIVER_AGENT_POOL_H_

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/random/bit_gen_ref.h"
#include "absl/time/time.h"
#include "protocol/ids.h"
#include "server/door/door.h"
#include "server/door/parent_messages.h"
#include "server/loop/event_loop.h"

namespace holdfast {

inline constexpr absl::Duration kAgentIdle = absl::Seconds(10);
// What the user database said of its user when it was started is believed for
// so long: then it gets no more work, however busy it is.
inline constexpr absl::Duration kAgentAge = absl::Seconds(60);
// One that is to end and does not (its user may have stopped it) is killed.
inline constexpr absl::Duration kAgentLeave = absl::Seconds(10);
// So long parent is believed that no more agents fit than there were.
inline constexpr absl::Duration kAgentsFull = absl::Seconds(60);
inline constexpr size_t kMaxAgentsPerUser = 4;
// Idle ones that are kept beside those that work, whoever's they are: as many
// as take a sixteenth of the machine's memory, but no more than that.
inline constexpr size_t kMaxIdleAgents = 1000;
inline constexpr size_t kIdleAgentBytes = 200 << 10;  // with the kernel's share
// While others wait for a place, so many batches one after the other.
inline constexpr int kMaxAgentTurns = 16;

// What makes two agents interchangeable.
struct AgentKey {
  std::string run_as;
  bool mbox = false;
  std::string action;        // empty: users are the system's
  std::string mailbox_user;  // empty: nobody's home matters
  bool commands = false;     // runs commands; `action` is whose
  // The table whose program parent asks for the user; empty: none is asked.
  std::string program;  // follows from `action`

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
  struct Limits {
    size_t working = 0;   // or being started: those, half of it for each
                          // AgentKey::program
    size_t per_user = 0;  // in all
    size_t idle = kMaxIdleAgents;
  };
  AgentPool(EventLoop* loop, Door* parent, absl::BitGenRef random,
            Limits limits)
      : loop_(loop), parent_(parent), random_(random), limits_(limits) {}

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
  struct Agent;
  // How many of something are promised in one Match().
  struct Promised {
    uint64_t match = 0;
    size_t count = 0;
    size_t& In(uint64_t current) {
      if (std::exchange(match, current) != current) count = 0;
      return count;
    }
  };
  // What may not be more than so many.
  struct Room {
    size_t taken = 0;    // with those that leave
    size_t leaving = 0;  // of them
    size_t idle = 0;     // of them
    Promised promised;   // places of those that leave
  };
  // Agents that are interchangeable, and those who wait for one.
  struct Kind {
    SessionId session{};
    size_t agents = 0;
    size_t coming = 0;   // asked for, and nobody's yet
    size_t waiting = 0;  // users
    std::vector<Agent*> idle;
    Promised promised;  // of those that come
  };
  using Kinds = std::map<AgentKey, Kind>;
  // Whose agents are counted together, whatever they are for: the user, and
  // for whom he works (the `user` option).
  using Owner = std::pair<std::string, std::string>;
  using Owners = std::map<Owner, Room>;
  using IdleList = std::list<Agent*>;
  enum class Matching { kNo, kYes, kAgain };  // Match() runs; is called again

  struct Agent {
    uint64_t request = 0;
    uint64_t number = 0;  // parent's; 0: asked for
    Kinds::iterator kind;
    Owners::iterator owner;
    std::unique_ptr<Door> door;
    std::string home;
    AgentUser* user = nullptr;
    bool leaving = false;  // no more work for it
    bool is_idle = false;
    IdleList::iterator place;  // while it is idle
    int turns = 0;             // how many it has had
    absl::Duration ready;      // EventLoop::Elapsed()
    EventLoop::Timer timer;    // of an idle one, and of one that leaves
  };
  struct Waiting {
    Kinds::iterator kind;
    AgentUser* user;
  };

  static Owner OwnerOf(const AgentKey& key);
  Kinds::iterator KindOf(const AgentKey& key);
  void DropIfUnused(Kinds::iterator kind);
  void Schedule();
  // Gives idle agents to those who wait, and asks for more.
  void Match();
  // Asks for one, or sees to it that there will be room for it.
  void Ask(Kinds::iterator kind);
  // Among those of `owner`; null: among all.
  void MakeRoom(Room* room, const Room* owner);
  void Give(Agent* agent, AgentUser* user);
  void BeginIdle(Agent* agent);
  void EndIdle(Agent* agent);
  void MarkLeaving(Agent* agent);
  void Retire(Agent* agent);
  void Kill(const Agent& agent);
  bool MayAsk(const AgentKey& key) const;
  // One of those that come has come, or will not.
  void Arrive(Kinds::iterator kind);
  // Parent could not start one.  False: there is nobody who could make room.
  bool LearnRoom();
  std::unique_ptr<Agent> Take(Agent* agent);
  Agent* AgentOf(AgentUser* user);

  EventLoop* const loop_;
  Door* const parent_;
  absl::BitGenRef random_;
  const Limits limits_;
  uint64_t next_request_ = 1;
  Kinds kinds_;
  Owners owners_;
  Room all_;
  size_t working_ = 0;  // with those that come
  // Of those that come; by AgentKey::program.
  absl::flat_hash_map<std::string, size_t> asking_;
  Matching matching_ = Matching::kNo;
  IdleList idle_;  // the one that is idle for longest first
  uint64_t match_number_ = 0;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Agent>> agents_;  // by request
  absl::flat_hash_map<uint64_t, Agent*> by_number_;
  absl::flat_hash_map<AgentUser*, Agent*> by_user_;
  std::deque<Waiting> waiting_;
  EventLoop::Timer match_;
  // No more agents than this while `full_` runs.
  size_t room_ = 0;
  EventLoop::Timer full_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DELIVER_AGENT_POOL_H_
