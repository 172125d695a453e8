// Starts delivery agents for `deliver`, each as its user, and tells it of their
// ends.
#ifndef HOLDFAST_SERVER_PARENT_AGENT_STARTER_H_
#define HOLDFAST_SERVER_PARENT_AGENT_STARTER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "config/table_answers.h"
#include "protocol/ids.h"
#include "server/agent/agent_arguments.h"
#include "server/door/door.h"
#include "server/door/parent_messages.h"
#include "server/loop/event_loop.h"
#include "server/parent/processes.h"
#include "server/parent/userbase_check.h"

namespace holdfast {

// The user database answers an agent in this time, or it is killed.
inline constexpr absl::Duration kAgentStartDeadline = absl::Seconds(30);
// One that nobody has any more ends in this time, or it is killed: its user may
// have stopped it.
inline constexpr absl::Duration kAgentEnd = absl::Seconds(30);
// However many `deliver` asks for: `mda limit max-session` of them, and those
// that it keeps for their users' next message.
inline constexpr size_t kMaxKeptAgents = 1000;

// Used on the loop's thread.
class AgentStarter {
 public:
  struct Options {
    std::string program;  // smtpd-agent
    bool privileged = false;
    std::string mail_dir = kDefaultMailDir;
    std::string helpers;  // folder of mail.maildir and mail.lmtp
    std::shared_ptr<const Config> config;  // for table userbases
    std::set<uint32_t> own_uids;           // as for MayBeNamed()
    // Of the program of a table: answers in a later turn.
    std::function<void(TableQuery, absl::AnyInvocable<void(TableResult)>)>
        ask_program;
  };

  // `on_last_ended`: a worker that has died has no agent left.
  AgentStarter(EventLoop* loop, Processes* processes, Options options,
               std::function<void(WorkerId)> on_last_ended)
      : loop_(loop),
        processes_(processes),
        options_(std::move(options)),
        on_last_ended_(std::move(on_last_ended)) {
    OwnGroups(options_.own_uids);  // asked of the user database now
  }

  // What `deliver`, this start of it, says.  Answers go through its door until
  // OnDeliverDied().
  void OnRequest(WorkerId worker, Door* door, const AgentRequest& request);
  void OnKill(WorkerId worker, const AgentKill& kill);
  // Returns whether agents of it live on: they end what they are at, but not
  // later than kAgentEnd after the limit of a step.
  bool OnDeliverDied(WorkerId worker);

 private:
  struct Agent {
    WorkerId worker{};
    uint64_t request = 0;
    pid_t pid = 0;
    Door* deliver = nullptr;  // null: it has died
    OwnedFd door;             // deliver's end, until it is handed over
    OwnedFd status;           // what the agent says at its beginning
    std::string said;
    std::unique_ptr<EventLoop::Watch> watch;
    absl::Duration step;  // a step takes no longer
    EventLoop::Timer deadline;
    bool answered = false;   // AgentReady was sent
    bool announced = false;  // with ok: AgentEnded is to follow
  };

  // A request that waits for the program of a userbase.
  struct Waiting {
    WorkerId worker{};
    Door* deliver = nullptr;
    AgentRequest request;
    TableAnswers answers;
  };

  void Begin(uint64_t number);
  size_t MaxAgents() const;
  void Refuse(Door* door, uint64_t request, bool permanent,
              const std::string& error);
  void Launch(WorkerId worker, Door* door, uint64_t request,
              const AgentArguments& arguments);
  void ReadStatus(uint64_t number, Agent* agent);
  void Answer(uint64_t number, Agent* agent);
  void KillAfter(absl::Duration delay, const char* why, Agent* agent);
  void OnExit(uint64_t number, int wait_status);

  EventLoop* const loop_;
  Processes* const processes_;
  const Options options_;
  const std::function<void(WorkerId)> on_last_ended_;
  uint64_t next_ = 1;
  std::map<uint64_t, std::unique_ptr<Agent>> agents_;
  std::map<uint64_t, std::unique_ptr<Waiting>> waiting_;
};

// How an agent for this request is to be called.  kInvalidArgument: a name
// can't be a user's; kNotFound: the action's userbase does not know the user;
// kUnavailable: what it says makes no sense, or is not allowed.  `helpers`:
// folder of mail.maildir and mail.lmtp.  If `answers` then misses one, the
// result counts for nothing.
absl::StatusOr<AgentArguments> ArgumentsFor(const AgentRequest& request,
                                            const Config& config,
                                            const std::string& helpers,
                                            const std::set<uint32_t>& own_uids,
                                            TableAnswers* answers);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_AGENT_STARTER_H_
