#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/receive/receive_test_bed.h"

namespace holdfast {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST_F(ReceiveRoomTest, SaysAcceptedOnceTheQueueHasTheMessage) {
  Client client(&loop_, room_.get());
  EXPECT_EQ(client.Read(), "220 mx.test ESMTP Holdfast\r\n");
  EXPECT_THAT(client.Say(kOpening), EndsWith("itself\r\n"));
  EXPECT_EQ(client.Say("Subject: x\r\n\r\nbody\r\n.\r\n"), "");
  ASSERT_EQ(accepts_.size(), 1u);
  AnswerAccept(AcceptResult::kOk);
  EXPECT_EQ(client.Read(),
            "250 2.0.0 30e4722c Message accepted for delivery\r\n");

  ASSERT_EQ(accepts_[0].envelopes.size(), 1u);
  const Envelope& envelope = accepts_[0].envelopes[0];
  EXPECT_EQ(MessageOf(envelope.id), MessageId(0x30e4722c));
  EXPECT_EQ(envelope.sender.ToString(), "a@b.test");
  EXPECT_EQ(envelope.dest.ToString(), "joe@c.test");
  EXPECT_EQ(envelope.sockaddr, "local");
  EXPECT_EQ(envelope.hostname, "mx.test");
  EXPECT_EQ(envelope.helo, "localhost");
  EXPECT_EQ(envelope.flags, kFlagAuthenticated);
  EXPECT_EQ(envelope.created, loop_.Now());
  EXPECT_EQ(envelope.expires, loop_.Now() + absl::Hours(1));
  const std::string body = AcceptedBody();
  EXPECT_THAT(body, StartsWith("Received: from localhost (mx.test [local])\n"
                               "\tby mx.test (Holdfast) with ESMTPA id "
                               "30e4722c\n\tfor <joe@c.test>;\n\t"));
  EXPECT_THAT(body, HasSubstr("\nSubject: x\nDate: "));
  EXPECT_THAT(body, HasSubstr("@mx.test>\n\nbody\n"));
  EXPECT_TRUE(chunks_.empty());
  EXPECT_THAT(client.Say("QUIT\r\n"), StartsWith("221 "));
  EXPECT_TRUE(client.ended());
}

TEST_F(ReceiveRoomTest, EachEnvelopeOfAMessageHasItsOwnId) {
  Client client(&loop_, room_.get());
  client.Say(
      "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<two@c.test>\r\n"
      "RCPT TO:<joe@c.test>\r\nDATA\r\n");
  client.Say(".\r\n");
  ASSERT_EQ(accepts_.size(), 1u);
  const auto& envelopes = accepts_[0].envelopes;
  ASSERT_EQ(envelopes.size(), 3u);
  EXPECT_NE(envelopes[0].id, envelopes[1].id);
  EXPECT_NE(envelopes[1].id, envelopes[2].id);
  // With two recipients the header names none.
  EXPECT_FALSE(absl::StrContains(AcceptedBody(), "for <"));
}

TEST_F(ReceiveRoomTest, WhatRecipientsBecomeFitsInAFrame) {
  Client client(&loop_, room_.get());
  client.Say("EHLO x\r\nMAIL FROM:<>\r\n");
  const std::string ok =
      "250 2.1.5 Destination address valid: Recipient ok\r\n";
  const std::string refused =
      "451 4.5.3 Too many recipients: Too many recipients\r\n";
  EXPECT_EQ(client.Say("RCPT TO:<fat@x>\r\nRCPT TO:<fat@x>\r\n"
                       "RCPT TO:<fat@x>\r\nRCPT TO:<joe@x>\r\n"),
            ok + ok + refused + ok);
  client.Say("DATA\r\n");
  client.Say(".\r\n");
  ASSERT_EQ(accepts_.size(), 1u);
  EXPECT_EQ(accepts_[0].envelopes.size(), 3u);
  AnswerAccept(AcceptResult::kOk);
  client.Say("MAIL FROM:<>\r\n");
  client.Read();
  EXPECT_EQ(client.Say("RCPT TO:<many@x>\r\nRCPT TO:<many@x>\r\n"),
            ok + refused);
}

TEST_F(ReceiveRoomTest, PipelinedRecipientsAreAskedForTogether) {
  answer_expands_ = false;
  Client client(&loop_, room_.get());
  client.Say(
      "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<joe@c.test>\r\n"
      "RCPT TO:<nobody@c.test>\r\nRCPT TO:<ann@c.test>\r\nDATA\r\n");
  ASSERT_EQ(expands_.size(), 3u);
  EXPECT_TRUE(expands_[0].authenticated);
  EXPECT_EQ(expands_[0].helo, "x");
  for (size_t i : {2, 1, 0}) AnswerExpand(expands_[i]);
  EXPECT_EQ(client.Read(),
            "250 2.1.5 Destination address valid: Recipient ok\r\n"
            "550 Invalid recipient: <nobody@c.test>\r\n"
            "250 2.1.5 Destination address valid: Recipient ok\r\n"
            "354 Enter mail, end with \".\" on a line by itself\r\n");
}

TEST_F(ReceiveRoomTest, NoRoomIs452) {
  Client client(&loop_, room_.get());
  client.Say(kOpening);
  client.Say(".\r\n");
  AnswerAccept(AcceptResult::kNoRoom);
  EXPECT_THAT(client.Read(), StartsWith("452 4.3.1 "));
  Tell(false, false);
  EXPECT_THAT(client.Say("MAIL FROM:<a@b>\r\n"), StartsWith("452 4.3.1 "));
  Tell(false, true);
  EXPECT_THAT(client.Say("MAIL FROM:<a@b>\r\n"), StartsWith("250 "));
}

TEST_F(ReceiveRoomTest, ADeadQueueIs451AndAMessageOnItsWay421) {
  Client waiting(&loop_, room_.get());
  waiting.Say(kOpening);
  waiting.Say(".\r\n");
  Client sending(&loop_, room_.get());
  sending.Say(kOpening);
  sending.Say("Subject: x\r\n");
  Client idle(&loop_, room_.get());
  idle.Say("EHLO x\r\n");
  queue_.reset();
  loop_.RunReady();

  EXPECT_THAT(waiting.Read(), StartsWith("451 4.3.0 "));
  EXPECT_EQ(sending.Read(), "");
  EXPECT_EQ(sending.Say("more\r\n.\r\n"), "421 4.3.0 Temporary Error\r\n");
  EXPECT_TRUE(sending.ended());
  EXPECT_THAT(idle.Say("MAIL FROM:<a@b>\r\n"), StartsWith("451 4.3.0 "));

  ConnectQueue();
  EXPECT_THAT(idle.Say("MAIL FROM:<a@b>\r\n"), StartsWith("250 "));
  // Ids of the old door are not used.
  idle.Say("RCPT TO:<joe@c.test>\r\nDATA\r\n");
  idle.Say(".\r\n");
  EXPECT_EQ(accepts_.back().message, MessageId(0x30e4722c + kLeasedIds));
}

TEST_F(ReceiveRoomTest, ADeadLookupIs451) {
  answer_expands_ = false;
  Client client(&loop_, room_.get());
  client.Say("EHLO x\r\nMAIL FROM:<>\r\n");
  EXPECT_EQ(client.Say("RCPT TO:<joe@c.test>\r\n"), "");
  lookup_.reset();
  EXPECT_EQ(client.Read(), "451 Temporary failure: <joe@c.test>\r\n");
  EXPECT_EQ(client.Say("RCPT TO:<joe@c.test>\r\n"),
            "451 Temporary failure: <joe@c.test>\r\n");
  ConnectLookup();
  answer_expands_ = true;
  EXPECT_THAT(client.Say("RCPT TO:<joe@c.test>\r\n"), StartsWith("250 "));
}

TEST_F(ReceiveRoomTest, ALargeBodyGoesInChunksWithinItsCredits) {
  answer_chunks_ = false;
  Client client(&loop_, room_.get());
  client.Say(kOpening);
  const std::string text = RandomText(40000);  // about 3 MB
  const size_t sent = client.Send(text);
  // The client is not read from while the queue does not answer.
  EXPECT_LT(sent, text.size());
  EXPECT_EQ(chunks_.size(), static_cast<size_t>(kChunkCredits));
  answer_chunks_ = true;
  AnswerChunks();
  EXPECT_EQ(client.Send(absl::string_view(text).substr(sent)),
            text.size() - sent);
  client.Send("\r\n.\r\n");
  ASSERT_EQ(accepts_.size(), 0u);  // "!..." is not a header
  EXPECT_THAT(client.Read(), StartsWith("550 5.7.1 "));
  EXPECT_EQ(dropped_.size(), 1u);
}

TEST_F(ReceiveRoomTest, ALargeBodyIsAcceptedWhenItsLastChunkIsKept) {
  Client client(&loop_, room_.get());
  client.Say(kOpening);
  const std::string text = RandomText(20000);
  answer_chunks_ = true;
  EXPECT_EQ(client.Send("Subject: x\r\n\r\n" + text),
            text.size() + strlen("Subject: x\r\n\r\n"));
  answer_chunks_ = false;
  client.Send(".\r\n");
  EXPECT_EQ(accepts_.size(), 0u);
  AnswerChunks();
  loop_.RunReady();
  ASSERT_EQ(accepts_.size(), 1u);
  EXPECT_TRUE(accepts_[0].stored.empty());
  EXPECT_EQ(accepts_[0].body.chunks, chunks_.size());
  for (size_t i = 0; i < chunks_.size(); ++i) EXPECT_EQ(chunks_[i].index, i);
  std::string stored_text;
  for (const char c : text) {
    if (c != '\r') stored_text.push_back(c);
  }
  // RandomText has lines that begin with a dot: those lost it on the way.
  size_t position = 0;
  while ((position = stored_text.find("\n.", position)) != std::string::npos)
    stored_text.erase(++position, 1);
  EXPECT_THAT(AcceptedBody(), EndsWith(stored_text));
  AnswerAccept(AcceptResult::kOk);
  EXPECT_THAT(client.Read(), StartsWith("250 2.0.0 30e4722c "));
  EXPECT_TRUE(dropped_.empty());
}

TEST_F(ReceiveRoomTest, AChunkWithoutRoomRefusesTheMessageAtItsEnd) {
  answer_chunks_ = false;
  Client client(&loop_, room_.get());
  client.Say(kOpening);
  client.Send("Subject: x\r\n\r\n");
  const std::string text = RandomText(40000);
  const size_t sent = client.Send(text);
  AnswerChunks(AcceptResult::kNoRoom);
  EXPECT_EQ(client.Read(), "");
  EXPECT_EQ(client.Send(absl::string_view(text).substr(sent)),
            text.size() - sent);
  EXPECT_THAT(client.Say(".\r\n"), StartsWith("452 4.3.1 "));
  EXPECT_EQ(dropped_.size(), 1u);
  EXPECT_THAT(client.Say("NOOP\r\n"), StartsWith("250 "));
}

TEST_F(ReceiveRoomTest, ADisconnectInsideALargeBodyDropsIt) {
  Client client(&loop_, room_.get());
  client.Say(kOpening);
  client.Send("Subject: x\r\n\r\n" + RandomText(20000));
  EXPECT_FALSE(chunks_.empty());
  client.Close();
  loop_.RunReady();
  EXPECT_EQ(dropped_, std::vector<MessageId>{MessageId(0x30e4722c)});
}

TEST_F(ReceiveRoomTest, AClientThatGoesDuringTheCommitLosesNothing) {
  Client client(&loop_, room_.get());
  client.Say(kOpening);
  client.Say(".\r\n");
  client.Close();
  AnswerAccept(AcceptResult::kOk);
  EXPECT_TRUE(dropped_.empty());
}

TEST_F(ReceiveRoomTest, WaitsForALeaseBeforeAMessageStarts) {
  give_leases_ = false;
  queue_.reset();
  loop_.RunReady();
  ConnectQueue();
  Client client(&loop_, room_.get());
  EXPECT_THAT(client.Say(kOpening), EndsWith("Recipient ok\r\n"));
  Lease lease;
  lease.first = MessageId(0xabc);
  lease.count = 1;
  queue_->Send(lease);
  EXPECT_THAT(client.Read(), StartsWith("354 "));
}

TEST_F(ReceiveRoomTest, ASilentClientIsToldAndClosed) {
  Client client(&loop_, room_.get());
  client.Say("EHLO x\r\n");
  loop_.Advance(kCommandTimeout - absl::Seconds(1));
  EXPECT_FALSE(client.ended());
  loop_.Advance(absl::Seconds(2));
  EXPECT_EQ(client.Read(), "421 4.4.2 Timeout, closing connection\r\n");
  EXPECT_TRUE(client.ended());
}

TEST_F(ReceiveRoomTest, ACommandThatDripsIsSilence) {
  Client client(&loop_, room_.get());
  client.Say("EHLO x\r\n");
  for (int i = 0; i < 31 && !client.ended(); ++i) {
    client.Send("x");
    loop_.Advance(absl::Seconds(10));
  }
  EXPECT_TRUE(client.ended());
}

TEST_F(ReceiveRoomTest, ARefusedMessageHasItsTimeToo) {
  Client client(&loop_, room_.get());
  client.Say(kOpening);
  client.Say("Subject: x\n\r\n");  // a bare LF
  const std::string line(78, 'x');
  for (int i = 0; i < 600; ++i) {
    client.Send(line + line + "\r\n");
    loop_.Advance(absl::Seconds(1));
  }
  EXPECT_THAT(client.Say(".\r\n"), StartsWith("550 5.6.0 "));
  // But not for ever.
  client.Say("MAIL FROM:<a@b>\r\n");
  client.Say("RCPT TO:<joe@c.test>\r\nDATA\r\n");
  client.Say("Subject: x\n\r\n");
  int drops = 0;
  while (!client.ended() && ++drops < 1000) {
    client.Send("x");
    loop_.Advance(absl::Seconds(10));
  }
  EXPECT_LT(drops, 100);
}

TEST_F(ReceiveRoomTest, WhatAClientAskedBeforeItsEndIsAnswered) {
  answer_expands_ = false;
  Client client(&loop_, room_.get());
  client.Read();
  client.Send(kOpening);
  client.Send("Subject: x\r\n\r\n.\r\nQUIT\r\n");
  client.CloseSendingSide();
  AnswerExpand(expands_.at(0));
  loop_.RunReady();
  ASSERT_EQ(accepts_.size(), 1u);
  EXPECT_THAT(client.Read(), EndsWith("itself\r\n"));
  AnswerAccept(AcceptResult::kOk);
  EXPECT_EQ(client.Read(),
            "250 2.0.0 30e4722c Message accepted for delivery\r\n"
            "221 2.0.0 Bye\r\n");
  EXPECT_TRUE(client.ended());
  loop_.Advance(kSessionCountsInterval);
  EXPECT_EQ(counts_.now, 0u);
}

TEST_F(ReceiveRoomTest, AMessageWithoutItsEndIsDroppedWithTheClient) {
  Client client(&loop_, room_.get());
  client.Say(kOpening);
  client.Send("Subject: x\r\n\r\nhello\r\n");
  client.CloseSendingSide();
  EXPECT_EQ(client.Read(), "");
  EXPECT_TRUE(client.ended());
  EXPECT_TRUE(accepts_.empty());
}

// A client that closed its sending side and reads nothing goes, too.
TEST_F(ReceiveRoomTest, RepliesToAClosedSideDoNotWaitForEver) {
  Client client(&loop_, room_.get());
  std::string commands;
  for (int i = 0; i < 2000; ++i) commands += "HELP\r\n";
  client.Send(commands);
  client.CloseSendingSide();
  loop_.Advance(kCommandTimeout + absl::Seconds(2));
  loop_.Advance(kSessionCountsInterval);
  EXPECT_EQ(counts_.now, 0u);
}

TEST_F(ReceiveRoomTest, CompletedAddressesCountToo) {
  Client client(&loop_, room_.get());
  client.Say(kOpening);
  std::string field = "To: a";
  while (field.size() < 60000) field += ",a";
  field += "\r\n";
  size_t sent = 0;
  // "@mx.test" makes five times as much of it.
  for (; sent < kMaxMessageSize / 4; sent += field.size()) client.Send(field);
  EXPECT_EQ(client.Say(".\r\n"),
            "554 5.3.4 Message too big for system: Transaction failed, message "
            "too big\r\n");
  EXPECT_TRUE(accepts_.empty());
}

TEST_F(ReceiveRoomTest, AMessageThatDripsIsEnded) {
  Client client(&loop_, room_.get());
  client.Say(kOpening);
  int drops = 0;
  while (!client.ended() && drops < 1000) {
    client.Send("x");
    loop_.Advance(absl::Seconds(10));
    ++drops;
  }
  EXPECT_GT(drops, 50);
  EXPECT_LT(drops, 100);
}

TEST_F(ReceiveRoomTest, TheCommitMayTakeLong) {
  Client client(&loop_, room_.get());
  client.Say(kOpening);
  client.Say(".\r\n");
  loop_.Advance(absl::Hours(1));
  AnswerAccept(AcceptResult::kOk);
  EXPECT_THAT(client.Read(), StartsWith("250 "));
}

TEST_F(ReceiveRoomTest, AClientThatReadsNoRepliesIsNotReadFrom) {
  Client client(&loop_, room_.get());
  std::string commands;
  for (int i = 0; i < 1000000; ++i) commands += "HELP\r\n";
  EXPECT_LT(client.Send(commands), commands.size());
}

TEST_F(ReceiveRoomTest, PausedMeansNoLocalSessions) {
  Tell(true, true);
  Client client(&loop_, room_.get());
  EXPECT_THAT(client.Read(), StartsWith("421 4.3.2 "));
  EXPECT_TRUE(client.ended());
  Tell(false, true);
  Client later(&loop_, room_.get());
  EXPECT_THAT(later.Read(), StartsWith("220 "));
}

TEST_F(ReceiveRoomTest, TellsTheQueueHowManySessionsThereAre) {
  Client one(&loop_, room_.get());
  Client two(&loop_, room_.get());
  loop_.Advance(kSessionCountsInterval);
  EXPECT_EQ(counts_.now, 2u);
  EXPECT_EQ(counts_.local, 2u);
  one.Close();
  loop_.Advance(kSessionCountsInterval);
  EXPECT_EQ(counts_.now, 1u);
  EXPECT_EQ(counts_.closed, 1u);
}

TEST_F(ReceiveRoomTest, StoppingLetsMessagesFinish) {
  Client idle(&loop_, room_.get());
  idle.Say("EHLO x\r\n");
  Client sending(&loop_, room_.get());
  sending.Say(kOpening);
  room_->OnStop(absl::Seconds(30));
  EXPECT_THAT(idle.Read(), StartsWith("421 4.3.2 "));
  EXPECT_TRUE(idle.ended());
  EXPECT_EQ(exited_, -1);
  EXPECT_EQ(sending.Say(".\r\n"), "");
  AnswerAccept(AcceptResult::kOk);
  const std::string last = sending.Read();
  EXPECT_THAT(last, StartsWith("250 2.0.0 30e4722c "));
  EXPECT_THAT(last, HasSubstr("\r\n421 4.3.2 "));
  sending.Close();
  EXPECT_EQ(exited_, 0);
}

TEST_F(ReceiveRoomTest, StoppingEndsAfterTheGrace) {
  Client sending(&loop_, room_.get());
  sending.Say(kOpening);
  room_->OnStop(absl::Seconds(30));
  loop_.Advance(absl::Seconds(30));
  EXPECT_EQ(exited_, 0);
}

TEST_F(ReceiveRoomTest, AMalformedAnswerOfTheQueueIsADeadQueue) {
  Client client(&loop_, room_.get());
  client.Say(kOpening);
  client.Say(".\r\n");
  queue_->Send(LeaseRequest{});
  EXPECT_THAT(client.Read(), StartsWith("451 "));
}

}  // namespace
}  // namespace holdfast
