#include "server/deliver/deliver_room.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/agent/agent_arguments.h"
#include "server/deliver/deliver_room_test_bed.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

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
  RefuseAgent(false, absl::StrCat(kNoAgentRoom, ": too many"));
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
  EXPECT_EQ(
      outcomes_[2].outcomes[0].text,
      "Error (temporary failure: no room for a delivery agent: too many)");
}

// A userbase's program that is slow holds up only those who wait for it.
TEST_F(DeliverRoomTest, UsersOfAProgramTakeHalfOfThePlaces) {
  const size_t half = config_->mda_limits.max_session / 2;
  Action action = config_->actions["local"];
  action.userbase = std::make_shared<Table>("people", Table::Kind::kDynamic,
                                            "ldap", "/etc/people");
  for (const char* name : {"p", "q"}) {
    action.name = name;
    config_->actions[name] = action;
  }
  for (uint64_t id = 1; id <= half + 3; ++id) {
    DeliverBatch batch = Batch(id, id % 2 == 0 ? "p" : "q");
    batch.user = batch.run_as = absl::StrCat("user", id);
    Send(batch);
  }
  EXPECT_THAT(asked_, SizeIs(half));
  Send(Batch(half + 4));
  ASSERT_THAT(asked_, SizeIs(half + 1));
  EXPECT_EQ(asked_.back().user, "bob");
}

TEST_F(DeliverRoomTest, AnActionThatIsGoneIsATemporaryFailure) {
  Send(Batch(1, "gone"));
  EXPECT_THAT(Results(), ElementsAre(Result::kTempFail));
}

}  // namespace
}  // namespace holdfast
