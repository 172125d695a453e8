#include "protocol/smtp_client_session.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/smtp_client_dialogue.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Dialogue = SmtpClientDialogue;
using Server = ScriptedSmtpServer;

TEST(SmtpClientSessionTest, AMessageInThreeWrites) {
  Dialogue d;
  d.to_send = {MessageTo({"a@b.test", "c@b.test"})};
  d.Run();
  EXPECT_THAT(d.writes,
              ElementsAre("EHLO me.test\r\n",
                          "MAIL FROM:<from@a.test>\r\nRCPT TO:<a@b.test>\r\n"
                          "RCPT TO:<c@b.test>\r\nDATA\r\n",
                          "Subject: x\r\n\r\n..dot\r\n.\r\n", "QUIT\r\n"));
  EXPECT_THAT(d.results,
              ElementsAre("Ok 250 2.0.0 queued", "Ok 250 2.0.0 queued"));
  EXPECT_EQ(d.end, "");
}

TEST(SmtpClientSessionTest, OneCommandAtATimeWithoutPipelining) {
  Dialogue d;
  d.server.extensions = {"pipelining"};  // not the word
  d.to_send = {MessageTo({"a@b.test", "c@b.test"})};
  d.Run();
  EXPECT_THAT(
      d.writes,
      ElementsAre("EHLO me.test\r\n", "MAIL FROM:<from@a.test>\r\n",
                  "RCPT TO:<a@b.test>\r\n", "RCPT TO:<c@b.test>\r\n",
                  "DATA\r\n", "Subject: x\r\n\r\n..dot\r\n.\r\n", "QUIT\r\n"));
  EXPECT_THAT(d.results,
              ElementsAre("Ok 250 2.0.0 queued", "Ok 250 2.0.0 queued"));
}

TEST(SmtpClientSessionTest, EveryCutOfTheRepliesGivesTheSame) {
  for (size_t piece = 1; piece < 40; ++piece) {
    Dialogue d;
    d.server.answers["RCPT"] = {"550-5.1.1 No such user\r\n550 5.1.1 here"};
    d.to_send = {MessageTo({"a@b.test", "c@b.test"}), MessageTo({"d@b.test"})};
    d.Run(piece);
    EXPECT_THAT(d.results,
                ElementsAre("Perm 550-5.1.1 No such user here",
                            "Ok 250 2.0.0 queued", "Ok 250 2.0.0 queued"))
        << piece;
    EXPECT_EQ(d.end, "");
  }
}

TEST(SmtpClientSessionTest, ParametersWhereOffered) {
  SmtpTransaction t = MessageTo({"a@b.test"});
  t.dsn_ret = DsnReturn::kHeaders;
  t.dsn_envid = "id+20";
  t.eight_bit = true;
  t.recipients[0].dsn_notify = kNotifyDelay | kNotifySuccess | kNotifyFailure;
  t.recipients[0].dsn_orcpt = "rfc822;o@b.test";
  Dialogue d;
  d.server.extensions = {"SIZE 1000", "DSN", "8BITMIME", "STARTTLS"};
  d.to_send = {t};
  d.Run();
  EXPECT_THAT(
      d.server.commands(),
      ElementsAre("EHLO me.test",
                  "MAIL FROM:<from@a.test> SIZE=10 BODY=8BITMIME RET=HDRS "
                  "ENVID=id+20",
                  "RCPT TO:<a@b.test> NOTIFY=SUCCESS,FAILURE,DELAY "
                  "ORCPT=rfc822;o@b.test",
                  "DATA", ".", "QUIT"));
  Dialogue plain;
  plain.server.extensions = {};
  plain.to_send = {t};
  plain.Run();
  EXPECT_EQ(plain.server.commands()[1], "MAIL FROM:<from@a.test>");
  EXPECT_EQ(plain.server.commands()[2], "RCPT TO:<a@b.test>");
}

TEST(SmtpClientSessionTest, WhatCannotBeSentIsNot) {
  SmtpTransaction evil = MessageTo({"a@b.test"});
  evil.sender = "x> SIZE=1\r\nRCPT TO:<y";
  SmtpTransaction large = MessageTo({"a@b.test"});
  large.wire_bytes = 1001;
  Dialogue d;
  d.server.extensions = {"SIZE 1000", "PIPELINING"};
  d.to_send = {large, evil,
               MessageTo({"a@b.test>\r\nDATA", "", "ok@b.test", "a b@b.test",
                          "\"a> b\"@b.test"})};
  d.Run();
  EXPECT_THAT(
      d.results,
      ElementsAre("Perm message too large for peer",
                  "Perm Invalid sender address",
                  "Perm Invalid recipient address",
                  "Perm Invalid recipient address", "Ok 250 2.0.0 queued",
                  "Perm Invalid recipient address", "Ok 250 2.0.0 queued"));
  EXPECT_EQ(d.server.messages().size(), 1u);
}

TEST(SmtpClientSessionTest, ALoneDotWhenNobodyWasAcceptedButTheServerWaits) {
  Dialogue d;
  d.server.answers["RCPT"] = {"550 no", "450 later"};
  d.server.answers["DATA"] = {"354 go"};
  d.to_send = {MessageTo({"a@b.test", "c@b.test"}), MessageTo({"d@b.test"})};
  d.Run();
  EXPECT_THAT(d.results, ElementsAre("Perm 550 no", "Temp 450 later",
                                     "Ok 250 2.0.0 queued"));
  EXPECT_EQ(d.writes[2], ".\r\n");
  EXPECT_THAT(d.writes[3], HasSubstr("MAIL"));  // without RSET
  EXPECT_THAT(d.writes[3], ::testing::Not(HasSubstr("RSET")));
}

TEST(SmtpClientSessionTest, RsetGoesBeforeTheNextMailWhereItMust) {
  for (const bool pipelining : {true, false}) {
    for (const char* stage : {"MAIL", "RCPT", "DATA"}) {
      Dialogue d;
      if (!pipelining) d.server.extensions = {};
      d.server.answers[stage] = {"550 no"};
      d.to_send = {MessageTo({"a@b.test"}), MessageTo({"d@b.test"})};
      d.Run();
      EXPECT_THAT(d.results, ElementsAre("Perm 550 no", "Ok 250 2.0.0 queued"));
      EXPECT_THAT(absl::StrJoin(d.server.commands(), "|"),
                  HasSubstr("|RSET|MAIL"));
    }
    Dialogue fine;
    fine.to_send = {MessageTo({"a@b.test"}), MessageTo({"d@b.test"})};
    fine.server.answers["dot"] = {"554 no"};
    fine.Run();
    EXPECT_THAT(fine.results,
                ElementsAre("Perm 554 no", "Ok 250 2.0.0 queued"));
    EXPECT_THAT(absl::StrJoin(fine.server.commands(), "|"),
                ::testing::Not(HasSubstr("RSET")));
  }
}

// Stage x answer.  The first message meets the answer, the second shows what
// became of the session.
struct Disposition {
  const char* first;   // result of the first message; "-": never begun
  const char* second;  // of the second; "-": never begun
  const char* end;     // "": QUIT
};

Disposition Expected(const std::string& stage, const std::string& answer) {
  const bool greeting = stage == "banner" || stage == "EHLO" || stage == "HELO";
  const bool close = answer == Server::kClose;
  const bool silence = answer == Server::kSilence;
  const bool junk = answer == "junk";
  const char* lost = close     ? "closed"
                     : silence ? "Connection timeout"
                               : "Bad response: junk";
  if (stage == "QUIT")
    return {"Ok 250 2.0.0 queued", "Ok 250 2.0.0 queued", ""};
  if (answer == "250 yes") {
    if (stage == "DATA")
      return {"Temp Bad response: 250 yes", "-", "Bad response: 250 yes"};
    return {stage == "RSET" ? "Perm 550 no" : "Ok", "Ok", ""};
  }
  if (greeting) {
    if (close || silence || junk) return {"-", "-", lost};
    // A refused EHLO is followed by HELO, but for 421.
    if (stage == "EHLO" && answer != "421 busy") return {"Ok", "Ok", ""};
    return {"-", "-", "rejected"};
  }
  if (stage == "RSET") {
    // After the first message failed; nothing was tried of the second.
    if (close || silence || junk) return {"Perm 550 no", "NotTried", lost};
    if (answer == "421 busy") return {"Perm 550 no", "NotTried", "421 busy"};
    return {"Perm 550 no", "Ok", ""};
  }
  if (close || silence || junk) return {"Temp", "-", lost};
  if (answer == "421 busy") return {"Temp 421 busy", "NotTried", "421 busy"};
  if (answer == "354 go on" && stage == "DATA") return {"Ok", "Ok", ""};
  if (answer == "554 never") return {"Perm 554 never", "Ok", ""};
  if (answer == "354 go on") return {"Temp 354 go on", "Ok", ""};
  return {"Temp 451 later", "Ok", ""};
}

TEST(SmtpClientSessionTest, EveryAnswerAtEveryStage) {
  for (const bool pipelining : {true, false})
    for (const char* stage : {"banner", "EHLO", "HELO", "MAIL", "RCPT", "DATA",
                              "dot", "RSET", "QUIT"})
      for (const char* answer :
           {"250 yes", "354 go on", "451 later", "554 never", "421 busy",
            Server::kClose, Server::kSilence, "junk"}) {
        SCOPED_TRACE(absl::StrCat(stage, " ", answer, " ", pipelining));
        Dialogue d;
        if (!pipelining) d.server.extensions = {};
        const std::string s = stage;
        if (s == "HELO") d.server.answers["EHLO"] = {"502 what?"};
        if (s == "RSET") d.server.answers["RCPT"] = {"550 no"};
        d.server.answers[stage] = {answer};
        d.to_send = {MessageTo({"a@b.test"}), MessageTo({"d@b.test"})};
        d.Run();
        if (!d.session->over()) {
          EXPECT_STREQ(answer, Server::kSilence);
          d.Timeout();
        }
        const Disposition want = Expected(stage, answer);
        d.results.resize(2);
        const std::string first = d.results[0].empty() ? "-" : d.results[0];
        std::string second = d.results[1].empty() ? "-" : d.results[1];
        EXPECT_THAT(first, ::testing::StartsWith(want.first));
        // 421 may come before the second message was begun.
        if (second != "-" || std::string(answer) != "421 busy") {
          EXPECT_THAT(second, ::testing::StartsWith(want.second));
        }
        EXPECT_THAT(d.end, HasSubstr(want.end));
        if (*want.end == '\0') {
          EXPECT_EQ(d.end, "");
        }
        // What the server has is what we say it has.
        const size_t ok =
            absl::StartsWith(first, "Ok") + absl::StartsWith(second, "Ok");
        EXPECT_EQ(d.server.messages().size(), ok);
      }
}

TEST(SmtpClientSessionTest, RecipientsHaveEachTheirOwnResult) {
  for (const bool pipelining : {true, false}) {
    Dialogue d;
    if (!pipelining) d.server.extensions = {};
    d.server.answers["RCPT TO:<b@x>"] = {"450 4.2.2 full"};
    d.server.answers["RCPT TO:<c@x>"] = {"550 5.1.1 unknown"};
    d.server.answers["DATA"] = {"354 go"};
    d.server.answers["dot"] = {"451 try again"};
    d.to_send = {MessageTo({"a@x", "b@x", "c@x", "d@x"})};
    d.Run();
    EXPECT_THAT(d.results,
                ElementsAre("Temp 451 try again", "Temp 450 4.2.2 full",
                            "Perm 550 5.1.1 unknown", "Temp 451 try again"));
  }
}

TEST(SmtpClientSessionTest, RefusedMailFailsAllWhateverRcptAndDataSay) {
  Dialogue d;
  d.server.answers["MAIL"] = {"552 5.3.4 too much"};
  d.server.answers["RCPT"] = {"250 sure", "450 hm"};
  d.server.answers["DATA"] = {"354 go"};
  d.to_send = {MessageTo({"a@x", "b@x"})};
  d.Run();
  EXPECT_THAT(d.results, ElementsAre("Perm 552 5.3.4 too much",
                                     "Perm 552 5.3.4 too much"));
  EXPECT_EQ(d.server.messages().at(0).text, "");  // the lone dot
}

TEST(SmtpClientSessionTest, ARefusalInTheMiddleOfTheMessageCounts) {
  for (const bool finished : {false, true}) {
    Dialogue d;
    d.finish = finished;
    d.server.early_answer = "554 5.7.1 spam";
    d.to_send = {MessageTo({"a@x", "b@x"})};
    d.Run();
    EXPECT_THAT(d.results,
                ElementsAre("Perm 554 5.7.1 spam", "Perm 554 5.7.1 spam"));
  }
  Dialogue d;
  d.finish = false;
  d.server.early_answer = "250 thanks";  // before it has it: a lie
  d.to_send = {MessageTo({"a@x"})};
  d.Run();
  EXPECT_THAT(d.results, ElementsAre("Temp Remote host sent too much data"));
}

TEST(SmtpClientSessionTest, NoDotWithoutFinishBody) {
  Dialogue d;
  d.finish = false;
  d.to_send = {MessageTo({"a@x"})};
  d.Run();
  EXPECT_TRUE(d.session->in_body());
  EXPECT_EQ(d.server.open_messages(), 1);
  d.session->ConnectionLost("Connection closed unexpectedly");
  EXPECT_THAT(d.results, ElementsAre("Temp Connection closed unexpectedly"));
  EXPECT_THAT(d.server.messages(), IsEmpty());
}

TEST(SmtpClientSessionTest, TooManyRefusalsInARow) {
  for (const bool pipelining : {true, false}) {
    SmtpClientSession::Options options{"me.test"};
    options.max_refused = 3;
    Dialogue d(options);
    if (!pipelining) d.server.extensions = {};
    d.server.answers["RCPT"] = {"250 ok", "550 no", "550 no", "550 no"};
    d.to_send = {MessageTo({"a@x", "b@x", "c@x", "d@x", "e@x"}),
                 MessageTo({"f@x"})};
    d.Run();
    EXPECT_EQ(d.end, "");
    EXPECT_EQ(d.to_send.size(), pipelining ? 0u : 1u);
    if (pipelining) {
      // They were all asked already, and the last was taken.
      EXPECT_EQ(d.results[4], "Ok 250 2.0.0 queued");
      EXPECT_EQ(d.results[5], "Ok 250 2.0.0 queued");
    } else {
      const std::string text =
          "Temp Too many consecutive errors, closing connection";
      EXPECT_THAT(d.results, ElementsAre(text, "Perm 550 no", "Perm 550 no",
                                         "Perm 550 no", text));
      EXPECT_THAT(d.server.messages(), IsEmpty());
    }
  }
}

TEST(SmtpClientSessionTest, TooManyRefusalsAtTheEndOfAGroup) {
  SmtpClientSession::Options options{"me.test"};
  options.max_refused = 2;
  Dialogue d(options);
  d.server.answers["RCPT"] = {"250 ok", "550 no", "550 no"};
  d.to_send = {MessageTo({"a@x", "b@x", "c@x"}), MessageTo({"d@x"})};
  d.Run();
  EXPECT_THAT(d.results,
              ElementsAre("Ok 250 2.0.0 queued", "Perm 550 no", "Perm 550 no"));
  EXPECT_EQ(d.end, "");  // the second message is for another session
}

TEST(SmtpClientSessionTest, SuccessBeforeTheMessageWasSentIsNone) {
  Dialogue d;
  d.server.answers["DATA"] = {"354 go\r\n250 2.0.0 have it"};
  d.to_send = {MessageTo({"a@x"})};
  d.Run();
  EXPECT_THAT(d.results, ElementsAre("Temp Remote host sent too much data"));
  // A refusal is one whenever it comes.
  Dialogue refused;
  refused.server.answers["DATA"] = {"354 go\r\n554 5.7.1 no"};
  refused.to_send = {MessageTo({"a@x"})};
  refused.Run();
  EXPECT_THAT(refused.results, ElementsAre("Perm 554 5.7.1 no"));
}

TEST(SmtpClientSessionTest, RepliesToWhatWasNotAsked) {
  Dialogue banner;
  banner.server.answers["banner"] = {"220 hi\r\n250 and more"};
  banner.Run();
  EXPECT_EQ(banner.end, "Remote host sent too much data");

  // A kept session that the server ends: nothing is lost.
  Dialogue idle;
  idle.quit_at_end = false;
  idle.to_send = {MessageTo({"a@x"})};
  idle.Run();
  EXPECT_TRUE(idle.session->ready());
  idle.session->Receive("421 4.4.2 idle\r\n");
  EXPECT_EQ(idle.end, "421 4.4.2 idle");
  EXPECT_THAT(idle.results, ElementsAre("Ok 250 2.0.0 queued"));

  // ... or while the next message is on its way.
  Dialogue late;
  late.to_send = {MessageTo({"a@x"}), MessageTo({"b@x"})};
  late.server.answers["MAIL"] = {"250 ok", Server::kClose};
  late.Run();
  EXPECT_THAT(late.results,
              ElementsAre("Ok 250 2.0.0 queued", "NotTried closed"));
}

TEST(SmtpClientSessionTest, LmtpHasAReplyForEachRecipient) {
  SmtpClientSession::Options options{"me.test"};
  options.lmtp = true;
  Dialogue d(options);
  d.server.answers["RCPT TO:<b@x>"] = {"550 no"};
  // All in one read.
  d.server.answers["dot"] = {"250 a is happy\r\n452 c is full"};
  d.to_send = {MessageTo({"a@x", "b@x", "c@x"})};
  d.Run();
  EXPECT_EQ(d.server.commands()[0], "LHLO me.test");
  EXPECT_THAT(d.results, ElementsAre("Ok 250 a is happy", "Perm 550 no",
                                     "Temp 452 c is full"));
  // A missing one means another time.
  Dialogue missing(options);
  missing.server.answers["dot"] = {"250 a is happy"};
  missing.to_send = {MessageTo({"a@x", "c@x"})};
  missing.Run();
  missing.Timeout();
  EXPECT_THAT(missing.results,
              ElementsAre("Ok 250 a is happy", "Temp Connection timeout"));
}

TEST(SmtpClientSessionTest, QuitDuringTheGreeting) {
  Dialogue d;
  d.session->Quit();
  d.Run();
  EXPECT_EQ(d.end, "");
  EXPECT_THAT(d.writes, ElementsAre("QUIT\r\n"));
}

TEST(SmtpClientSessionTest, AnEarlyRefusalInLmtpIsForOneRecipient) {
  SmtpClientSession::Options options = {"me.test"};
  options.lmtp = true;
  Dialogue d(options);
  d.server.answers["dot"] = {"250 b\r\n250 c"};
  d.server.early_answer = "552 5.2.2 full";
  d.to_send = {MessageTo({"a@b.test", "b@b.test", "c@b.test"})};
  d.finish = false;
  d.Run();
  EXPECT_THAT(d.results, ElementsAre("Perm 552 5.2.2 full", "", ""));
  EXPECT_TRUE(d.session->in_body());
  d.session->FinishBody();
  d.Go();
  EXPECT_THAT(d.results,
              ElementsAre("Perm 552 5.2.2 full", "Ok 250 b", "Ok 250 c"));
  EXPECT_EQ(d.end, "");
}

}  // namespace
}  // namespace holdfast
