#include "server/deliver/deliver_room.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"
#include "storage/body_codec.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Result = WorkerOutcome::Result;

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
  DeliverRoomTest() {
    auto config = std::make_shared<Config>();
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

TEST_F(DeliverRoomTest, ABatchIsOneGroup) {
  DeliverBatch batch = Batch(7);
  batch.messages.push_back(Message(8, "C: d\n\ny\n", 2));
  batch.messages.back().sender = {};
  Send(batch);
  ASSERT_THAT(asked_, SizeIs(1));
  EXPECT_EQ(asked_[0].user, "bob");
  EXPECT_FALSE(asked_[0].mbox);
  EXPECT_EQ(asked_[0].mailbox_user, "");
  FakeAgent* agent = StartAgent();
  ASSERT_THAT(agent->deliveries, SizeIs(3));
  EXPECT_EQ(agent->deliveries[0].path, "");
  EXPECT_EQ(agent->deliveries[0].file_name,
            "1795324000.0011223344556677.0000000700000001.mx.example.org");
  EXPECT_THAT(agent->texts,
              ElementsAre("Return-Path: <ann@example.org>\n"
                          "Delivered-To: bob+0@example.org\nA: b\n\nx\n",
                          "Delivered-To: bob+0@example.org\nC: d\n\ny\n",
                          "Delivered-To: bob+1@example.org\nC: d\n\ny\n"));
  EXPECT_THAT(agent->commits, ElementsAre(7));
  EXPECT_THAT(outcomes_, IsEmpty());
  Answer(agent);
  ASSERT_THAT(outcomes_, SizeIs(1));
  EXPECT_EQ(outcomes_[0].batch, BatchId(7));
  EXPECT_TRUE(outcomes_[0].finished);
  EXPECT_NE(outcomes_[0].session, SessionId(0));
  EXPECT_THAT(Results(), ElementsAre(Result::kOk, Result::kOk, Result::kOk));
}

TEST_F(DeliverRoomTest, WhatAWrapperWrapsIsACommand) {
  Send(Batch(7, "wrapped"));
  ASSERT_THAT(asked_, SizeIs(1));
  EXPECT_TRUE(asked_[0].commands);
  EXPECT_EQ(asked_[0].action, "wrapped");
  FakeAgent* agent = StartAgent();
  ASSERT_THAT(agent->deliveries, SizeIs(1));
  EXPECT_EQ(agent->deliveries[0].method, AgentDelivery::Method::kCommand);
  EXPECT_EQ(agent->deliveries[0].exec, "");
}

TEST_F(DeliverRoomTest, AnAttemptSaysWhenItBeganAndHowLongItTook) {
  Send(Batch(7));
  loop_.Advance(absl::Seconds(3));  // for an agent: no part of it
  const absl::Time began = loop_.Now();
  FakeAgent* agent = StartAgent();
  loop_.Advance(absl::Seconds(2));
  Answer(agent);
  ASSERT_THAT(outcomes_, SizeIs(1));
  EXPECT_EQ(outcomes_[0].outcomes[0].began, began);
  EXPECT_EQ(outcomes_[0].outcomes[0].took, absl::Seconds(2));
  // What was not tried has no time.
  Send(Batch(8), false);
  Claim(BatchId(8), false);
  Send(Batch(9), false);
  queue_.reset();
  loop_.RunReady();
  for (const BatchOutcomes& outcomes : outcomes_) {
    if (outcomes.batch == BatchId(7)) continue;
    for (const WorkerOutcome& outcome : outcomes.outcomes)
      EXPECT_EQ(outcome.began, absl::UnixEpoch());
  }
}

TEST_F(DeliverRoomTest, CommandsGoAloneAndAreToldAsTheyEnd) {
  DeliverBatch batch = Batch(7);
  batch.messages[0] = Message(7, "A: b\n\nx\n", 3);
  batch.messages[0].recipients[1].exec = "|vacation";
  batch.messages[0].recipients[2].exec = "/box";
  Send(batch);
  ASSERT_THAT(asked_, SizeIs(3));
  EXPECT_FALSE(asked_[0].commands);
  EXPECT_TRUE(asked_[1].commands);
  EXPECT_EQ(asked_[1].action, "local");
  FakeAgent* mailbox = StartAgent();
  ASSERT_THAT(mailbox->deliveries, SizeIs(1));
  EXPECT_EQ(mailbox->deliveries[0].method, AgentDelivery::Method::kMaildir);
  Answer(mailbox);
  ASSERT_THAT(outcomes_, SizeIs(1));
  EXPECT_FALSE(outcomes_[0].finished);

  FakeAgent* first = StartAgent();
  ASSERT_THAT(first->deliveries, SizeIs(1));
  EXPECT_EQ(first->deliveries[0].method, AgentDelivery::Method::kCommand);
  EXPECT_EQ(first->deliveries[0].exec, "|vacation");
  EXPECT_EQ(first->deliveries[0].rcpt.user, "bob+1");
  EXPECT_EQ(first->deliveries[0].sender.user, "ann");
  Answer(first, [](AgentResults* results) {
    results->results[0].ok = false;
    results->results[0].kind = "user unknown";
    results->results[0].text = "who?";
    results->results[0].permanent = true;
  });
  ASSERT_THAT(outcomes_, SizeIs(2));
  EXPECT_EQ(outcomes_[1].sequence, 2u);
  EXPECT_FALSE(outcomes_[1].finished);
  EXPECT_EQ(outcomes_[1].outcomes[0].text, "Error (user unknown: \"who?\")");

  // The agent is free again, and gets the next.
  ASSERT_THAT(first->deliveries, SizeIs(1));
  EXPECT_EQ(first->deliveries[0].exec, "/box");
  Answer(first);
  ASSERT_THAT(outcomes_, SizeIs(3));
  EXPECT_TRUE(outcomes_[2].finished);
  EXPECT_THAT(Results(),
              ElementsAre(Result::kOk, Result::kPermFail, Result::kOk));
}

TEST_F(DeliverRoomTest, WhatWasToldOfAPartIsToldToTheNextQueue) {
  DeliverBatch batch = Batch(7);
  batch.messages[0] = Message(7, "A: b\n\nx\n", 2);
  batch.messages[0].recipients[1].exec = "|sleep";
  Send(batch);
  Answer(StartAgent());
  FakeAgent* slow = StartAgent();
  ASSERT_THAT(outcomes_, SizeIs(1));
  outcomes_.clear();
  ConnectQueue();
  ASSERT_THAT(outcomes_, SizeIs(1));
  EXPECT_EQ(outcomes_[0].sequence, 1u);
  Record(outcomes_[0]);
  // Past its commit: it goes on, and is told.
  Answer(slow);
  ASSERT_THAT(outcomes_, SizeIs(2));
  EXPECT_TRUE(outcomes_[1].finished);
  Record(outcomes_[1]);
  outcomes_.clear();
  ConnectQueue();
  EXPECT_THAT(outcomes_, IsEmpty());
  EXPECT_THAT(states_.back().batches, IsEmpty());
}

TEST_F(DeliverRoomTest, TheCommitWaitsForTheClaim) {
  Send(Batch(1), /*claim=*/false);
  FakeAgent* agent = StartAgent();
  EXPECT_THAT(agent->texts, SizeIs(1));
  EXPECT_THAT(agent->commits, IsEmpty());
  Claim(BatchId(1));
  EXPECT_THAT(agent->commits, SizeIs(1));
}

TEST_F(DeliverRoomTest, AFailedClaimIsForgotten) {
  Send(Batch(1), /*claim=*/false);
  FakeAgent* agent = StartAgent();
  Claim(BatchId(1), /*ok=*/false);
  EXPECT_TRUE(agent->closed);
  EndAgent(agent);
  EXPECT_THAT(outcomes_, IsEmpty());
  ConnectQueue();
  EXPECT_THAT(states_.back().batches, IsEmpty());
}

TEST_F(DeliverRoomTest, FailuresOfSingleOnes) {
  DeliverBatch batch = Batch(1);
  batch.messages.push_back(Message(2, "C: d\n\ny\n", 3));
  Send(batch);
  FakeAgent* agent = StartAgent();
  Answer(agent, [](AgentResults* r) {
    r->results[1].ok = false;
    r->results[1].text = "/m: No space left on device";
    r->results[2].ok = false;
    r->results[2].permanent = true;
    r->results[2].text = "bad";
    r->results[3].ok = false;
    r->results[3].in_doubt = true;
    r->results[3].text = "?";
  });
  EXPECT_THAT(Results(), ElementsAre(Result::kOk, Result::kTempFail,
                                     Result::kPermFail, Result::kInDoubt));
  EXPECT_EQ(outcomes_[0].outcomes[1].text,
            "Error (temporary failure: \"/m: No space left on device\")");
  EXPECT_EQ(outcomes_[0].outcomes[1].status.klass, 4);
  EXPECT_EQ(outcomes_[0].outcomes[2].text, "Error (\"bad\")");
}

TEST_F(DeliverRoomTest, AnAgentMayNotSpeakForOthers) {
  Send(Batch(1));
  FakeAgent* agent = StartAgent();
  Answer(agent, [](AgentResults* r) {
    r->results[0].envelope = EnvelopeId(99);
    r->results.push_back(r->results[0]);
  });
  ASSERT_THAT(outcomes_, SizeIs(1));
  ASSERT_THAT(outcomes_[0].outcomes, SizeIs(1));
  EXPECT_EQ(outcomes_[0].outcomes[0].envelope, MakeEnvelopeId(MessageId(1), 1));
  EXPECT_EQ(outcomes_[0].outcomes[0].result, Result::kInDoubt);
}

TEST_F(DeliverRoomTest, LinesOfABinaryMessageEndWithLf) {
  const std::string stored("Subject: x\n\na\r\nb\rc\nd\0\xff\r", 23);
  DeliverBatch batch = Batch(1);
  batch.messages.resize(1);
  batch.messages[0].flags = kFlagBinaryMime;
  const SmallBody body = CompressBody(stored);
  batch.messages[0].body = body.info;
  batch.messages[0].stored = body.stored;
  Send(batch);
  FakeAgent* agent = StartAgent();
  ASSERT_FALSE(agent->texts.empty());
  EXPECT_THAT(agent->texts[0], ::testing::EndsWith(std::string(
                                   "Subject: x\n\na\nb\rc\nd\0\xff\r\n", 23)));
}

TEST_F(DeliverRoomTest, ALoopIsFound) {
  DeliverBatch batch = Batch(1);
  batch.messages = {Message(1, "Delivered-To: BOB@example.org\nA: b\n\nx\n"),
                    Message(2, "A: b\n\nDelivered-To: bob@example.org\n")};
  Send(batch);
  FakeAgent* agent = StartAgent();
  ASSERT_THAT(agent->deliveries, SizeIs(1));
  Answer(agent);
  EXPECT_THAT(Results(), ElementsAre(Result::kLoop, Result::kOk));
  EXPECT_EQ(outcomes_[0].outcomes[0].text, "Loop detected");
}

TEST_F(DeliverRoomTest, OnlyLoopsNeedNoCommit) {
  DeliverBatch batch = Batch(1);
  batch.messages = {Message(1, "Delivered-To: bob@example.org\n\nx\n")};
  Send(batch);
  FakeAgent* agent = StartAgent();
  EXPECT_THAT(agent->commits, IsEmpty());
  EXPECT_THAT(Results(), ElementsAre(Result::kLoop));
  // The agent is free for the next.
  Send(Batch(2));
  EXPECT_THAT(asked_, IsEmpty());
  EXPECT_THAT(agent->commits, ElementsAre(2));
}

TEST_F(DeliverRoomTest, PathsAreExpanded) {
  Send(Batch(1, "path"));
  EXPECT_EQ(asked_.at(0).mailbox_user, "bob");
  FakeAgent* agent = StartAgent("/home/bob");
  ASSERT_THAT(agent->deliveries, SizeIs(1));
  EXPECT_EQ(agent->deliveries[0].path, "/home/bob/mail/bob");
  EXPECT_TRUE(agent->deliveries[0].junk);
}

TEST_F(DeliverRoomTest, APathThatClimbsIsAPermanentFailure) {
  DeliverBatch batch = Batch(1, "climb");
  batch.messages[0].recipients[0].rcpt.user = "..";
  Send(batch);
  StartAgent();
  ASSERT_THAT(Results(), ElementsAre(Result::kPermFail));
  EXPECT_EQ(outcomes_[0].outcomes[0].text,
            "Error (smtpd: mda command line could not be expanded)");
}

TEST_F(DeliverRoomTest, MboxKnowsItsSender) {
  DeliverBatch batch = Batch(1, "mbox");
  batch.messages.push_back(Message(2, "A: b\n\nx\n"));
  batch.messages.back().sender = {};
  Send(batch);
  EXPECT_TRUE(asked_.at(0).mbox);
  FakeAgent* agent = StartAgent();
  ASSERT_THAT(agent->deliveries, SizeIs(2));
  EXPECT_EQ(agent->deliveries[0].method, AgentDelivery::Method::kMbox);
  EXPECT_EQ(agent->deliveries[0].from, "ann@example.org");
  EXPECT_EQ(agent->deliveries[0].mailbox_user, "bob");
  EXPECT_EQ(agent->deliveries[1].from, "MAILER-DAEMON");
}

TEST_F(DeliverRoomTest, RefusalsOfAgents) {
  Send(Batch(1));
  RefuseAgent(true, "delivery user 'bob' does not exist");
  DeliverBatch other = Batch(2);
  other.run_as = "vmail";
  Send(other);
  RefuseAgent(true, "delivery user 'vmail' does not exist");
  Send(Batch(3));
  RefuseAgent(false, "too many delivery agents");
  Send(Batch(4));
  RefuseAgent(false, "user database: Input/output error");
  Send(Batch(5));
  RefuseAgent(true, "MDA not allowed to deliver to: root");
  EXPECT_THAT(Results(), ElementsAre(Result::kPermFail, Result::kPermFail,
                                     Result::kTempFail, Result::kTempFail,
                                     Result::kPermFail));
  EXPECT_EQ(outcomes_[3].outcomes[0].text, "Temporary failure in user lookup");
  EXPECT_EQ(outcomes_[3].outcomes[0].status.code, 10);
  EXPECT_EQ(outcomes_[4].outcomes[0].text,
            "Error (permission denied: MDA not allowed to deliver to: root)");
  EXPECT_EQ(outcomes_[0].outcomes[0].text, "Permanent failure in user lookup");
  EXPECT_EQ(outcomes_[0].outcomes[0].status.code, 16);
  EXPECT_EQ(outcomes_[1].outcomes[0].text,
            "Error (user unknown: delivery user 'vmail' does not exist)");
  EXPECT_EQ(outcomes_[2].outcomes[0].text,
            "Error (temporary failure: too many delivery agents)");
}

TEST_F(DeliverRoomTest, AnActionThatIsGoneIsATemporaryFailure) {
  Send(Batch(1, "gone"));
  EXPECT_THAT(Results(), ElementsAre(Result::kTempFail));
}

// ---- large bodies

struct LargeBody {
  std::string text;
  CompressedBody body;
};
LargeBody MakeLarge(size_t bytes) {
  LargeBody large;
  large.text = "A: b\n\n";
  uint64_t x = 88172645463325252u;
  while (large.text.size() < bytes) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    absl::StrAppend(&large.text, x, "\n");
  }
  BodyCompressor compressor;
  large.body.chunks = compressor.Write(large.text);
  CompressedBody rest = compressor.Finish();
  large.body.info = rest.info;
  for (std::string& chunk : rest.chunks)
    large.body.chunks.push_back(std::move(chunk));
  return large;
}
DeliverBatch LargeBatch(const LargeBody& large) {
  DeliverBatch batch;
  batch.batch = BatchId(1);
  batch.action = "local";
  batch.user = batch.run_as = "bob";
  BatchMessage message;
  message.message = MessageId(1);
  message.body = large.body.info;
  BatchMessage::Recipient recipient;
  recipient.envelope = MakeEnvelopeId(message.message, 1);
  recipient.dest = recipient.rcpt = {"bob", "example.org"};
  message.recipients.push_back(recipient);
  batch.messages.push_back(message);
  return batch;
}

TEST_F(DeliverRoomTest, ALargeBodyIsAskedForInParts) {
  const LargeBody large = MakeLarge(3 << 20);
  ASSERT_GT(large.body.chunks.size(), 2 * kChunksAsked);
  Send(LargeBatch(large));
  FakeAgent* agent = StartAgent();
  size_t answered = 0;
  while (answered < requests_.size()) {
    ASSERT_EQ(requests_.size(), answered + 1);  // one at a time
    const BodyRequest request = requests_[answered++];
    EXPECT_LE(request.count, kChunksAsked);
    BodyPart part;
    part.question = request.question;
    part.ok = true;
    for (uint32_t i = 0; i < request.count; ++i)
      part.chunks.push_back(large.body.chunks.at(request.first + i));
    queue_->Send(part);
    loop_.RunReady();
  }
  ASSERT_THAT(agent->commits, SizeIs(1));
  EXPECT_EQ(agent->texts[0], "Delivered-To: bob@example.org\n" + large.text);
  Answer(agent);
  EXPECT_THAT(Results(), ElementsAre(Result::kOk));
}

TEST_F(DeliverRoomTest, ABodyThatCantBeReadFailsAlone) {
  const LargeBody large = MakeLarge(1 << 20);
  DeliverBatch batch = LargeBatch(large);
  batch.messages.push_back(Message(2, "A: b\n\nx\n"));
  Send(batch);
  FakeAgent* agent = StartAgent();
  ASSERT_THAT(requests_, SizeIs(1));
  BodyPart part;
  part.question = requests_[0].question;
  queue_->Send(part);
  loop_.RunReady();
  ASSERT_THAT(agent->deliveries, SizeIs(1));
  Answer(agent);
  EXPECT_THAT(Results(), ElementsAre(Result::kTempFail, Result::kOk));
  EXPECT_EQ(outcomes_[0].outcomes[0].text, "Cannot get message fd");
}

TEST_F(DeliverRoomTest, ADamagedBodyIsCancelled) {
  LargeBody large = MakeLarge(1 << 20);
  large.body.info.digest ^= 1;
  Send(LargeBatch(large));
  FakeAgent* agent = StartAgent();
  for (size_t i = 0; i < requests_.size(); ++i) {
    BodyPart part;
    part.question = requests_[i].question;
    part.ok = true;
    for (uint32_t c = 0; c < requests_[i].count; ++c)
      part.chunks.push_back(large.body.chunks.at(requests_[i].first + c));
    queue_->Send(part);
    loop_.RunReady();
  }
  ASSERT_THAT(agent->cancelled, ElementsAre(true));
  EXPECT_THAT(agent->commits, SizeIs(1));
}

// ---- ends of others

TEST_F(DeliverRoomTest, AnAgentThatEndsBeforeTheCommitHasDoneNothing) {
  Send(Batch(1), /*claim=*/false);
  EndAgent(StartAgent(), "terminated; signal 9");
  EXPECT_THAT(Results(), ElementsAre(Result::kTempFail));
  EXPECT_EQ(outcomes_[0].outcomes[0].text, "Error (terminated; signal 9)");
}

TEST_F(DeliverRoomTest, AnAgentThatEndsAfterTheCommitLeavesDoubt) {
  Send(Batch(1));
  FakeAgent* agent = StartAgent();
  ASSERT_THAT(agent->commits, SizeIs(1));
  agent->door.reset();
  loop_.RunReady();
  // Its door says nothing yet: it may still be at work.
  EXPECT_THAT(outcomes_, IsEmpty());
  EndAgent(agent, "terminated; signal 9");
  EXPECT_THAT(Results(), ElementsAre(Result::kInDoubt));
}

TEST_F(DeliverRoomTest, InDoubtIsToldToTheNextAgent) {
  DeliverBatch batch = Batch(1);
  batch.messages[0].recipients[0].in_doubt = true;
  Send(batch);
  EXPECT_TRUE(StartAgent()->deliveries.at(0).in_doubt);
}

TEST_F(DeliverRoomTest, AnAgentThatHangsIsKilled) {
  Send(Batch(1));
  FakeAgent* agent = StartAgent();
  loop_.Advance(kAgentStall - absl::Seconds(1));
  EXPECT_THAT(killed_, IsEmpty());
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(killed_, ElementsAre(agent->number));
  EndAgent(agent, "terminated; signal 9");
  EXPECT_THAT(Results(), ElementsAre(Result::kInDoubt));
}

TEST_F(DeliverRoomTest, AnAgentThatSaysNonsenseIsGivenUp) {
  Send(Batch(1), /*claim=*/false);
  FakeAgent* agent = StartAgent();
  agent->door->Send(AgentResults{});  // nothing was committed
  loop_.RunReady();
  EXPECT_TRUE(agent->closed);
  Claim(BatchId(1));
  EXPECT_THAT(agent->commits, IsEmpty());
  EndAgent(agent);
  EXPECT_THAT(Results(), ElementsAre(Result::kTempFail));
}

TEST_F(DeliverRoomTest, QueueDiesBeforeTheCommit) {
  Send(Batch(1), /*claim=*/false);
  FakeAgent* agent = StartAgent();
  queue_.reset();
  loop_.RunReady();
  EXPECT_TRUE(agent->closed);
  ConnectQueue();
  EXPECT_THAT(states_.back().batches, ElementsAre(BatchId(1)));
  EXPECT_THAT(outcomes_, IsEmpty());
  EndAgent(agent);
  EXPECT_THAT(Results(), ElementsAre(Result::kReturned));
}

TEST_F(DeliverRoomTest, QueueDiesAfterTheCommit) {
  Send(Batch(1));
  FakeAgent* agent = StartAgent();
  queue_.reset();
  loop_.RunReady();
  EXPECT_FALSE(agent->closed);
  Answer(agent);
  EXPECT_THAT(outcomes_, IsEmpty());
  ConnectQueue();
  EXPECT_THAT(states_.back().batches, ElementsAre(BatchId(1)));
  EXPECT_THAT(Results(), ElementsAre(Result::kOk));
  // And again, until it is recorded.
  queue_.reset();
  loop_.RunReady();
  outcomes_.clear();
  ConnectQueue();
  ASSERT_THAT(Results(), ElementsAre(Result::kOk));
  Record(outcomes_[0]);
  outcomes_.clear();
  queue_.reset();
  loop_.RunReady();
  ConnectQueue();
  EXPECT_THAT(states_.back().batches, IsEmpty());
  EXPECT_THAT(outcomes_, IsEmpty());
}

// ---- the pool

TEST_F(DeliverRoomTest, ABusyUserGetsFourAgentsAtMost) {
  for (uint64_t id = 1; id <= 10; ++id) Send(Batch(id));
  EXPECT_THAT(asked_, SizeIs(4));
  std::vector<FakeAgent*> agents;
  while (!asked_.empty()) agents.push_back(StartAgent());
  EXPECT_THAT(asked_, IsEmpty());
  for (int done = 0; done < 10; ++done) {
    FakeAgent* agent = agents[static_cast<size_t>(done) % 4];
    ASSERT_FALSE(agent->commits.empty());
    Answer(agent);
  }
  EXPECT_EQ(outcomes_.size(), 10u);
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(DeliverRoomTest, AnIdleAgentStaysAWhile) {
  Send(Batch(1));
  FakeAgent* agent = StartAgent();
  Answer(agent);
  loop_.Advance(kAgentIdle - absl::Seconds(1));
  EXPECT_FALSE(agent->closed);
  Send(Batch(2));
  Answer(agent);
  loop_.Advance(kAgentIdle - absl::Seconds(1));
  EXPECT_FALSE(agent->closed);
  loop_.Advance(absl::Seconds(1));
  EXPECT_TRUE(agent->closed);
  EndAgent(agent);
  Send(Batch(3));
  EXPECT_THAT(asked_, SizeIs(1));
}

TEST_F(DeliverRoomTest, AllUsersTogetherHaveALimit) {
  // mda limit max-session: 50.
  for (uint64_t id = 1; id <= 60; ++id) {
    DeliverBatch batch = Batch(id);
    batch.user = batch.run_as = absl::StrCat("user", id);
    Send(batch);
  }
  EXPECT_THAT(asked_, SizeIs(50));
  FakeAgent* agent = StartAgent();
  Answer(agent);
  // It is idle and makes room for another user's.
  EXPECT_TRUE(agent->closed);
  EndAgent(agent);
  EXPECT_THAT(asked_, SizeIs(50));
}

// ---- stopping

TEST_F(DeliverRoomTest, StopsWhenAllIsRecorded) {
  Send(Batch(1));
  FakeAgent* agent = StartAgent();
  DeliverBatch waiting = Batch(2);
  waiting.user = waiting.run_as = "ann";
  Send(waiting);
  room_->OnStop(absl::Seconds(10));
  loop_.RunReady();
  ASSERT_THAT(Results(), ElementsAre(Result::kReturned));
  Answer(agent);
  EXPECT_THAT(Results(), ElementsAre(Result::kReturned, Result::kOk));
  EXPECT_THAT(exits_, IsEmpty());
  Send(Batch(3));
  EXPECT_THAT(Results(),
              ElementsAre(Result::kReturned, Result::kOk, Result::kReturned));
  for (const BatchOutcomes& outcomes : outcomes_) Record(outcomes);
  EXPECT_THAT(exits_, ElementsAre(0));
}

TEST_F(DeliverRoomTest, StopsWhenItsTimeIsOver) {
  Send(Batch(1));
  StartAgent();
  room_->OnStop(absl::Seconds(10));
  loop_.Advance(absl::Seconds(10));
  EXPECT_THAT(exits_, ElementsAre(0));
}

}  // namespace
}  // namespace holdfast
