// Batches of `lmtp` actions: how they go to a server that speaks LMTP.
#include "server/relay/relay_test_bed.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

class RelayLmtpTest : public RelayTestBed {
 protected:
  RelayLmtpTest() { AddAction("/run/lmtp"); }

  void AddAction(const std::string& to, bool rcpt_to = false) {
    Action& action = config_->actions["local"];
    action.name = "local";
    action.method = ActionMethod::kLmtp;
    action.lmtp = to;
    action.lmtp_rcpt_to = rcpt_to;
  }

  RelayBatch Local(uint64_t id, std::vector<std::vector<std::string>> messages,
                   const std::string& domain = "lmtp:/run/lmtp") {
    RelayBatch batch = Batch(id, std::move(messages));
    batch.target.action = "local";
    batch.target.domain = domain;
    for (BatchMessage& message : batch.messages) {
      for (BatchMessage::Recipient& r : message.recipients)
        r.mailbox_user = r.dest.user;
    }
    return batch;
  }

  void SetText(BatchMessage* message, const std::string& text) {
    const SmallBody body = CompressBody(text);
    message->body = body.info;
    message->stored = body.stored;
  }
};

TEST_F(RelayLmtpTest, AUnixSocketAndNamesOfUsers) {
  Start();
  Give(Local(1, {{"joe@a.test"}}));
  ASSERT_EQ(connections(), 1u);
  EXPECT_EQ(dialer_->connections[0]->address, "unix:local");
  EXPECT_THAT(Commands(0), StartsWith("LHLO me.test|"));
  EXPECT_THAT(Commands(0), HasSubstr("|RCPT TO:<joe>|"));
  ASSERT_THAT(server(0).messages(), SizeIs(1));
  EXPECT_THAT(server(0).messages()[0].text,
              StartsWith("Return-Path: <from@me.test>\r\n"
                         "Delivered-To: joe@a.test\r\n"
                         "Subject: 100\r\n"));
  // Nothing is added: the log says "Delivered".
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok "));
}

TEST_F(RelayLmtpTest, AHostAndAddresses) {
  AddAction("lmtp.test:24", true);
  Start();
  Hosts("lmtp.test", {"192.0.2.24"});
  Give(Local(1, {{"joe@a.test"}}, "lmtp://lmtp.test:24"));
  ASSERT_EQ(connections(), 1u);
  EXPECT_EQ(dialer_->connections[0]->address, "192.0.2.24");
  EXPECT_EQ(dialer_->connections[0]->port, 24);
  EXPECT_THAT(Commands(0), HasSubstr("|RCPT TO:<joe@a.test>|"));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok "));
}

TEST_F(RelayLmtpTest, EachRecipientIsReportedApart) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["RCPT TO:<nobody>"] = {"550 5.1.1 unknown"};
    s->answers["dot"] = {"250 2.0.0 saved\r\n452 4.2.2 full"};
  };
  Give(Local(1, {{"joe@a.test", "nobody@a.test", "ann@a.test"}}));
  EXPECT_THAT(outcomes_,
              ElementsAre("101 Perm Error (service unavailable: \"mail.lmtp: "
                          "LMTP server error: 550 5.1.1 unknown\")",
                          "100 Ok ",
                          "102 Temp Error (temporary failure: \"mail.lmtp: "
                          "LMTP server error: 452 4.2.2 full\")"));
  ASSERT_THAT(server(0).messages(), SizeIs(1));
  // Nobody learns who the others are.
  EXPECT_THAT(server(0).messages()[0].text,
              StartsWith("Return-Path: <from@me.test>\r\nSubject: 100\r\n"));
}

TEST_F(RelayLmtpTest, ASessionStaysOpenForManyMessages) {
  Start();
  Give(Local(1, {{"a@a.test"}, {"b@a.test"}}));
  Give(Local(2, {{"c@a.test"}}));
  EXPECT_EQ(connections(), 1u);
  EXPECT_THAT(server(0).messages(), SizeIs(3));
}

TEST_F(RelayLmtpTest, AnErrorAfterTheLastAnswerRepeatsNothing) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {"250 2.0.0 saved\r\n421 4.3.2 going down"};
  };
  Give(Local(1, {{"a@a.test", "b@a.test"}}));
  ASSERT_THAT(outcomes_, SizeIs(2));
  EXPECT_EQ(outcomes_[0], "100 Ok ");
  EXPECT_THAT(outcomes_[1], StartsWith("101 Temp "));
}

TEST_F(RelayLmtpTest, MailThatGoesRoundIsStopped) {
  Start();
  RelayBatch batch = Local(1, {{"joe@a.test", "ann@a.test"}, {"joe@a.test"}});
  SetText(&batch.messages[0], "Delivered-To: JOE@a.test\nSubject: x\n\ntext\n");
  // Behind the header it means nothing.
  SetText(&batch.messages[1], "Subject: x\n\nDelivered-To: joe@a.test\n");
  Give(batch);
  EXPECT_THAT(outcomes_, ElementsAre("100 Loop ", "101 Ok ", "102 Ok "));
  ASSERT_THAT(server(0).messages(), SizeIs(2));
  EXPECT_THAT(server(0).messages()[0].recipients, SizeIs(1));
  // If all of them are, nobody is spoken to.
  RelayBatch loop = Local(2, {{"joe@a.test"}});
  SetText(&loop.messages[0], "Delivered-To: joe@a.test\n\ntext\n");
  loop.target.domain = "lmtp:/another";
  Give(loop);
  EXPECT_EQ(connections(), 1u);
  EXPECT_THAT(finished_, ElementsAre(1, 2));
}

TEST_F(RelayLmtpTest, LargeMessagesAreSearchedForLoopsToo) {
  Start();
  std::string text;
  RelayBatch batch =
      Large(Local(1, {{"joe@a.test"}}), 2 << 20, &chunks_, &text);
  Give(batch);
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok "));
  EXPECT_THAT(Commands(0), HasSubstr("RCPT TO:<joe>"));
}

TEST_F(RelayLmtpTest, AServerThatIsNotThere) {
  Start();
  dialer_->refusing.insert("unix:local");
  Give(Local(1, {{"joe@a.test"}}));
  EXPECT_THAT(outcomes_, ElementsAre("100 Returned "));
  EXPECT_THAT(failure_, HasSubstr("Network error on destination MXs"));
}

TEST_F(RelayLmtpTest, ARelayUrlIsARelay) {
  Start();
  Hosts("lmtp.test", {"192.0.2.24"});
  RelayBatch batch = Batch(1, {{"joe@a.test"}});
  batch.target.domain = "lmtp://lmtp.test:24";
  batch.target.smarthost = true;
  Give(batch);
  EXPECT_THAT(Commands(0), HasSubstr("RCPT TO:<joe@a.test>"));
  EXPECT_THAT(server(0).messages()[0].text, Not(HasSubstr("Delivered-To")));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
}

}  // namespace
}  // namespace holdfast
