#include "server/relay/relay_test_bed.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class RelaySessionsTest : public RelayTestBed {};

TEST_F(RelaySessionsTest, AnIdleSessionTakesTheNextBatchOfItsTarget) {
  Start();
  Give(Batch(1, {{"a@a.test"}}));
  loop_.Advance(absl::Seconds(9));
  Give(Batch(2, {{"b@a.test"}}));
  EXPECT_EQ(connections(), 1u);
  EXPECT_THAT(server(0).messages(), SizeIs(2));
  EXPECT_THAT(finished_, ElementsAre(1, 2));
  RelayBatch other = Batch(3, {{"c@a.test"}});
  other.target.action = "another";  // not interchangeable
  Give(other);
  EXPECT_EQ(connections(), 2u);
  // After session-keepalive: QUIT.
  loop_.Advance(absl::Seconds(11));
  EXPECT_FALSE(open(0));
  EXPECT_THAT(Commands(0), HasSubstr("|.|QUIT"));
  EXPECT_THAT(slots_, UnorderedElementsAre("1 ready", "2 ready", "1 closed",
                                           "2 closed"));
}

TEST_F(RelaySessionsTest, AKeptSessionThatTheServerEndedLosesNothing) {
  for (const char* answer : {Server::kClose, "421 4.4.2 too long"}) {
    SCOPED_TRACE(answer);
    Start();
    outcomes_.clear();
    dialer_->prepare = [&](size_t n, Server* s) {
      if (n == 0) s->answers["MAIL"] = {"250 ok", answer};
    };
    Give(Batch(1, {{"a@a.test"}}));
    Give(Batch(2, {{"b@a.test"}}));
    EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued",
                                       "200 Ok 250 2.0.0 queued"));
    EXPECT_EQ(connections(), 2u);
  }
}

TEST_F(RelaySessionsTest, SessionMailMax) {
  config_->mta_limits.session_mail_max = 2;
  Start();
  Give(Batch(
      1,
      {{"a@a.test"}, {"b@a.test"}, {"c@a.test"}, {"d@a.test"}, {"e@a.test"}}));
  EXPECT_THAT(outcomes_, SizeIs(5));
  ASSERT_EQ(connections(), 3u);
  EXPECT_THAT(server(0).messages(), SizeIs(2));
  EXPECT_THAT(server(1).messages(), SizeIs(2));
  EXPECT_THAT(server(2).messages(), SizeIs(1));
  EXPECT_THAT(Commands(0), HasSubstr("QUIT"));
}

TEST_F(RelaySessionsTest, LimitsOfADomainAndOfASmarthost) {
  MtaLimits few;
  few.session_mail_max = 1;
  config_->mta_domain_limits["a.test"] = few;
  few.session_keepalive = 60;
  few.session_mail_max = 2;
  config_->mta_domain_limits["relay.test"] = few;
  Start();
  Hosts("relay.test", {"192.0.2.7"});
  Give(Batch(1, {{"a@a.test"}, {"b@a.test"}}));
  EXPECT_EQ(connections(), 2u);
  RelayBatch batch = Batch(2, {{"a@x.test"}});
  batch.target.domain = "smtp+notls://Relay.test:26";
  batch.target.smarthost = true;
  resolver_->domains["Relay.test"] = resolver_->domains["relay.test"];
  Give(batch);
  loop_.Advance(absl::Seconds(50));  // longer than the default
  batch.batch = BatchId(3);
  Give(batch);
  EXPECT_EQ(connections(), 3u);
  EXPECT_THAT(server(2).messages(), SizeIs(2));
  EXPECT_THAT(Commands(2), HasSubstr("QUIT"));
}

TEST_F(RelaySessionsTest, RefusalsInARowEndASession) {
  MtaLimits few;
  few.max_failures_per_session = 2;
  config_->mta_domain_limits["a.test"] = few;
  Start();
  dialer_->prepare = [](size_t n, Server* s) {
    if (n > 0) return;
    s->extensions = {};
    s->answers["RCPT"] = {"550 5.1.1 no", "550 5.1.1 no", "550 5.1.1 no"};
  };
  Give(Batch(1, {{"a@a.test", "b@a.test", "c@a.test"}, {"d@a.test"}}));
  EXPECT_THAT(
      outcomes_,
      ElementsAre("100 Perm 550 5.1.1 no", "101 Perm 550 5.1.1 no",
                  "102 Temp Too many consecutive errors, closing connection",
                  "103 Ok 250 2.0.0 queued"));
  EXPECT_EQ(connections(), 2u);
}

TEST_F(RelaySessionsTest, SessionTransactionDelay) {
  config_->mta_limits.session_transaction_delay = 3;
  Start();
  Give(Batch(1, {{"a@a.test"}, {"b@a.test"}}));
  EXPECT_THAT(outcomes_, SizeIs(1));
  loop_.Advance(absl::Seconds(3));
  EXPECT_THAT(outcomes_, SizeIs(2));
  EXPECT_EQ(connections(), 1u);
}

TEST_F(RelaySessionsTest, AHostThatRejectsAllMails) {
  Start();
  dialer_->prepare = [](size_t n, Server* s) {
    if (n == 0)
      for (int i = 0; i < 20; ++i) s->answers["MAIL"].push_back("550 no");
  };
  std::vector<std::vector<std::string>> messages(12, {"a@a.test"});
  Give(Batch(1, messages));
  EXPECT_EQ(connections(), 2u);
  EXPECT_THAT(Commands(0), HasSubstr("QUIT"));
  EXPECT_THAT(server(1).messages(), SizeIs(2));
}

TEST_F(RelaySessionsTest, SeveralBatchesOfATargetGoSideBySide) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test"}}));
  Give(Batch(2, {{"b@a.test"}}));
  EXPECT_EQ(connections(), 2u);
}

TEST_F(RelaySessionsTest, ASessionThatBecomesIdleTakesABatchThatWaitsForASlot) {
  Start();
  Give(Batch(1, {{"a@a.test"}}), /*claimed=*/false);
  answers_.push_back(
      {0, SlotAnswer::Result::kLater, 0, 0, absl::Seconds(30), ""});
  Give(Batch(2, {{"b@a.test"}}));
  EXPECT_THAT(slot_requests_, SizeIs(2));
  Claim(BatchId(1));
  EXPECT_THAT(finished_, ElementsAre(1, 2));
  EXPECT_EQ(connections(), 1u);
  loop_.Advance(absl::Seconds(60));
  EXPECT_THAT(slot_requests_, SizeIs(2));  // the search is over
}

TEST_F(RelaySessionsTest, ThousandsOfMessagesOverOneSession) {
  config_->mta_limits.session_mail_max = 100000;
  Start();
  for (uint64_t b = 1; b <= 20; ++b)
    Give(Batch(b, std::vector<std::vector<std::string>>(100, {"a@a.test"})));
  EXPECT_EQ(connections(), 1u);
  EXPECT_THAT(server(0).messages(), SizeIs(2000));
  EXPECT_THAT(outcomes_, SizeIs(2000));
  EXPECT_THAT(finished_, SizeIs(20));
}

TEST_F(RelaySessionsTest, WishesAreToldToWhoeverUnderstandsThem) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"PIPELINING", "SMTPUTF8",    "8BITMIME",
                     "DELIVERBY",  "MT-PRIORITY", "DSN"};
  };
  RelayBatch batch = Batch(1, {{"j\xc3\xb6rg@a.test"}});
  BatchMessage& m = batch.messages[0];
  m.priority = 4;
  m.flags = kFlagSmtpUtf8 | kFlagDeliverByReturn;
  m.deliver_by = loop_.Now() + absl::Seconds(120);
  m.deliver_by_trace = true;
  m.dsn_ret = DsnReturn::kHeaders;
  m.dsn_envid = "QQ";
  m.recipients[0].dsn_notify = kNotifyNever;
  Give(batch);
  EXPECT_EQ(server(0).commands()[1],
            "MAIL FROM:<from@me.test> SMTPUTF8 MT-PRIORITY=4 BY=120;RT "
            "RET=HDRS ENVID=QQ");
  EXPECT_EQ(server(0).commands()[2],
            "RCPT TO:<j\xc3\xb6rg@a.test> NOTIFY=NEVER");
  EXPECT_TRUE(last_.peer_deliver_by);
  EXPECT_TRUE(last_.peer_dsn);
}

TEST_F(RelaySessionsTest, WhatMustNotGoInClearFails) {
  Start();
  RelayBatch batch = Batch(1, {{"a@a.test", "b@a.test"}, {"c@a.test"}});
  batch.messages[0].flags = kFlagRequireTls;
  Give(batch);
  EXPECT_THAT(outcomes_,
              UnorderedElementsAre("100 Perm REQUIRETLS support required",
                                   "101 Perm REQUIRETLS support required",
                                   "102 Ok 250 2.0.0 queued"));
  EXPECT_EQ(batches_heard_[0].outcomes[0].status.subject(), 7);
  EXPECT_EQ(batches_heard_[0].outcomes[0].status.detail(), 30);
  EXPECT_EQ(server(0).messages().size(), 1u);
  EXPECT_FALSE(last_.peer_deliver_by);
}

TEST_F(RelaySessionsTest, LimitsOfTheHostAreKept) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"PIPELINING", "LIMITS RCPTMAX=2 MAILMAX=2"};
  };
  Give(Batch(1, {{"a@a.test", "b@a.test", "c@a.test", "d@a.test", "e@a.test"},
                 {"f@a.test"}}));
  EXPECT_THAT(outcomes_, SizeIs(6));
  EXPECT_THAT(finished_, ElementsAre(1u));
  ASSERT_EQ(connections(), 2u);
  ASSERT_THAT(server(0).messages(), SizeIs(2));
  EXPECT_THAT(server(0).messages()[0].recipients, SizeIs(2));
  EXPECT_THAT(server(0).messages()[1].recipients, SizeIs(2));
  EXPECT_EQ(server(0).commands().back(), "QUIT");
  ASSERT_THAT(server(1).messages(), SizeIs(2));
  EXPECT_THAT(server(1).messages()[0].recipients, SizeIs(1));
}

TEST_F(RelaySessionsTest, DomainsOfATransactionMayBeLimited) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"PIPELINING", "LIMITS RCPTDOMAINMAX=1"};
  };
  Give(Batch(1, {{"a@a.test", "b@b.test", "c@A.test"}}));
  ASSERT_THAT(server(0).messages(), SizeIs(2));
  EXPECT_THAT(server(0).messages()[0].recipients,
              ElementsAre("RCPT TO:<a@a.test>", "RCPT TO:<c@A.test>"));
  EXPECT_THAT(outcomes_, SizeIs(3));
}

// ---- who shares

TEST_F(RelaySessionsTest, ActionsThatAgreeShareASession) {
  Action other = config_->actions["out"];
  other.name = "other";
  other.mail_from = "me@else.test";
  other.verp = true;
  config_->actions["other"] = other;
  other.helo = "other.test";
  config_->actions["apart"] = other;
  Start();
  const auto give = [this](uint64_t id, const std::string& action) {
    RelayBatch batch = Batch(id, {{"a@a.test"}});
    batch.destination = DestinationId(id);
    batch.target.action = action;
    Give(batch);
  };
  give(1, "out");
  give(2, "other");
  EXPECT_EQ(connections(), 1u);
  give(3, "apart");
  EXPECT_EQ(connections(), 2u);
  give(4, "out");
  EXPECT_EQ(connections(), 2u);
  EXPECT_THAT(outcomes_, SizeIs(4));
}

TEST_F(RelaySessionsTest, AWaitingBatchOfAnotherActionIsTakenToo) {
  config_->actions["other"] = config_->actions["out"];
  Start();
  Give(Batch(1, {{"a@a.test"}}), /*claimed=*/false);
  answers_.push_back(
      {0, SlotAnswer::Result::kLater, 0, 0, absl::Seconds(30), ""});
  RelayBatch other = Batch(2, {{"b@a.test"}});
  other.target.action = "other";
  Give(other);
  Claim(BatchId(1));
  EXPECT_THAT(finished_, ElementsAre(1, 2));
  EXPECT_EQ(connections(), 1u);
}

// ---- connections in advance

TEST_F(RelaySessionsTest, WhereMoreWaitsTheNextConnectionIsReady) {
  Start();
  dialer_->prepare = [](size_t n, Server* s) {
    if (n == 0) s->answers["dot"] = {Server::kSilence};
  };
  RelayBatch batch = Batch(1, {{"a@a.test"}});
  batch.waiting = 100;
  Give(batch);
  EXPECT_EQ(connections(), 2u);  // the second has greeted us
  EXPECT_THAT(slots_, ElementsAre("1 ready", "2 ready"));
  Give(Batch(2, {{"b@a.test"}}));
  EXPECT_EQ(connections(), 2u);
  EXPECT_THAT(server(1).messages(), SizeIs(1));
  // One is enough.
  batch = Batch(3, {{"c@a.test"}});
  batch.waiting = 100;
  Give(batch);
  EXPECT_EQ(connections(), 3u);
  EXPECT_THAT(finished_, ElementsAre(2, 3));
  // What nobody uses ends.
  loop_.Advance(absl::Seconds(11));
  EXPECT_FALSE(open(2));
}

TEST_F(RelaySessionsTest, NoneInAdvanceWhereItWouldHaveToWait) {
  Start();
  for (const SlotAnswer::Result result :
       {SlotAnswer::Result::kLater, SlotAnswer::Result::kNoRoute}) {
    answers_.push_back({0, SlotAnswer::Result::kGranted, 0, 0, {}, ""});
    answers_.push_back({0, result, 0, 0, absl::Seconds(1), ""});
    slot_requests_.clear();
    RelayBatch batch = Batch(1, {{"a@a.test"}});
    batch.waiting = 100;
    Give(batch);
    loop_.Advance(absl::Minutes(1));
    EXPECT_THAT(slot_requests_, SizeIs(2));
    EXPECT_EQ(failure_, "");
  }
  EXPECT_EQ(connections(), 2u);
}

TEST_F(RelaySessionsTest, AConnectionInAdvanceThatTheServerEndsLosesNothing) {
  for (const char* answer : {Server::kClose, "421 4.4.2 too long"}) {
    SCOPED_TRACE(answer);
    Start();
    outcomes_.clear();
    dialer_->prepare = [&](size_t n, Server* s) {
      if (n == 0) s->answers["dot"] = {Server::kSilence};
      if (n == 1) s->answers["MAIL"] = {answer};
    };
    RelayBatch batch = Batch(1, {{"a@a.test"}});
    batch.waiting = 100;
    Give(batch);
    Give(Batch(2, {{"b@a.test"}}));
    EXPECT_THAT(outcomes_, ElementsAre("200 Ok 250 2.0.0 queued"));
    EXPECT_EQ(connections(), 3u);
  }
}

// However ready a server is to be connected to.
TEST_F(RelaySessionsTest, AServerThatEndsAtEveryMailIsNotTriedForEver) {
  Start();
  dialer_->prepare = [&](size_t, Server* s) {
    s->answers["MAIL"] = {Server::kClose};
  };
  RelayBatch batch = Batch(1, {{"a@a.test"}, {"b@a.test"}, {"c@a.test"}});
  batch.waiting = 100;
  Give(batch);
  EXPECT_THAT(outcomes_, SizeIs(3));
  EXPECT_LE(connections(), 8u);
}

TEST_F(RelaySessionsTest, AConnectionInAdvanceThatFailsHarmsNobody) {
  Start();
  dialer_->prepare = [](size_t n, Server* s) {
    if (n == 1) s->answers["banner"] = {"421 4.3.2 too many"};
  };
  RelayBatch batch = Batch(1, {{"a@a.test"}});
  batch.waiting = 100;
  Give(batch);
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
  EXPECT_EQ(failure_, "");
  EXPECT_THAT(slots_, ElementsAre("1 ready", "2 failed"));
  room_->OnStop(absl::Seconds(30));
  loop_.RunReady();
  EXPECT_EQ(exited_, 0);
}

TEST_F(RelaySessionsTest, AttemptsAreStamped) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  const absl::Time begin = loop_.Now();
  Give(Batch(1, {{"a@a.test"}}));
  loop_.Advance(absl::Seconds(7));
  dialer_->connections[0]->stream->Write("250 ok\r\n");
  loop_.RunReady();
  EXPECT_EQ(last_.began, begin);
  EXPECT_EQ(last_.took, absl::Seconds(7));
  // What was not tried was no attempt.
  room_->OnStop(absl::Seconds(30));
  Give(Batch(2, {{"a@a.test"}}));
  EXPECT_EQ(outcomes_.back(), "200 Returned ");
  EXPECT_EQ(last_.began, absl::UnixEpoch());
}

}  // namespace
}  // namespace holdfast
