#include "server/relay/relay_test_bed.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class RelayRoomTest : public RelayTestBed {};

TEST_F(RelayRoomTest, ABatchGoesOverOneSessionEachRecipientApart) {
  Start();
  resolver_->names["192.0.2.1"] = "ptr.a.test";
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["RCPT TO:<b@a.test>"] = {"450-4.2.2 full\r\n450 4.2.2 up"};
    s->answers["RCPT TO:<c@a.test>"] = {"550 5.1.1 unknown"};
  };
  Give(Batch(1, {{"a@a.test", "b@a.test", "c@a.test"}, {"d@a.test"}}));
  EXPECT_THAT(outcomes_, UnorderedElementsAre("101 Temp 450-4.2.2 full up",
                                              "102 Perm 550 5.1.1 unknown",
                                              "100 Ok 250 2.0.0 queued",
                                              "103 Ok 250 2.0.0 queued"));
  EXPECT_THAT(finished_, ElementsAre(1));
  EXPECT_EQ(connections(), 1u);
  ASSERT_THAT(server(0).messages(), SizeIs(2));
  EXPECT_EQ(server(0).messages()[0].text, "Subject: 100\r\n\r\ntext\r\n");
  EXPECT_EQ(dialer_->connections[0]->port, 25);
  EXPECT_THAT(Commands(0), HasSubstr("EHLO me.test|MAIL FROM:<from@me.test>"));
  for (const BatchOutcomes& m : batches_heard_) {
    EXPECT_EQ(m.relay, "192.0.2.1 (ptr.a.test)");
    EXPECT_NE(static_cast<uint64_t>(m.session), 0u);
  }
  EXPECT_TRUE(last_.peer_dsn);
  EXPECT_EQ(last_.status.klass, 2);
  EXPECT_THAT(slots_, ElementsAre("1 ready"));
  ASSERT_THAT(slot_requests_, SizeIs(1));
  EXPECT_EQ(slot_requests_[0].hosts.at(0).address, "192.0.2.1");
  EXPECT_EQ(slot_requests_[0].domain, "a.test");
}

TEST_F(RelayRoomTest, NoFinalDotBeforeTheClaim) {
  Start();
  Give(Batch(1, {{"a@a.test"}}), /*claimed=*/false);
  EXPECT_EQ(server(0).open_messages(), 1);  // it waits for the text
  loop_.Advance(absl::Minutes(30));         // however long it takes
  EXPECT_EQ(server(0).open_messages(), 1);
  EXPECT_THAT(server(0).messages(), IsEmpty());
  EXPECT_THAT(outcomes_, IsEmpty());
  Claim(BatchId(1));
  EXPECT_THAT(server(0).messages(), SizeIs(1));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
}

TEST_F(RelayRoomTest, OutcomesWaitForTheClaimToo) {
  Start();
  dialer_->prepare = [](size_t, Server* s) { s->answers["RCPT"] = {"550 no"}; };
  Give(Batch(1, {{"a@a.test"}}), /*claimed=*/false);
  EXPECT_THAT(batches_heard_, IsEmpty());
  Claim(BatchId(1));
  EXPECT_THAT(outcomes_, ElementsAre("100 Perm 550 no"));
}

TEST_F(RelayRoomTest, ABatchThatCouldNotBeClaimedIsForgotten) {
  Start();
  Give(Batch(1, {{"a@a.test"}}), /*claimed=*/false);
  Claim(BatchId(1), /*ok=*/false);
  EXPECT_FALSE(open(0));
  EXPECT_THAT(server(0).messages(), IsEmpty());
  EXPECT_THAT(batches_heard_, IsEmpty());
  EXPECT_THAT(slots_, ElementsAre("1 ready", "1 closed"));
  // Also while the route is still looked for.
  hold_slots_ = true;
  Give(Batch(2, {{"a@a.test"}}), /*claimed=*/false);
  Claim(BatchId(2), /*ok=*/false);
  queue_->Send(SlotAnswer{slot_requests_.back().question,
                          SlotAnswer::Result::kGranted,
                          77,
                          0,
                          {},
                          ""});
  loop_.RunReady();
  EXPECT_EQ(slots_.back(), "77 closed");
  EXPECT_EQ(connections(), 1u);
}

TEST_F(RelayRoomTest, WhatBrokeFailsForNowTheRestGoesOverANewSession) {
  for (const char* stage : {"MAIL", "RCPT", "DATA", "dot"}) {
    SCOPED_TRACE(stage);
    Start();
    outcomes_.clear();
    dialer_->prepare = [&](size_t n, Server* s) {
      if (n == 0) s->answers[stage] = {Server::kClose};
    };
    Give(Batch(1, {{"a@a.test"}, {"b@a.test"}}));
    EXPECT_THAT(outcomes_,
                ElementsAre("100 Temp Connection closed unexpectedly",
                            "101 Ok 250 2.0.0 queued"));
    EXPECT_EQ(connections(), 2u);
    EXPECT_THAT(server(1).messages(), SizeIs(1));
  }
}

TEST_F(RelayRoomTest, SilenceEndsAfterItsTime) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test"}}));
  loop_.Advance(kReplyTimeout - absl::Seconds(1));
  EXPECT_THAT(outcomes_, IsEmpty());
  loop_.Advance(absl::Seconds(2));
  EXPECT_THAT(outcomes_, ElementsAre("100 Temp Connection timeout"));
}

TEST_F(RelayRoomTest, DrippingIsNoAnswer) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test"}}));
  int drops = 0;
  for (; outcomes_.empty() && drops < 10; ++drops) {
    dialer_->connections[0]->stream->Write(drops == 0 ? "250-" : "x");
    loop_.Advance(absl::Seconds(100));
  }
  EXPECT_EQ(drops, 3);
  EXPECT_THAT(outcomes_, ElementsAre("100 Temp Connection timeout"));
}

TEST_F(RelayRoomTest, SuccessTogetherWithTheGoAheadIsNone) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["DATA"] = {"354 go\r\n250 2.0.0 have it"};
  };
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_THAT(outcomes_,
              ElementsAre("100 Temp Remote host sent too much data"));
}

TEST_F(RelayRoomTest, OutcomesAreKeptUntilRecordedAndToldToANewQueue) {
  Start();
  record_ = false;
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_THAT(outcomes_, SizeIs(1));
  NewQueue();
  EXPECT_EQ(heard_.at(0), WorkerState::kType);
  EXPECT_THAT(worker_state_, ElementsAre(1));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued",
                                     "100 Ok 250 2.0.0 queued"));
  EXPECT_THAT(finished_, ElementsAre(1, 1));
  queue_->Send(OutcomesRecorded{BatchId(1), batches_heard_.back().sequence});
  loop_.RunReady();
  NewQueue();
  EXPECT_THAT(worker_state_, IsEmpty());
  EXPECT_THAT(outcomes_, SizeIs(2));
}

TEST_F(RelayRoomTest, TheQueueDiesBeforeTheFinalDot) {
  Start();
  // One waits for DATA's answer, one for a slot, one is not claimed yet.
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["DATA"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test"}, {"b@a.test"}}));
  Give(Batch(2, {{"c@a.test"}}), /*claimed=*/false);
  hold_slots_ = true;
  Give(Batch(3, {{"d@a.test"}}));
  queue_.reset();
  loop_.RunReady();
  EXPECT_FALSE(open(0));
  EXPECT_FALSE(open(1));
  NewQueue();
  EXPECT_THAT(worker_state_, ElementsAre(1, 3));
  EXPECT_THAT(outcomes_, UnorderedElementsAre("100 Returned ", "101 Returned ",
                                              "300 Returned "));
  EXPECT_THAT(finished_, UnorderedElementsAre(1, 3));
  EXPECT_EQ(failure_, "");
  // Slots of the old queue are nothing to the new one.
  EXPECT_THAT(slots_, ElementsAre("1 ready", "2 ready"));
}

TEST_F(RelayRoomTest, TheQueueDiesAfterTheFinalDot) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test"}, {"b@a.test"}}));
  queue_.reset();
  loop_.RunReady();
  ASSERT_TRUE(open(0));  // the answer counts
  NewQueue();
  EXPECT_THAT(worker_state_, ElementsAre(1));
  EXPECT_THAT(outcomes_, ElementsAre("101 Returned "));
  EXPECT_THAT(finished_, IsEmpty());
  dialer_->connections[0]->stream->Write("250 there it is\r\n");
  loop_.RunReady();
  EXPECT_THAT(outcomes_,
              ElementsAre("101 Returned ", "100 Ok 250 there it is"));
  EXPECT_THAT(finished_, ElementsAre(1));
  EXPECT_THAT(slots_, ElementsAre("1 ready"));
  // The session is not used for the new queue's batches.
  Give(Batch(2, {{"c@a.test"}}));
  EXPECT_EQ(connections(), 2u);
}

TEST_F(RelayRoomTest, StoppingFinishesWhatIsUnderWayAndGivesBackTheRest) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  record_ = false;
  Give(Batch(1, {{"a@a.test"}, {"b@a.test"}}));
  room_->OnStop(absl::Seconds(30));
  loop_.RunReady();
  EXPECT_THAT(outcomes_, ElementsAre("101 Returned "));
  Give(Batch(2, {{"c@a.test"}}));
  EXPECT_EQ(outcomes_.back(), "200 Returned ");
  EXPECT_FALSE(exited_.has_value());
  dialer_->connections[0]->stream->Write("250 ok\r\n");
  loop_.RunReady();
  EXPECT_EQ(outcomes_.back(), "100 Ok 250 ok");
  EXPECT_FALSE(exited_.has_value());  // not recorded yet
  for (const BatchOutcomes& m : batches_heard_)
    queue_->Send(OutcomesRecorded{m.batch, m.sequence});
  loop_.RunReady();
  EXPECT_EQ(exited_, 0);
}

TEST_F(RelayRoomTest, StoppingEndsWithItsGrace) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test"}}));
  Give(Batch(2, {{"b@a.test"}}), /*claimed=*/false);
  room_->OnStop(absl::Seconds(30));
  loop_.Advance(absl::Seconds(28));
  EXPECT_THAT(outcomes_, IsEmpty());
  EXPECT_FALSE(exited_.has_value());
  loop_.Advance(absl::Seconds(2));
  EXPECT_THAT(outcomes_,
              ElementsAre("100 Temp Connection closed unexpectedly"));
  EXPECT_EQ(exited_, 0);
}

TEST_F(RelayRoomTest, StoppingWithNothingToDo) {
  Start();
  Give(Batch(1, {{"a@a.test"}}));
  room_->OnStop(absl::Seconds(30));
  loop_.RunReady();
  EXPECT_THAT(Commands(0), HasSubstr("QUIT"));
  EXPECT_EQ(exited_, 0);
}

TEST_F(RelayRoomTest, NamesForReceive) {
  Start();
  resolver_->names["192.0.2.9"] = "client.test";
  auto [theirs, ours] = MakeDoorPair(&loop_);
  std::vector<std::string> answers;
  ours->SetCallbacks(
      [&](Frame& frame) {
        Dispatch<ReverseAnswer>(frame, [&](auto& a) {
          answers.push_back(
              absl::StrCat(a.question, " ", a.name, " ", int(a.fcrdns)));
        });
      },
      [](absl::Status) {});
  NewDoor to;
  to.peer = Room::kReceive;
  room_->OnDoor(to, std::move(theirs));
  ours->Send(ReverseRequest{1, "192.0.2.9"});
  ours->Send(ReverseRequest{2, "192.0.2.8"});
  ours->Send(ReverseRequest{3, "nonsense"});
  loop_.RunReady();
  EXPECT_THAT(answers, UnorderedElementsAre("1 client.test 1", "2  2", "3  2"));
  ours->Send(ReverseRequest{4, "192.0.2.9"});
  ours.reset();  // gone before the answer
  loop_.RunReady();
}

TEST_F(RelayRoomTest, ALimitedMessageIsNotForgottenWhenTheQueueDies) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"PIPELINING", "LIMITS RCPTMAX=1"};
    s->answers["dot"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test", "b@a.test"}}));
  EXPECT_THAT(outcomes_, IsEmpty());
  NewQueue();
  Connection* c = dialer_->connections.at(0).get();
  dialer_->Send(c, "250 2.0.0 queued\r\n");
  loop_.RunReady();
  EXPECT_THAT(outcomes_,
              UnorderedElementsAre("100 Ok 250 2.0.0 queued", "101 Returned "));
  EXPECT_THAT(finished_, ElementsAre(1u));
}

}  // namespace
}  // namespace holdfast
