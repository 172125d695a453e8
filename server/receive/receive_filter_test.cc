// Sessions that pass filters: what these hear, and what they can do.
#include <cstring>
#include <functional>
#include <set>

#include "absl/strings/str_replace.h"
#include "server/receive/fake_filters.h"
#include "server/receive/receive_test_bed.h"

namespace holdfast {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using Verdict = FilterDecision::Verdict;

constexpr uint32_t kText = MaskOf(FilterPhase::kDataLine);
constexpr uint32_t kCommit = MaskOf(FilterPhase::kCommit);
constexpr uint64_t kMaxText = 200000;

FilterDecision Decision(Verdict verdict, const std::string& text = "") {
  FilterDecision decision;
  decision.verdict = verdict;
  decision.text = text;
  return decision;
}

class ReceiveFilterTest : public ReceiveRoomTest {
 protected:
  explicit ReceiveFilterTest(uint64_t max_message_size = kMaxText)
      : ReceiveRoomTest("f", max_message_size) {
    filters_.Connect();
  }

  // A client that was greeted.
  void Meet(uint32_t phases, uint32_t in = 0) {
    filters_.Want(phases, in);
    client_ = std::make_unique<Client>(&loop_, room_.get());
    EXPECT_THAT(client_->Read(), StartsWith("220 "));
  }
  std::string Say(absl::string_view bytes) { return client_->Say(bytes); }
  // Decides so in this phase, else proceeds.
  void In(FilterPhase phase, FilterDecision decision) {
    filters_.decide = [phase, decision](const FilterQuestion& question) {
      return question.phase == phase ? decision : Decision(Verdict::kProceed);
    };
  }
  // A whole message; what is said to its end once the queue has it.
  std::string Mail(absl::string_view text = "Subject: x\r\n\r\nhi\r\n.\r\n") {
    Say(kOpening);
    const size_t before = accepts_.size();
    std::string said = Say(text);
    if (accepts_.size() == before) return said;
    AnswerAccept(AcceptResult::kOk);
    return said + client_->Read();
  }
  std::vector<std::string> Heard(absl::string_view prefix = "") {
    std::vector<std::string> out;
    for (const std::string& line : filters_.heard) {
      if (absl::StartsWith(line, prefix)) out.push_back(line);
    }
    filters_.heard.clear();
    return out;
  }

  FakeFilters filters_{&loop_, room_.get()};
  std::unique_ptr<Client> client_;
};

constexpr char kAcceptedFirst[] =
    "250 2.0.0 30e4722c Message accepted for delivery\r\n";

TEST_F(ReceiveFilterTest, SessionsWaitUntilFiltersAreReady) {
  Client early(&loop_, room_.get());
  EXPECT_EQ(early.Read(), "");
  filters_.Want(0, 0, "other");
  EXPECT_EQ(early.Read(), "");
  filters_.Want(0);
  EXPECT_EQ(early.Read(), "220 mx.test ESMTP Holdfast\r\n");
  // They may go again before anybody is greeted.
  filters_.Die();
  Client later(&loop_, room_.get());
  EXPECT_EQ(later.Read(), "");
  filters_.Connect();
  filters_.Want(0);
  EXPECT_THAT(later.Read(), StartsWith("220 "));
}

TEST_F(ReceiveFilterTest, NobodyWaitsForFiltersForever) {
  Client early(&loop_, room_.get());
  EXPECT_EQ(early.Read(), "");
  loop_.Advance(kFilterPatience);
  EXPECT_EQ(early.Read(), absl::StrCat(kFiltersLost, "\r\n"));
  EXPECT_TRUE(early.ended());
  // Who was in time is served.
  Client later(&loop_, room_.get());
  filters_.Want(0);
  EXPECT_THAT(later.Read(), StartsWith("220 "));
  loop_.Advance(kFilterPatience - absl::Seconds(1));
  EXPECT_FALSE(later.ended());
}

TEST_F(ReceiveFilterTest, FiltersThatMakeNoSenseGetAnotherRoom) {
  Meet(0);
  EXPECT_EQ(exited_, -1);
  filters_.Send(FilterQuestion{});
  EXPECT_EQ(exited_, 1);
}

TEST_F(ReceiveFilterTest, AMessageIsToldFromItsBeginToItsEnd) {
  Meet(0, kAllFilterEvents & ~(MaskOf(FilterEvent::kProtocolClient) |
                               MaskOf(FilterEvent::kProtocolServer)));
  EXPECT_EQ(Mail(), kAcceptedFirst);
  Say("QUIT\r\n");
  ASSERT_EQ(accepts_.size(), 1u);
  const Envelope& envelope = accepts_[0].envelopes.at(0);
  EXPECT_EQ(MessageOf(envelope.id), MessageId(0x30e4722c));
  EXPECT_THAT(
      Heard(),
      ElementsAre(
          "begin f|mx.test|pass|unix:/var/run/smtpd-enqueue.sock|unix:/var/run/"
          "smtpd-enqueue.sock",
          "link-greeting mx.test", "link-identify EHLO|localhost",
          "tx-begin 30e4722c", "tx-mail 30e4722c|ok|a@b.test",
          absl::StrCat("tx-envelope 30e4722c|", ToString(envelope.id)),
          "tx-rcpt 30e4722c|ok|joe@c.test", "tx-data 30e4722c|ok",
          absl::StrCat("tx-commit 30e4722c|", accepts_[0].body.raw_bytes),
          "tx-reset 30e4722c", "end"));
}

TEST_F(ReceiveFilterTest, TheNextMessageHasTheNextId) {
  Meet(0, kAllFilterEvents);
  Mail();
  EXPECT_THAT(Mail(), StartsWith("250 2.0.0 30e4722d "));
  EXPECT_THAT(Heard("tx-commit"), testing::SizeIs(2));
  EXPECT_NE(accepts_[0].envelopes[0].id, accepts_[1].envelopes[0].id);
}

// ---- Text

TEST_F(ReceiveFilterTest, TextComesBackBeforeTheHeaderIsCompleted) {
  Meet(kText);
  filters_.change = [](const FilterText& text) {
    return absl::StrCat(
        absl::StartsWith(text.bytes, "Received:") ? "X-Filter: on\n" : "",
        text.bytes);
  };
  EXPECT_EQ(Mail("Subject: x\r\nBcc: secret@x.test\r\n\r\n..dots\r\n.\r\n"),
            kAcceptedFirst);
  // What they saw has nothing of ours but Received.
  EXPECT_THAT(filters_.text, StartsWith("Received: from localhost (mx.test "
                                        "[local])\n\tby mx.test"));
  EXPECT_THAT(filters_.text,
              EndsWith("\nSubject: x\nBcc: secret@x.test\n\n.dots\n"));
  EXPECT_TRUE(filters_.text_ended);
  const std::string body = AcceptedBody();
  EXPECT_THAT(body, StartsWith("X-Filter: on\nReceived: from localhost"));
  EXPECT_THAT(body, HasSubstr("\nSubject: x\nDate: "));
  EXPECT_THAT(body, Not(HasSubstr("Bcc")));
  EXPECT_THAT(body, EndsWith("\n\n.dots\n"));
}

TEST_F(ReceiveFilterTest, ChunksPassToo) {
  Meet(kText | kCommit);
  Say("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<joe@c.test>\r\n");
  Say("BDAT 4\r\nA: b");
  EXPECT_THAT(Say("BDAT 8 LAST\r\n\r\n\r\n.\r\nc"), "");
  AnswerAccept(AcceptResult::kOk);
  EXPECT_EQ(client_->Read(), kAcceptedFirst);
  EXPECT_THAT(AcceptedBody(), HasSubstr("\nA: b\n"));
  EXPECT_THAT(AcceptedBody(), EndsWith("\n\n.\nc\n"));
}

TEST_F(ReceiveFilterTest, WhatFiltersDoNotTakeIsNotReadFromTheClient) {
  Meet(kText);
  filters_.change = nullptr;
  Say(kOpening);
  Say("\r\n");
  std::string text;
  for (int i = 0; i < 2000; ++i)
    absl::StrAppend(&text, i, std::string(70, 'x'), "\r\n");
  const size_t sent = client_->Send(text);
  EXPECT_GT(filters_.untaken, kFilterWindow / 2);
  EXPECT_LE(filters_.untaken, kFilterWindow);
  // They think long: nobody is timed out for that.
  loop_.Advance(absl::Minutes(20));
  EXPECT_FALSE(client_->ended());
  // Once they take it, it goes on.
  filters_.change = [](const FilterText& piece) { return piece.bytes; };
  const std::string held = filters_.text;
  filters_.Return(held, false);
  filters_.Take(std::exchange(filters_.untaken, 0));
  client_->Send(absl::string_view(text).substr(sent));
  Say(".\r\n");
  ASSERT_EQ(accepts_.size(), 1u);
  EXPECT_TRUE(absl::EndsWith(AcceptedBody(),
                             absl::StrReplaceAll(text, {{"\r\n", "\n"}})));
}

TEST_F(ReceiveFilterTest, WhatTheQueueDoesNotTakeGetsNoCredit) {
  Meet(kText);
  answer_chunks_ = false;
  filters_.change = [](const FilterText&) { return ""; };
  Say(kOpening);
  Say("\r\n");
  // A filter that makes much of little.
  filters_.Return(absl::StrCat("\n", absl::StrReplaceAll(RandomText(2700),
                                                         {{"\r\n", "\n"}})),
                  false);
  EXPECT_LE(chunks_.size(), size_t{kChunkCredits} + 1);
  const size_t before = chunks_.size();
  answer_chunks_ = true;
  AnswerChunks();
  loop_.RunReady();
  EXPECT_GE(chunks_.size(), before);
  filters_.change = nullptr;
  Say("x\r\n.\r\n");
  filters_.Take(std::exchange(filters_.untaken, 0));
  filters_.Return("", true);
  ASSERT_EQ(accepts_.size(), 1u);
  EXPECT_GT(accepts_[0].body.raw_bytes, 200000u);
}

TEST_F(ReceiveFilterTest, AMessageMayNotGrowForever) {
  Meet(kText, MaskOf(FilterEvent::kTxRollback));
  filters_.change = nullptr;
  Say(kOpening);
  Say("\r\nx\r\n.\r\n");
  const std::string grown =
      absl::StrCat("\n", std::string(kMaxText + 2 * kHeaderAllowance, 'x'));
  filters_.Return(grown, true);
  EXPECT_THAT(client_->Read(), StartsWith("554 5.3.4 "));
  EXPECT_THAT(Heard("tx-rollback"), ElementsAre("tx-rollback 30e4722c"));
  EXPECT_THAT(accepts_, IsEmpty());
  // While it is still being sent, too.
  Say(kOpening);
  Say("\r\nx\r\n");
  filters_.Return(grown, false);
  EXPECT_THAT(Say(".\r\n"), StartsWith("554 5.3.4 "));
  EXPECT_EQ(filters_.drops, 2);
  // The session goes on.
  filters_.change = [](const FilterText& text) { return text.bytes; };
  EXPECT_THAT(Mail(), HasSubstr("Message accepted"));
}

TEST_F(ReceiveFilterTest, TextThatIsNoHeaderMayNotFlowForever) {
  Meet(kText);
  filters_.change = nullptr;
  Say(kOpening);
  Say("\r\nx\r\n.\r\n");
  std::string lines;
  while (lines.size() <= kMaxText + kHeaderAllowance) lines += "no header\n";
  filters_.Return(lines, false);
  EXPECT_THAT(client_->Read(), StartsWith("554 5.3.4 "));
  EXPECT_EQ(filters_.drops, 1);
}

TEST_F(ReceiveFilterTest, FiltersMayGiveTheTextUp) {
  Meet(kText | kCommit);
  filters_.change = nullptr;
  Say(kOpening);
  filters_.Drop("500 5.6.0 Line too long");
  EXPECT_EQ(filters_.drops, 1);
  EXPECT_EQ(Say("\r\nx\r\n.\r\n"), "500 5.6.0 Line too long\r\n");
  // At its end.
  Say(kOpening);
  Say("\r\nx\r\n.\r\n");
  filters_.Drop("451 4.3.0 Temporary failure");
  EXPECT_EQ(client_->Read(), "451 4.3.0 Temporary failure\r\n");
  EXPECT_THAT(Heard("ask"), IsEmpty());
  filters_.change = [](const FilterText& text) { return text.bytes; };
  EXPECT_THAT(Mail(), HasSubstr("Message accepted"));
}

TEST_F(ReceiveFilterTest, AMessageWithoutAHeaderIsStillMalformed) {
  Meet(kText);
  filters_.change = [](const FilterText& text) {
    return absl::StrReplaceAll(text.bytes, {{"Subject: ", "Sub ject "}});
  };
  EXPECT_THAT(Mail(), StartsWith("550 5.7.1 "));
}

TEST_F(ReceiveFilterTest, ResetBetweenChunksGivesTheTextUp) {
  Meet(kText, MaskOf(FilterEvent::kTxReset));
  Say("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<joe@c.test>\r\n");
  Say("BDAT 4\r\nA: b");
  EXPECT_EQ(Say("RSET\r\n"), "250 2.0.0 Reset state\r\n");
  EXPECT_EQ(filters_.drops, 1);
  EXPECT_THAT(Heard("tx-"), ElementsAre("tx-reset 30e4722c"));
  EXPECT_THAT(Mail(), HasSubstr("Message accepted"));
}

TEST_F(ReceiveFilterTest, AClientThatGoesInItsTextIsToldOf) {
  Meet(kText, kAllFilterEvents);
  Say(kOpening);
  Say("\r\nx\r\n");
  Heard();
  client_->Close();
  EXPECT_THAT(Heard(),
              ElementsAre("tx-rollback 30e4722c", "tx-reset 30e4722c", "end"));
  // It must not look as if it were complete.
  EXPECT_EQ(filters_.drops, 0);
  EXPECT_FALSE(filters_.text_ended);
  EXPECT_THAT(accepts_, IsEmpty());
}

// The window has no room for its end, and nothing is taken.
class TextEndTest : public ReceiveFilterTest {
 protected:
  TextEndTest() : ReceiveFilterTest(kMaxMessageSize) {
    Meet(kText);
    filters_.change = nullptr;
    Say(kOpening);
    std::string text = "Subject: x\r\n\r\n";
    while (text.size() < 63700) text += std::string(70, 'a') + "\r\n";
    EXPECT_EQ(Say(text + ".\r\n"), "");
    EXPECT_THAT(filters_.text, EndsWith("a\n"));
    EXPECT_GT(filters_.untaken, kFilterWindow - 4096);
    EXPECT_FALSE(filters_.text_ended);
  }
  // It was refused, and is not begun anew by its end.
  void ExpectRefused(absl::string_view reply) {
    const std::string text = filters_.text;
    EXPECT_EQ(client_->Read(), absl::StrCat(reply, "\r\n"));
    EXPECT_EQ(filters_.text, text);
    EXPECT_FALSE(filters_.text_ended);
    EXPECT_THAT(accepts_, IsEmpty());
  }
  void ExpectSessionGoesOn() {
    filters_.change = [](const FilterText& text) { return text.bytes; };
    EXPECT_THAT(Mail(), HasSubstr("Message accepted"));
    ASSERT_EQ(accepts_.size(), 1u);
    EXPECT_THAT(AcceptedBody(), EndsWith("\n\nhi\n"));
  }
};

TEST_F(TextEndTest, FiltersMayGiveTheTextUpWhileItsEndWaits) {
  filters_.Drop("451 4.3.0 Temporary failure");
  ExpectRefused("451 4.3.0 Temporary failure");
  ExpectSessionGoesOn();
}

TEST_F(TextEndTest, TheQueueMayGoWhileTheEndOfATextWaits) {
  queue_.reset();
  loop_.RunReady();
  ExpectRefused(replies::TemporaryError().FirstLine());
  EXPECT_EQ(filters_.drops, 1);
  EXPECT_TRUE(client_->ended());
}

TEST_F(TextEndTest, FiltersMayGoWhileTheEndOfATextWaits) {
  filters_.Die();
  ExpectRefused(kFiltersLost);
  EXPECT_TRUE(client_->ended());
}

TEST_F(TextEndTest, TheQueueMayHaveNoRoomWhileTheEndOfATextWaits) {
  answer_chunks_ = false;
  filters_.Return(absl::StrCat("\n", absl::StrReplaceAll(RandomText(2700),
                                                         {{"\r\n", "\n"}})),
                  false);
  ASSERT_THAT(chunks_, Not(IsEmpty()));
  AnswerChunks(AcceptResult::kNoRoom);
  loop_.RunReady();
  ExpectRefused(replies::NoRoom().FirstLine());
  answer_chunks_ = true;
  ExpectSessionGoesOn();
}

TEST_F(TextEndTest, ARefusedTextLeavesTheNextTheWholeWindow) {
  filters_.Take(std::exchange(filters_.untaken, 0));
  EXPECT_TRUE(filters_.text_ended);
  // All is back, and not all of it taken by the queue.
  answer_chunks_ = false;
  const std::string lines =
      absl::StrReplaceAll(RandomText(100), {{"\r\n", "\n"}});
  filters_.Return("Subject: x\n\n", false);
  for (int i = 0; i < 1000 && filters_.credit() == kFilterWindow; ++i)
    filters_.Return(lines, false);
  filters_.Return(lines, true);
  EXPECT_LT(filters_.credit(), kFilterWindow);
  AnswerChunks(AcceptResult::kNoRoom);
  EXPECT_EQ(client_->Read(),
            absl::StrCat(replies::NoRoom().FirstLine(), "\r\n"));
  EXPECT_EQ(filters_.drops, 0);
  EXPECT_EQ(filters_.credit(), kFilterWindow);
  answer_chunks_ = true;
  Say(kOpening);
  Say("Subject: x\r\n\r\nhi\r\n.\r\n");
  filters_.Return(
      absl::StrCat("Subject: x\n\n", std::string(kFilterWindow - 12, 'x')),
      true);
  EXPECT_EQ(exited_, -1);
  EXPECT_EQ(accepts_.size(), 1u);
}

// ---- Decisions

TEST_F(ReceiveFilterTest, JunkIsMarkedInTheFirstLine) {
  // Without filters for the text, of the message, once.
  Meet(FakeFilters::kAllPhases & ~kText);
  In(FilterPhase::kRcptTo, Decision(Verdict::kJunk));
  Mail();
  EXPECT_THAT(AcceptedBody(), StartsWith("X-Spam: Yes\nReceived: from "));
  In(FilterPhase::kRcptTo, Decision(Verdict::kProceed));
  Mail();
  EXPECT_THAT(AcceptedBody(), StartsWith("Received: from "));
  // Before there is a transaction, of the session.
  In(FilterPhase::kMailFrom, Decision(Verdict::kJunk));
  Mail();
  In(FilterPhase::kMailFrom, Decision(Verdict::kProceed));
  Mail();
  EXPECT_THAT(AcceptedBody(), StartsWith("X-Spam: Yes\nReceived: from "));
}

TEST_F(ReceiveFilterTest, FiltersOfTheTextSeeTheMarkToo) {
  In(FilterPhase::kData, Decision(Verdict::kJunk));
  Meet(FakeFilters::kAllPhases);
  Mail();
  EXPECT_THAT(filters_.text, StartsWith("X-Spam: Yes\nReceived: from "));
  EXPECT_THAT(AcceptedBody(), StartsWith("X-Spam: Yes\nReceived: from "));
}

TEST_F(ReceiveFilterTest, ARejectedCommitQueuesNothing) {
  Meet(FakeFilters::kAllPhases, kAllFilterEvents);
  In(FilterPhase::kCommit, Decision(Verdict::kReject, "550 5.7.1 Spam"));
  EXPECT_EQ(Mail(), "550 5.7.1 Spam\r\n");
  EXPECT_THAT(accepts_, IsEmpty());
  EXPECT_THAT(Heard("tx-r"),
              ElementsAre("tx-rcpt 30e4722c|ok|joe@c.test",
                          "tx-rollback 30e4722c", "tx-reset 30e4722c"));
  In(FilterPhase::kCommit, Decision(Verdict::kDisconnect, "550 5.7.1 Go"));
  EXPECT_EQ(Mail(), "550 5.7.1 Go\r\n");
  EXPECT_TRUE(client_->ended());
}

TEST_F(ReceiveFilterTest, ARewrittenRecipientIsTheOneThatGetsIt) {
  Meet(MaskOf(FilterPhase::kRcptTo));
  In(FilterPhase::kRcptTo, Decision(Verdict::kRewrite, "<ann@x.test>"));
  Mail();
  EXPECT_EQ(accepts_.at(0).envelopes.at(0).rcpt.ToString(), "ann@x.test");
  EXPECT_EQ(expands_.back().rcpt.ToString(), "ann@x.test");
}

TEST_F(ReceiveFilterTest, PhasesMayBeWantedLater) {
  Meet(0);
  EXPECT_EQ(Say("NOOP\r\n"), "250 2.0.0 Ok\r\n");
  In(FilterPhase::kNoop,
     Decision(Verdict::kDisconnect, "421 4.3.0 Temporary failure"));
  filters_.Want(FakeFilters::kAllPhases);
  EXPECT_EQ(Say("NOOP\r\n"), "421 4.3.0 Temporary failure\r\n");
  EXPECT_TRUE(client_->ended());
}

// ---- What milters do at the end

TEST_F(ReceiveFilterTest, TheEnvelopeMayBeChangedAtCommit) {
  Meet(kCommit, MaskOf(FilterEvent::kTxEnvelope));
  FilterDecision decision = Decision(Verdict::kProceed);
  decision.changes_sender = true;
  decision.sender = "<new@s.test>";
  decision.remove_recipients = {"<JOE@c.test>", "<notthere@x.test>"};
  decision.add_recipients = {"<two@x.test>", "<ann@x.test>"};
  In(FilterPhase::kCommit, decision);
  EXPECT_EQ(Mail(), kAcceptedFirst);
  ASSERT_EQ(accepts_.size(), 1u);
  std::vector<std::string> rcpts;
  std::set<EnvelopeId> ids;
  for (const Envelope& envelope : accepts_[0].envelopes) {
    EXPECT_EQ(envelope.sender.ToString(), "new@s.test");
    EXPECT_EQ(MessageOf(envelope.id), accepts_[0].message);
    ids.insert(envelope.id);
    rcpts.push_back(envelope.rcpt.ToString());
  }
  EXPECT_THAT(rcpts, ElementsAre("two@x.test", "two@x.test", "ann@x.test"));
  EXPECT_EQ(ids.size(), 3u);
  EXPECT_THAT(Heard("tx-envelope"), testing::SizeIs(4));
  EXPECT_EQ(expands_.back().sender.ToString(), "new@s.test");
}

TEST_F(ReceiveFilterTest, OneOfSeveralRecipientsMayBeRemoved) {
  Meet(kCommit);
  FilterDecision decision = Decision(Verdict::kProceed);
  decision.remove_recipients = {"<two@c.test>"};
  In(FilterPhase::kCommit, decision);
  Say("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<ann@c.test>\r\n"
      "RCPT TO:<two@c.test>\r\nRCPT TO:<joe@c.test>\r\nDATA\r\n\r\n.\r\n");
  ASSERT_EQ(accepts_.size(), 1u);
  ASSERT_EQ(accepts_[0].envelopes.size(), 2u);
  EXPECT_EQ(accepts_[0].envelopes[0].rcpt.user, "ann");
  EXPECT_EQ(accepts_[0].envelopes[1].rcpt.user, "joe");
}

TEST_F(ReceiveFilterTest, ARecipientIsRemovedAsItWasWritten) {
  Meet(kCommit);
  FilterDecision decision = Decision(Verdict::kProceed);
  decision.remove_recipients = {"<\"joe\"@c.test>", "<ann>"};
  In(FilterPhase::kCommit, decision);
  Say("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<\"joe\"@c.test>\r\n"
      "RCPT TO:<two@c.test>\r\nRCPT TO:<ann>\r\nDATA\r\n\r\n.\r\n");
  ASSERT_EQ(accepts_.size(), 1u);
  ASSERT_EQ(accepts_[0].envelopes.size(), 2u);
  EXPECT_EQ(accepts_[0].envelopes[0].rcpt.user, "two");
}

TEST_F(ReceiveFilterTest, AChangeThatCannotBeMadeRefusesForNow) {
  Meet(kCommit);
  FilterDecision decision = Decision(Verdict::kProceed);
  decision.add_recipients = {"<ann@x.test>", "<nobody@x.test>"};
  In(FilterPhase::kCommit, decision);
  EXPECT_EQ(Mail(), "451 4.3.0 Temporary failure\r\n");
  decision.add_recipients = {"no path"};
  In(FilterPhase::kCommit, decision);
  EXPECT_EQ(Mail(), "451 4.3.0 Temporary failure\r\n");
  decision.add_recipients.clear();
  decision.changes_sender = true;
  decision.sender = "no path";
  In(FilterPhase::kCommit, decision);
  EXPECT_EQ(Mail(), "451 4.3.0 Temporary failure\r\n");
  EXPECT_THAT(accepts_, IsEmpty());
}

TEST_F(ReceiveFilterTest, MailForNobodyIsTakenAndForgotten) {
  Meet(kCommit);
  FilterDecision decision = Decision(Verdict::kProceed);
  decision.remove_recipients = {"<joe@c.test>"};
  In(FilterPhase::kCommit, decision);
  EXPECT_EQ(Mail(), kAcceptedFirst);
  EXPECT_THAT(accepts_, IsEmpty());
}

TEST_F(ReceiveFilterTest, AQuarantinedMessageIsHeld) {
  Meet(kCommit);
  FilterDecision decision = Decision(Verdict::kProceed);
  decision.quarantine = true;
  decision.reason = "looks strange";
  In(FilterPhase::kCommit, decision);
  EXPECT_EQ(Mail(), kAcceptedFirst);
  EXPECT_EQ(accepts_.at(0).envelopes.at(0).flags & kFlagHeld,
            uint32_t{kFlagHeld});
  In(FilterPhase::kCommit, Decision(Verdict::kProceed));
  Mail();
  EXPECT_EQ(accepts_.at(1).envelopes.at(0).flags & kFlagHeld, 0u);
}

TEST_F(ReceiveFilterTest, ADiscardedMessageIsTakenAndForgotten) {
  for (const FilterPhase phase : {FilterPhase::kMailFrom, FilterPhase::kRcptTo,
                                  FilterPhase::kData, FilterPhase::kCommit}) {
    Meet(FakeFilters::kAllPhases, MaskOf(FilterEvent::kTxCommit));
    In(phase, Decision(Verdict::kDiscard));
    EXPECT_THAT(Mail(), HasSubstr("Message accepted for delivery"));
    EXPECT_THAT(Heard("tx-commit"), testing::SizeIs(1));
    EXPECT_THAT(accepts_, IsEmpty());
    // The next is not.
    filters_.decide = [](const FilterQuestion&) {
      return Decision(Verdict::kProceed);
    };
    EXPECT_THAT(Mail(), HasSubstr("Message accepted for delivery"));
    EXPECT_EQ(accepts_.size(), 1u);
    accepts_.clear();
    Heard();
  }
}

// ---- The room dies

TEST_F(ReceiveFilterTest, WithTheRoomItsSessionsEnd) {
  Meet(MaskOf(FilterPhase::kMailFrom));
  Say("EHLO x\r\n");
  filters_.decide = nullptr;
  EXPECT_EQ(Say("MAIL FROM:<a@b>\r\n"), "");
  filters_.Die();
  EXPECT_EQ(client_->Read(), "451 4.3.0 Temporary failure\r\n");
  filters_.Connect();
  filters_.Want(0);
  // Nobody wants to be asked of NOOP, but this session nobody knows.
  EXPECT_EQ(Say("NOOP\r\n"), "421 4.3.0 Temporary Error\r\n");
  EXPECT_TRUE(client_->ended());
  // A new one is known.
  Heard();
  Meet(0);
  EXPECT_EQ(Heard("begin").size(), 1u);
  EXPECT_THAT(Mail(), HasSubstr("Message accepted"));
}

TEST_F(ReceiveFilterTest, AMessageIsLostWithTheRoom) {
  // While it is read, at its end, and while they decide.
  for (const char* text : {"\r\nx\r\n", "\r\nx\r\n.\r\n"}) {
    if (filters_.door() == nullptr) filters_.Connect();
    Meet(kText | kCommit);
    filters_.change = nullptr;
    Say(kOpening);
    Say(text);
    filters_.Die();
    if (text[strlen(text) - 3] != '.') client_->Send(".\r\n");
    EXPECT_EQ(client_->Read(), "421 4.3.0 Temporary Error\r\n");
    EXPECT_TRUE(client_->ended());
  }
  filters_.Connect();
  Meet(kCommit);
  filters_.decide = nullptr;
  Say(kOpening);
  Say("\r\nx\r\n.\r\n");
  filters_.Die();
  EXPECT_EQ(client_->Read(), "421 4.3.0 Temporary Error\r\n");
  EXPECT_THAT(accepts_, IsEmpty());
}

TEST_F(ReceiveFilterTest, WithTheQueueAMessageIsLost) {
  Meet(kText | kCommit);
  filters_.decide = nullptr;
  Say(kOpening);
  Say("\r\nx\r\n.\r\n");
  queue_.reset();
  loop_.RunReady();
  filters_.Decide(Decision(Verdict::kProceed));
  EXPECT_THAT(client_->Read(), StartsWith("421 "));
  // An id of the old queue means nothing to the new one.
  ConnectQueue();
  filters_.decide = [](const FilterQuestion&) {
    return Decision(Verdict::kProceed);
  };
  Meet(0);
  Say("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
  ConnectQueue();
  EXPECT_EQ(Say("DATA\r\n"), "451 4.3.0 Temporary failure\r\n");
}

TEST_F(ReceiveFilterTest, WhatTheQueueKeepsIsToldThoughTheClientHasGone) {
  Meet(0, kAllFilterEvents);
  Say(kOpening);
  Say("\r\nx\r\n.\r\n");
  ASSERT_EQ(accepts_.size(), 1u);
  Heard();
  client_->Close();
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(Heard("tx-"), IsEmpty());
  AnswerAccept(AcceptResult::kOk);
  EXPECT_THAT(Heard("tx-"), ElementsAre(StartsWith("tx-commit 30e4722c|"),
                                        "tx-reset 30e4722c"));
}

// ---- Bounds

TEST_F(ReceiveFilterTest, AClientIsNotHeardWhileItsEventsWait) {
  Meet(0, kAllFilterEvents);
  filters_.door()->PauseReading();
  std::string noops;
  for (int i = 0; i < 400000; ++i) noops += "NOOP\r\n";
  const size_t sent = client_->Send(noops);
  EXPECT_LT(sent, noops.size());
  filters_.door()->ResumeReading();
  loop_.RunReady();
  client_->Read();
  EXPECT_GT(client_->Send(absl::string_view(noops).substr(sent)), 0u);
}

TEST_F(ReceiveFilterTest, ASilentClientIsToldOf) {
  Meet(0, kAllFilterEvents);
  Say("EHLO x\r\nMAIL FROM:<a@b>\r\n");
  Heard();
  loop_.Advance(kCommandTimeout + absl::Minutes(1));
  EXPECT_THAT(client_->Read(), StartsWith("421 "));
  EXPECT_THAT(Heard(),
              ElementsAre("timeout ", StartsWith("protocol-server 421 "),
                          "tx-rollback 30e4722c", "tx-reset 30e4722c", "end"));
}

}  // namespace
}  // namespace holdfast
