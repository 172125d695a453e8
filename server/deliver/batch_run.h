// One batch on its way into mailboxes.
//
// Every recipient's copy goes to one agent, which writes them as they come;
// when all are there and the claim is durable, AgentCommit makes them one
// group.  Before that nothing is visible and the batch can be given up; after
// it the agent's answer decides, and if the agent ends without one, each
// delivery is in doubt.
#ifndef HOLDFAST_SERVER_DELIVER_BATCH_RUN_H_
#define HOLDFAST_SERVER_DELIVER_BATCH_RUN_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "server/deliver/agent_pool.h"
#include "server/deliver/body_source.h"
#include "server/door/worker_messages.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// What waits in the door to an agent; more is held back.
inline constexpr size_t kAgentBacklog = 256 << 10;
// An agent that makes no step for so long is killed; one that runs a command,
// so long after that command's time.  Its own alarm comes first
// (server/agent/agent_arguments.h).
inline constexpr absl::Duration kAgentStall = absl::Seconds(330);
inline constexpr absl::Duration kCommandStall = absl::Seconds(30);
// A header longer than this is not searched further for a loop.
inline constexpr size_t kMaxLoopHeader = 1 << 20;

// Used on the loop's thread.
class BatchRun : public AgentUser {
 public:
  struct Callbacks {
    // Called once, when nothing of the batch goes on any more.
    absl::AnyInvocable<void(BatchOutcomes)> on_done;
    // Sends a BodyRequest; its BodyPart comes through OnBodyPart().
    std::function<void(MessageId message, uint32_t first, uint32_t count)> ask;
  };

  BatchRun(EventLoop* loop, AgentPool* pool, const Config* config,
           DeliverBatch batch, Callbacks callbacks);
  ~BatchRun() override;

  void Start();
  // From queue.
  void OnClaimed(bool ok);
  void OnBodyPart(BodyPart part);
  // Ends it unless it is past AgentCommit: the envelopes were not tried.
  void Abort();

  const DeliverBatch& batch() const { return batch_; }

  // AgentUser.
  void OnAgent(Door* door, const std::string& home, SessionId session) override;
  void OnRefused(bool permanent, const std::string& error,
                 SessionId session) override;
  void OnAgentFrame(Frame& frame) override;
  void OnEnded(const std::string& how) override;

 private:
  enum class State {
    kNew,
    kWaitingForAgent,
    kStreaming,
    kWaitingForClaim,
    kCommitting,
    kAborting,  // waiting for the agent to end
    kDone,
  };
  using Outcome = WorkerOutcome::Result;

  AgentKey Key() const;
  // The attempt begins now.
  void Begin();
  // Goes on with the present copy until the agent or the body makes it wait.
  void Pump();
  // False: wait.
  bool PumpHead();
  bool PumpText();
  bool Advance();  // to the next copy; false: there is none
  void BeginCopy(const std::string& path);
  void SkipCopy(Outcome result, EnhancedStatus status, std::string text);
  bool Loops() const;
  void SendText(bool last);
  void CommitIfReady();
  void Watch(absl::Duration limit = kAgentStall);
  absl::Duration CommitTime() const;

  const BatchMessage& message() const { return batch_.messages[at_message_]; }
  const BatchMessage::Recipient& recipient() const {
    return message().recipients[at_recipient_];
  }

  void Add(EnvelopeId envelope, Outcome result, EnhancedStatus status,
           std::string text);
  void AddResult(const AgentResults::One& one);
  // All that has no outcome yet.
  void AddRest(Outcome result, EnhancedStatus status, const std::string& text);
  // Tells `on_done` in a later turn.
  void Finish();

  EventLoop* const loop_;
  AgentPool* const pool_;
  const Config* const config_;
  DeliverBatch batch_;
  Callbacks callbacks_;
  const Action* action_ = nullptr;
  bool commands_ = false;  // all of it is for commands (SplitBatch())

  State state_ = State::kNew;
  bool claimed_ = false;
  Door* agent_ = nullptr;
  std::string home_;
  SessionId session_{};
  EventLoop::Timer watchdog_;
  EventLoop::Timer step_;

  // The present copy.
  size_t at_message_ = 0, at_recipient_ = 0;
  enum class Copy { kHead, kText } copy_ = Copy::kHead;
  std::unique_ptr<BodySource> body_;
  std::string text_;  // of the body, not yet sent
  bool body_ended_ = false;

  absl::Time began_ = absl::UnixEpoch();  // WorkerOutcome::began
  absl::Duration began_elapsed_;          // the same, on the steady clock
  std::vector<EnvelopeId> sent_;          // copies the agent has, in order
  std::vector<WorkerOutcome> outcomes_;
  // WhenBelow() of a door may call after this is gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DELIVER_BATCH_RUN_H_
