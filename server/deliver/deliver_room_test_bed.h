// The room of deliver between a queue, a parent and agents that a test plays.
#ifndef HOLDFAST_SERVER_DELIVER_DELIVER_ROOM_TEST_BED_H_
#define HOLDFAST_SERVER_DELIVER_DELIVER_ROOM_TEST_BED_H_

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/deliver/deliver_room.h"
#include "server/loop/fake_event_loop.h"
#include "storage/body_codec.h"

namespace holdfast {

// An agent's side of its door.
struct FakeAgent {
  AgentRequest request;
  uint64_t number = 0;
  std::unique_ptr<Door> door;
  bool closed = false;
  std::vector<AgentDelivery> deliveries;
  std::vector<std::string> texts;
  std::vector<bool> cancelled;
  std::vector<uint64_t> commits;
};

class DeliverRoomTest : public testing::Test {
 protected:
  using Result = WorkerOutcome::Result;

  DeliverRoomTest() {
    const auto& config = config_;
    Action maildir;
    maildir.name = "local";
    maildir.method = ActionMethod::kMaildir;
    config->actions["local"] = maildir;
    maildir.name = "path";
    maildir.maildir_path = "~/mail/%{dest.user}";
    maildir.maildir_junk = true;
    config->actions["path"] = maildir;
    maildir.name = "climb";
    maildir.maildir_path = "/mail/%{rcpt.user:raw}/x";
    config->actions["climb"] = maildir;
    maildir.name = "wrapped";
    maildir.wrapper = "w";
    config->actions["wrapped"] = maildir;
    Action mbox;
    mbox.name = "mbox";
    mbox.method = ActionMethod::kMbox;
    config->actions["mbox"] = mbox;

    std::tie(parent_, parent_of_room_) = MakeDoorPair(&loop_);
    parent_->SetCallbacks([this](Frame& frame) { OnParentFrame(frame); },
                          [](absl::Status) {});
    RoomContext context{
        .loop = &loop_,
        .parent = parent_of_room_.get(),
        .start = &start_,
        .config = config,
        .fds = {},
        .random = random_,
        .exit = [this](int status) { exits_.push_back(status); },
    };
    room_ = std::make_unique<DeliverRoom>(std::move(context));
    parent_of_room_->SetCallbacks(
        [this](Frame& frame) { EXPECT_TRUE(room_->OnParentFrame(frame)); },
        [](absl::Status) {});
    ConnectQueue();
  }
  void TearDown() override {
    room_.reset();
    agents_.clear();
    queue_.reset();
    loop_.RunReady();
  }

  // ---- queue

  void ConnectQueue() {
    std::unique_ptr<Door> theirs;
    std::tie(queue_, theirs) = MakeDoorPair(&loop_);
    queue_->SetCallbacks([this](Frame& frame) { OnQueueFrame(frame); },
                         [](absl::Status) {});
    NewDoor to;
    to.peer = Room::kQueue;
    room_->OnDoor(to, std::move(theirs));
    loop_.RunReady();
  }
  void OnQueueFrame(Frame& frame) {
    ASSERT_TRUE((Dispatch<WorkerState, BatchOutcomes, BodyRequest>(
        frame, [this](auto& m) { Take(m); })));
  }
  void Take(WorkerState& state) { states_.push_back(state); }
  void Take(BatchOutcomes& outcomes) { outcomes_.push_back(outcomes); }
  void Take(BodyRequest& request) { requests_.push_back(request); }

  static BatchMessage Message(uint32_t id, const std::string& text,
                              int recipients = 1) {
    BatchMessage message;
    message.message = MessageId(id);
    message.sender = {"ann", "example.org"};
    message.created = absl::FromUnixSeconds(1795324000);
    SmallBody body = CompressBody(text);
    message.body = body.info;
    message.stored = body.stored;
    for (int i = 0; i < recipients; ++i) {
      BatchMessage::Recipient recipient;
      recipient.envelope = MakeEnvelopeId(message.message, 1 + i);
      recipient.rcpt = {absl::StrCat("bob+", i), "example.org"};
      recipient.dest = {"bob", "example.org"};
      message.recipients.push_back(recipient);
    }
    return message;
  }
  static DeliverBatch Batch(uint64_t id, const std::string& action = "local") {
    DeliverBatch batch;
    batch.batch = BatchId(id);
    batch.action = action;
    batch.user = batch.run_as = "bob";
    batch.store_uuid = "0011223344556677";
    batch.host = "mx.example.org";
    batch.messages.push_back(Message(static_cast<uint32_t>(id), "A: b\n\nx\n"));
    return batch;
  }
  void Send(const DeliverBatch& batch, bool claim = true) {
    queue_->Send(batch);
    if (claim) Claim(batch.batch);
    loop_.RunReady();
  }
  void Claim(BatchId id, bool ok = true) {
    BatchClaimed claimed;
    claimed.batch = id;
    claimed.ok = ok;
    queue_->Send(claimed);
    loop_.RunReady();
  }
  void Record(const BatchOutcomes& outcomes) {
    OutcomesRecorded recorded;
    recorded.batch = outcomes.batch;
    recorded.sequence = outcomes.sequence;
    queue_->Send(recorded);
    loop_.RunReady();
  }

  // ---- parent and agents

  void OnParentFrame(Frame& frame) {
    ASSERT_TRUE((Dispatch<AgentRequest, AgentKill>(
        frame, [this](auto& m) { Take(m); })));
  }
  void Take(AgentRequest& request) { asked_.push_back(request); }
  void Take(AgentKill& kill) { killed_.push_back(kill.agent); }

  // Parent answers the oldest request with an agent.
  FakeAgent* StartAgent(const std::string& home = "") {
    EXPECT_FALSE(asked_.empty());
    auto [theirs, ours] = MakeDoorSockets();
    auto agent = std::make_unique<FakeAgent>();
    FakeAgent* a = agent.get();
    a->request = asked_.front();
    asked_.erase(asked_.begin());
    a->number = next_agent_++;
    a->door = MakeDoor(&loop_, std::move(ours));
    a->door->SetCallbacks([this, a](Frame& frame) { OnAgentFrame(a, frame); },
                          [a](absl::Status) { a->closed = true; });
    agents_.push_back(std::move(agent));
    AgentReady ready;
    ready.request = a->request.request;
    ready.ok = true;
    ready.agent = a->number;
    ready.home = home;
    std::vector<OwnedFd> fds;
    fds.push_back(std::move(theirs));
    parent_->Send(ready, std::move(fds));
    loop_.RunReady();
    return a;
  }
  void RefuseAgent(bool permanent, const std::string& error) {
    AgentReady ready;
    ready.request = asked_.front().request;
    ready.permanent = permanent;
    ready.error = error;
    asked_.erase(asked_.begin());
    parent_->Send(ready);
    loop_.RunReady();
  }
  void OnAgentFrame(FakeAgent* a, Frame& frame) {
    ASSERT_TRUE((Dispatch<AgentDelivery, AgentText, AgentCommit>(
        frame, [a](auto& m) { Take(a, m); })));
  }
  static void Take(FakeAgent* a, AgentDelivery& delivery) {
    a->deliveries.push_back(delivery);
    a->texts.emplace_back();
    a->cancelled.push_back(false);
  }
  static void Take(FakeAgent* a, AgentText& text) {
    a->texts.back() += text.bytes;
    if (text.cancelled) a->cancelled.back() = true;
  }
  static void Take(FakeAgent* a, AgentCommit& commit) {
    a->commits.push_back(commit.group);
  }
  // The agent answers its last commit: all is well but what `change` says.
  void Answer(FakeAgent* a,
              const std::function<void(AgentResults*)>& change = nullptr) {
    AgentResults results;
    results.group = a->commits.back();
    for (const AgentDelivery& delivery : a->deliveries) {
      AgentResults::One one;
      one.envelope = delivery.envelope;
      one.ok = true;
      results.results.push_back(one);
    }
    a->deliveries.clear();
    a->texts.clear();
    if (change) change(&results);
    a->door->Send(results);
    loop_.RunReady();
  }
  void EndAgent(FakeAgent* a, const std::string& how = "exited okay") {
    a->door.reset();
    loop_.RunReady();
    AgentEnded ended;
    ended.agent = a->number;
    ended.how = how;
    parent_->Send(ended);
    loop_.RunReady();
  }
  std::vector<Result> Results() {
    std::vector<Result> out;
    for (const BatchOutcomes& outcomes : outcomes_) {
      for (const WorkerOutcome& outcome : outcomes.outcomes)
        out.push_back(outcome.result);
    }
    return out;
  }

  FakeEventLoop loop_;
  const std::shared_ptr<Config> config_ = std::make_shared<Config>();
  absl::BitGen random_;
  Start start_;
  std::unique_ptr<Door> parent_, parent_of_room_, queue_;
  std::unique_ptr<DeliverRoom> room_;
  std::vector<int> exits_;
  std::vector<WorkerState> states_;
  std::vector<BatchOutcomes> outcomes_;
  std::vector<BodyRequest> requests_;
  std::vector<AgentRequest> asked_;
  std::vector<uint64_t> killed_;
  std::vector<std::unique_ptr<FakeAgent>> agents_;
  uint64_t next_agent_ = 1;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DELIVER_DELIVER_ROOM_TEST_BED_H_
