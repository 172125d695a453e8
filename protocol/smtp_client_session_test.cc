#include "protocol/smtp_client_session.h"

#include <algorithm>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/scripted_smtp_server.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Server = ScriptedSmtpServer;

SmtpTransaction MessageTo(std::vector<std::string> paths) {
  SmtpTransaction t;
  t.sender = "from@a.test";
  t.wire_bytes = 10;
  for (std::string& path : paths)
    t.recipients.push_back({std::move(path), 0, ""});
  return t;
}

// A session against a scripted server, with a list of messages to send.
class Dialogue : public SmtpClientSession::Events {
 public:
  explicit Dialogue(SmtpClientSession::Options options = {"me.test"}) {
    session = std::make_unique<SmtpClientSession>(options, this);
  }

  // Until nobody has anything to say.  `piece`: bytes of the server given at
  // once.
  void Run(size_t piece = 1 << 20) {
    Give(server.Open(), piece);
    Go(piece);
  }
  void Go(size_t piece = 1 << 20) {
    while (!session->over()) {
      if (session->output().empty()) {
        if (server.closed()) session->ConnectionLost("closed");
        break;
      }
      const std::string sent(session->output());
      session->OutputTaken();
      writes.push_back(sent);
      Give(server.Receive(sent), piece);
    }
  }
  void Timeout() { session->ConnectionLost("Connection timeout"); }

  // "Ok 250 2.0.0 queued", one for each recipient of each message begun.
  std::vector<std::string> results;
  std::vector<std::string> writes;
  std::string end = "(not over)";
  std::deque<SmtpTransaction> to_send;
  std::string body = "Subject: x\n\n.dot\n";
  bool quit_at_end = true;
  Server server;
  std::unique_ptr<SmtpClientSession> session;

  void OnReady() override {
    while (!to_send.empty()) {
      SmtpTransaction next = to_send.front();
      to_send.pop_front();
      first_ = results.size();
      results.resize(first_ + next.recipients.size());
      if (session->Begin(std::move(next))) return;
    }
    if (quit_at_end) session->Quit();
  }
  void OnResult(size_t recipient, const SmtpResult& r) override {
    static const char* const kNames[] = {"Ok", "Temp", "Perm", "NotTried"};
    std::string& result = results.at(first_ + recipient);
    EXPECT_EQ(result, "") << "told twice";
    result = absl::StrCat(kNames[int(r.kind)], " ", r.text);
    last = r;
  }
  void OnBodyWanted() override {
    for (size_t i = 0; i < body.size(); i += body_piece)
      session->AppendBody(absl::string_view(body).substr(i, body_piece));
    if (finish) session->FinishBody();
  }
  void OnEnd(const std::string& error) override {
    EXPECT_EQ(end, "(not over)") << "ended twice";
    end = error;
  }
  bool finish = true;
  size_t body_piece = 1 << 20;
  SmtpResult last;

 private:
  void Give(const std::string& bytes, size_t piece) {
    for (size_t i = 0; i < bytes.size(); i += piece)
      session->Receive(absl::string_view(bytes).substr(i, piece));
  }
  size_t first_ = 0;
};

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

// ---- extensions

constexpr char kAllWords[] =
    "PIPELINING,8BITMIME,SMTPUTF8,CHUNKING,BINARYMIME,REQUIRETLS,MT-PRIORITY,"
    "DELIVERBY 60,DSN";

SmtpTransaction Plain() { return MessageTo({"a@b.test"}); }
SmtpTransaction EightBit() {
  SmtpTransaction t = Plain();
  t.flags = kFlag8BitMime;
  t.eight_bit = true;
  return t;
}
SmtpTransaction Binary() {
  SmtpTransaction t = Plain();
  t.flags = kFlagBinaryMime;
  return t;
}
SmtpTransaction RequireTls() {
  SmtpTransaction t = Plain();
  t.flags = kFlagRequireTls;
  return t;
}
SmtpTransaction Utf8Header() {
  SmtpTransaction t = Plain();
  t.flags = kFlagSmtpUtf8;
  t.eight_bit = t.header_eight_bit = true;
  return t;
}
SmtpTransaction Utf8Recipient() {
  return MessageTo(
      {"j\xc3\xb6rg@b\xc3\xbc"
       "cher.test"});
}
SmtpTransaction Utf8Domain() {
  return MessageTo(
      {"info@b\xc3\xbc"
       "cher.test"});
}
SmtpTransaction Utf8Sender() {
  SmtpTransaction t = Plain();
  t.sender = "j\xc3\xb6rg@a.test";
  return t;
}
SmtpTransaction Asked() {  // for SMTPUTF8, but all is ASCII
  SmtpTransaction t = Plain();
  t.flags = kFlagSmtpUtf8;
  return t;
}
SmtpTransaction By(int64_t seconds, bool returned, bool trace = false) {
  SmtpTransaction t = Plain();
  t.deliver_by = {seconds, returned, trace};
  return t;
}
SmtpTransaction Priority(int priority) {
  SmtpTransaction t = Plain();
  t.priority = priority;
  return t;
}

// A message, a server without one word (or with all), and what comes of it:
// the MAIL command, or the error.
struct ExtensionCase {
  const char* name;
  SmtpTransaction transaction;
  const char* without;  // "": all words are offered
  bool tls;
  const char* mail;   // behind "MAIL FROM:<from@a.test>"; null: not sent
  const char* error;  // "5.6.3 text"
};

TEST(SmtpClientSessionTest, EveryExtensionOfferedAndWithheld) {
  const char* const kNo8Bit = "5.6.3 Next hop does not support 8BITMIME";
  const char* const kNoBinary = "5.6.3 Next hop does not support BINARYMIME";
  const char* const kNoUtf8 =
      "5.6.7 Next hop does not support internationalized mail (SMTPUTF8)";
  const char* const kNoTls = "5.7.30 REQUIRETLS support required";
  const char* const kLate = "5.4.7 Delivery time expired";
  SmtpTransaction undeclared = EightBit();
  undeclared.flags = 0;
  const ExtensionCase cases[] = {
      {"8bit", EightBit(), "", false, " BODY=8BITMIME", nullptr},
      {"8bit declared", EightBit(), "8BITMIME", false, nullptr, kNo8Bit},
      {"8bit not declared", undeclared, "8BITMIME", false, "", nullptr},
      {"binary", Binary(), "", false, " BODY=BINARYMIME", nullptr},
      {"binary", Binary(), "CHUNKING", false, nullptr, kNoBinary},
      {"binary", Binary(), "BINARYMIME", false, nullptr, kNoBinary},
      {"header", Utf8Header(), "", false, " BODY=8BITMIME SMTPUTF8", nullptr},
      {"header", Utf8Header(), "SMTPUTF8", false, nullptr, kNoUtf8},
      {"rcpt", Utf8Recipient(), "", false, " SMTPUTF8", nullptr},
      {"rcpt", Utf8Recipient(), "SMTPUTF8", false, nullptr, kNoUtf8},
      {"domain", Utf8Domain(), "SMTPUTF8", false, "", nullptr},
      {"sender", Utf8Sender(), "SMTPUTF8", false, nullptr, kNoUtf8},
      {"ascii", Asked(), "", false, "", nullptr},
      {"ascii", Asked(), "SMTPUTF8", false, "", nullptr},
      {"tls", RequireTls(), "", true, " REQUIRETLS", nullptr},
      {"tls", RequireTls(), "", false, nullptr, kNoTls},
      {"tls", RequireTls(), "REQUIRETLS", true, nullptr, kNoTls},
      {"priority", Priority(-3), "", false, " MT-PRIORITY=-3", nullptr},
      {"priority", Priority(9), "MT-PRIORITY", false, "", nullptr},
      {"R", By(90, true, true), "", false, " BY=90;RT", nullptr},
      {"R", By(90, true), "DELIVERBY 60", false, nullptr,
       "5.3.3 Next hop does not support DELIVERBY"},
      {"R", By(59, true), "", false, nullptr,
       "5.4.7 Next hop cannot deliver in time"},
      {"R", By(0, true), "", false, nullptr, kLate},
      {"N", By(-5, false), "", false, " BY=-5;N", nullptr},
      {"N", By(5'000'000'000, false, true), "", false, " BY=999999999;NT",
       nullptr},
      {"N", By(5, false), "DELIVERBY 60", false, "", nullptr},
  };
  for (const ExtensionCase& c : cases) {
    SmtpClientSession::Options options = {"me.test"};
    options.secure = options.tls_verified = c.tls;
    Dialogue d(options);
    d.server.extensions.clear();
    for (absl::string_view word : absl::StrSplit(kAllWords, ','))
      if (word != c.without) d.server.extensions.emplace_back(word);
    d.to_send = {c.transaction};
    d.Run();
    if (c.error != nullptr) {
      EXPECT_THAT(d.server.commands(), ElementsAre("EHLO me.test", "QUIT"));
      const SmtpResult& r = d.last;
      EXPECT_EQ(absl::StrCat(r.status.klass, ".", r.status.subject(), ".",
                             r.status.detail(), " ", r.text),
                c.error)
          << c.name;
      EXPECT_EQ(r.kind, SmtpResult::Kind::kPermFail);
      continue;
    }
    ASSERT_EQ(d.server.messages().size(), 1u) << c.name << c.without;
    EXPECT_EQ(d.server.commands()[1],
              absl::StrCat("MAIL FROM:<", c.transaction.sender, ">", c.mail))
        << c.name;
  }
}

TEST(SmtpClientSessionTest, ADomainGoesAsALabelsWhereItMust) {
  Dialogue d;
  d.to_send = {Utf8Domain()};
  d.Run();
  EXPECT_EQ(d.server.messages().at(0).recipients.at(0),
            "RCPT TO:<info@xn--bcher-kva.test>");
  Dialogue with;
  with.server.extensions.push_back("SMTPUTF8");
  with.to_send = {Utf8Domain()};
  with.Run();
  EXPECT_EQ(with.server.messages().at(0).recipients.at(0),
            "RCPT TO:<info@b\xc3\xbc"
            "cher.test>");
}

TEST(SmtpClientSessionTest, OneUnfitRecipientDoesNotHinderTheOthers) {
  Dialogue d;
  d.to_send = {MessageTo({"j\xc3\xb6rg@b.test", "ok@b.test"})};
  d.Run();
  EXPECT_THAT(d.results,
              ElementsAre(HasSubstr("Perm Next hop does not support"),
                          "Ok 250 2.0.0 queued"));
}

TEST(SmtpClientSessionTest, OrcptInUtf8OnlyWhereItIsUnderstood) {
  SmtpTransaction t = Plain();
  t.recipients[0].dsn_orcpt = "utf-8;j\xc3\xb6rg@b.test";
  for (const bool utf8 : {true, false}) {
    Dialogue d;
    if (utf8) d.server.extensions.push_back("SMTPUTF8");
    d.to_send = {t};
    d.Run();
    EXPECT_EQ(d.server.messages().at(0).recipients.at(0),
              utf8 ? "RCPT TO:<a@b.test> ORCPT=utf-8;j\xc3\xb6rg@b.test"
                   : "RCPT TO:<a@b.test>");
  }
}

TEST(SmtpClientSessionTest, QuotedLocalPartsGoAsTheyAre) {
  const std::vector<std::string> paths = {
      R"("a b"@b.test)", R"("a@b"@b.test)", R"("a\"b\\c"@b.test)",
      R"("<a>"@b.test)", R"(""@b.test)",    R"("a.b..c."@b.test)"};
  Dialogue d;
  SmtpTransaction t = MessageTo(paths);
  t.sender = R"("me > you"@a.test)";
  d.to_send = {t};
  d.Run();
  EXPECT_EQ(d.server.commands()[1], R"(MAIL FROM:<"me > you"@a.test>)");
  for (size_t i = 0; i < paths.size(); ++i)
    EXPECT_EQ(d.server.commands()[2 + i], "RCPT TO:<" + paths[i] + ">");
  EXPECT_THAT(d.results, ::testing::Each("Ok 250 2.0.0 queued"));
}

const std::string kBinaryBody =
    std::string("Subject: x\n\n.dot\r\nbare\rcr bare\nlf \0 nul\r\n.\r\n", 43);
const std::string kBinaryWire = std::string(
    "Subject: x\r\n\r\n.dot\r\nbare\rcr bare\nlf \0 nul\r\n.\r\n", 45);

TEST(SmtpClientSessionTest, BinaryMessagesGoByBdatUnchanged) {
  for (const bool pipelining : {true, false}) {
    for (size_t piece = 1; piece < 30; ++piece) {
      Dialogue d;
      d.server.extensions = {"CHUNKING", "BINARYMIME"};
      if (pipelining) d.server.extensions.push_back("PIPELINING");
      d.server.answers["RCPT TO:<no@b.test>"] = {"550 no"};
      SmtpTransaction t = MessageTo({"no@b.test", "a@b.test"});
      t.flags = kFlagBinaryMime;
      d.to_send = {t, t};
      d.body = kBinaryBody;
      d.Run(piece);
      EXPECT_THAT(d.results,
                  ElementsAre("Perm 550 no", "Ok 250 2.0.0 queued",
                              "Ok 250 2.0.0 queued", "Ok 250 2.0.0 queued"));
      ASSERT_EQ(d.server.messages().size(), 2u);
      EXPECT_EQ(d.server.messages()[0].text, kBinaryWire);
      EXPECT_EQ(d.end, "");
    }
  }
}

TEST(SmtpClientSessionTest, LargeBinaryMessagesGoInChunks) {
  for (const bool pipelining : {true, false}) {
    Dialogue d;
    d.server.extensions = {"CHUNKING", "BINARYMIME"};
    if (pipelining) d.server.extensions.push_back("PIPELINING");
    d.to_send = {Binary()};
    d.body = "A: b\n\n" + std::string(300'000, '\n');
    d.body_piece = 10'000;
    d.Run();
    ASSERT_EQ(d.server.messages().size(), 1u);
    EXPECT_EQ(d.server.messages()[0].text,
              "A: b\r\n\r\n" + std::string(300'000, '\n'));
    EXPECT_GT(d.server.messages()[0].chunks.size(), 1u);
    EXPECT_THAT(d.results, ElementsAre("Ok 250 2.0.0 queued"));
  }
}

TEST(SmtpClientSessionTest, AFailedChunkFailsTheTransactionOnly) {
  for (const bool pipelining : {true, false}) {
    // One at a time it is two, all that waited in the second.
    for (int bad = 0; bad < (pipelining ? 4 : 2); ++bad) {
      Dialogue d;
      d.server.extensions = {"CHUNKING", "BINARYMIME"};
      if (pipelining) d.server.extensions.push_back("PIPELINING");
      for (int i = 0; i < bad; ++i)
        d.server.answers["BDAT"].push_back("250 2.0.0 queued");
      d.server.answers["BDAT"].push_back("552 too much");
      for (int i = bad; pipelining && i < 4; ++i)
        d.server.answers["BDAT"].push_back("503 no");
      if (bad == 3) d.server.answers["BDAT"].resize(4);
      d.to_send = {Binary(), Plain()};
      d.body = "A: b\n\n" + std::string(250'000, 'x');
      d.body_piece = 1000;
      d.Run();
      EXPECT_THAT(d.results, ElementsAre("Perm 552 too much", HasSubstr("Ok")))
          << pipelining << bad;
      EXPECT_EQ(d.end, "");
    }
  }
}

TEST(SmtpClientSessionTest, LimitsAreRead) {
  Dialogue d;
  d.server.extensions = {"LIMITS MAILMAX=3 RCPTMAX=20 RCPTDOMAINMAX=1 X=y",
                         "DELIVERBY"};
  d.Run();
  EXPECT_EQ(d.session->extensions().mail_max, 3u);
  EXPECT_EQ(d.session->extensions().rcpt_max, 20u);
  EXPECT_EQ(d.session->extensions().rcpt_domain_max, 1u);
  Dialogue junk;
  junk.server.extensions = {"LIMITS MAILMAX= RCPTMAX=x =5 RCPTDOMAINMAX"};
  junk.Run();
  EXPECT_EQ(junk.session->extensions().rcpt_max, 0u);
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
