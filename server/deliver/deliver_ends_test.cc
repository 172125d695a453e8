// What becomes of batches when bodies are large or damaged, and when agents,
// queue or the room itself end.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/deliver/deliver_room_test_bed.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

using DeliverEndsTest = DeliverRoomTest;

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

TEST_F(DeliverEndsTest, ALargeBodyIsAskedForInParts) {
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

TEST_F(DeliverEndsTest, ABodyThatCantBeReadFailsAlone) {
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

TEST_F(DeliverEndsTest, ADamagedBodyIsCancelled) {
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

TEST_F(DeliverEndsTest, AnAgentThatEndsBeforeTheCommitHasDoneNothing) {
  Send(Batch(1), /*claim=*/false);
  EndAgent(StartAgent(), "terminated; signal 9");
  EXPECT_THAT(Results(), ElementsAre(Result::kTempFail));
  EXPECT_EQ(outcomes_[0].outcomes[0].text, "Error (terminated; signal 9)");
}

TEST_F(DeliverEndsTest, AnAgentThatEndsAfterTheCommitLeavesDoubt) {
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

TEST_F(DeliverEndsTest, InDoubtIsToldToTheNextAgent) {
  DeliverBatch batch = Batch(1);
  batch.messages[0].recipients[0].in_doubt = true;
  Send(batch);
  EXPECT_TRUE(StartAgent()->deliveries.at(0).in_doubt);
}

TEST_F(DeliverEndsTest, AnAgentThatHangsIsKilled) {
  Send(Batch(1));
  FakeAgent* agent = StartAgent();
  loop_.Advance(kAgentStall - absl::Seconds(1));
  EXPECT_THAT(killed_, IsEmpty());
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(killed_, ElementsAre(agent->number));
  EndAgent(agent, "terminated; signal 9");
  EXPECT_THAT(Results(), ElementsAre(Result::kInDoubt));
}

TEST_F(DeliverEndsTest, AnAgentThatSaysNonsenseIsGivenUp) {
  Send(Batch(1), /*claim=*/false);
  FakeAgent* agent = StartAgent();
  agent->door->Send(AgentResults{});  // nothing was committed
  loop_.RunReady();
  EXPECT_TRUE(agent->closed);
  Claim(BatchId(1));
  EXPECT_THAT(agent->commits, IsEmpty());
  loop_.Advance(kAgentLeave);
  EXPECT_THAT(killed_, ElementsAre(agent->number));
  EndAgent(agent);
  EXPECT_THAT(Results(), ElementsAre(Result::kTempFail));
}

TEST_F(DeliverEndsTest, QueueDiesBeforeTheCommit) {
  Send(Batch(1), /*claim=*/false);
  FakeAgent* agent = StartAgent();
  queue_.reset();
  loop_.RunReady();
  EXPECT_TRUE(agent->closed);
  ConnectQueue();
  EXPECT_THAT(states_.back().batches, ElementsAre(BatchId(1)));
  EXPECT_THAT(outcomes_, IsEmpty());
  loop_.Advance(kAgentLeave);
  EXPECT_THAT(killed_, ElementsAre(agent->number));
  EndAgent(agent);
  EXPECT_THAT(Results(), ElementsAre(Result::kReturned));
}

TEST_F(DeliverEndsTest, QueueDiesAfterTheCommit) {
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

TEST_F(DeliverEndsTest, ABusyUserGetsFourAgentsAtMost) {
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

TEST_F(DeliverEndsTest, AUsersAgentsCountTogetherWhateverTheyAreFor) {
  for (uint64_t id = 1; id <= 4; ++id) Send(Batch(id));
  for (uint64_t id = 5; id <= 8; ++id) Send(Batch(id, "path"));
  Send(Batch(9, "mbox"));
  DeliverBatch forward = Batch(10);
  forward.messages[0].recipients[0].exec = "|command";
  Send(forward);
  ASSERT_THAT(asked_, SizeIs(4));
  std::vector<FakeAgent*> agents;
  while (!asked_.empty()) agents.push_back(StartAgent());
  EXPECT_THAT(asked_, IsEmpty());
  // More of the first kind pass those who wait for a while, since an agent for
  // them is there; not for ever.
  for (uint64_t id = 101; id <= 100 + 2 * kMaxAgentTurns; ++id) Send(Batch(id));
  for (int turn = 1; turn < kMaxAgentTurns; ++turn) {
    Answer(agents[0]);
    EXPECT_FALSE(agents[0]->closed);
  }
  Answer(agents[0]);
  EXPECT_TRUE(agents[0]->closed);
  EXPECT_THAT(asked_, IsEmpty());  // it has not ended yet
  EndAgent(agents[0]);
  ASSERT_THAT(asked_, SizeIs(1));
  EXPECT_EQ(asked_[0].mailbox_user, "bob");
  // Another user is not held up.
  DeliverBatch other = Batch(20);
  other.user = other.run_as = "joe";
  Send(other);
  ASSERT_THAT(asked_, SizeIs(2));
  // All get theirs in the end, and never with more than four.
  size_t living = agents.size() - 1;
  agents.erase(agents.begin());
  while (outcomes_.size() < 4 + 6 + 2 * kMaxAgentTurns + 1) {
    while (!asked_.empty()) {
      agents.push_back(StartAgent());
      if (agents.back()->request.user == "bob") ++living;
    }
    EXPECT_LE(living, 4u);
    for (FakeAgent*& agent : agents) {
      if (!agent->deliveries.empty() && !agent->closed) Answer(agent);
      if (!agent->closed) continue;
      if (agent->request.user == "bob") --living;
      EndAgent(agent);
      agent = nullptr;
    }
    std::erase(agents, nullptr);
    ASSERT_FALSE(agents.empty() && asked_.empty());
  }
}

TEST_F(DeliverEndsTest, AnIdleAgentStaysAWhile) {
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

TEST_F(DeliverEndsTest, AllUsersTogetherHaveALimit) {
  // mda limit max-session: 50.
  for (uint64_t id = 1; id <= 60; ++id) {
    DeliverBatch batch = Batch(id);
    batch.user = batch.run_as = absl::StrCat("user", id);
    Send(batch);
  }
  // Half of them are being started at a time.
  EXPECT_THAT(asked_, SizeIs(25));
  FakeAgent* agent = StartAgent();
  for (int i = 1; i < 25; ++i) StartAgent();
  EXPECT_THAT(asked_, SizeIs(25));
  StartAgent();
  EXPECT_THAT(asked_, SizeIs(24));
  Answer(agent);
  // It is idle: another user's may work.
  EXPECT_FALSE(agent->closed);
  EXPECT_THAT(asked_, SizeIs(25));
}

TEST_F(DeliverEndsTest, ACommandMayTakeAsLongAsTheConfigurationSays) {
  config_->mda_limits.command_timeout = 3600;
  DeliverBatch batch = Batch(1);
  batch.messages[0].recipients[0].exec = "|command";
  Send(batch);
  StartAgent();
  loop_.Advance(absl::Seconds(3600) + kCommandStall - absl::Seconds(1));
  EXPECT_THAT(killed_, IsEmpty());
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(killed_, SizeIs(1));
}

TEST_F(DeliverEndsTest, ACommandMayTakeForEver) {
  config_->mda_limits.command_timeout = 0;
  DeliverBatch batch = Batch(1);
  batch.messages[0].recipients[0].exec = "|command";
  Send(batch);
  StartAgent();
  loop_.Advance(absl::Hours(100));
  EXPECT_THAT(killed_, IsEmpty());
}

// ---- stopping

TEST_F(DeliverEndsTest, StopsWhenAllIsRecorded) {
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

TEST_F(DeliverEndsTest, StopsWhenItsTimeIsOver) {
  Send(Batch(1));
  StartAgent();
  room_->OnStop(absl::Seconds(10));
  loop_.Advance(absl::Seconds(10));
  EXPECT_THAT(exits_, ElementsAre(0));
}

}  // namespace
}  // namespace holdfast
