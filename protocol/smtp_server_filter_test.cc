// What a session asks and tells filters, and what it does with what they say.
#include <functional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/smtp_server_session.h"

namespace holdfast {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr uint32_t kAllPhases = (uint32_t{1} << kFilterPhases) - 1;
constexpr char kId[] = "686036a3";

// A session with its owner, who writes down what happens: "< ..." what the
// client is told, "ask PHASE ARGUMENT", "EVENT FIELDS".
class Dialogue {
 public:
  using Decision = std::pair<FilterVerdict, std::string>;

  explicit Dialogue(uint32_t phases = kAllPhases,
                    uint32_t events = kAllFilterEvents,
                    SmtpServerOptions options = Options())
      : options_(std::move(options)), session_(&options_, "192.0.2.1") {
    session_.SetFilters({phases, events});
  }
  static SmtpServerOptions Options() {
    SmtpServerOptions options;
    options.name = "mx.test";
    options.max_message_size = 1000;
    options.max_errors = 0;
    // Short EHLO.
    options.extensions = {};
    options.extensions.limits = options.extensions.requiretls = false;
    options.extensions.mt_priority = options.extensions.deliverby = false;
    options.extensions.smtputf8 = false;
    return options;
  }

  void Greet() {
    session_.Greet();
    Drain();
  }
  // Lines, each to be ended; then what came of them.
  std::vector<std::string> Say(absl::string_view lines) {
    Send(absl::StrCat(lines, "\r\n"));
    return Take();
  }
  void Send(absl::string_view bytes) {
    std::string copy(bytes);
    session_.Receive(copy);
    Drain();
    session_.KeepRest();
    copy.assign(copy.size(), '!');
  }
  void SendByteByByte(absl::string_view bytes) {
    for (const char c : bytes) Send(absl::string_view(&c, 1));
  }
  std::vector<std::string> Take() {
    Drain();
    return std::exchange(log_, {});
  }
  // Answers the open question.
  void Decide(FilterVerdict verdict, absl::string_view text = "") {
    session_.ResumeFilter(std::exchange(open_, 0), verdict, text);
    Drain();
  }
  // In a transaction with one recipient.
  void Open() {
    Greet();
    Send("EHLO c2\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n");
    Take();
  }
  SmtpServerSession& session() { return session_; }

  // Null: questions stay open.
  std::function<Decision(const FilterAsked&)> decide = [](const FilterAsked&) {
    return Decision(FilterVerdict::kProceed, "");
  };
  Reply text_answer = replies::Ok();
  Reply end_answer = replies::Accepted(kId);
  bool tls_asked = false;
  std::vector<std::string> asked_parameters;

 private:
  void Drain() {
    while (std::optional<SmtpServerEvent> event = session_.Next()) {
      TakeOutput();
      std::visit([this](auto& e) { On(e); }, *event);
      TakeOutput();
    }
    TakeOutput();
  }
  void TakeOutput() {
    const std::string output = session_.TakeOutput();
    for (const absl::string_view line :
         absl::StrSplit(output, "\r\n", absl::SkipEmpty()))
      log_.push_back(absl::StrCat("< ", line));
  }
  void Note(const std::string& what) { log_.push_back(what); }

  void On(FilterAsked& asked) {
    Note(absl::StrCat("ask ", FilterPhaseName(asked.phase), " ",
                      asked.argument));
    asked_parameters.push_back(asked.parameters);
    open_ = asked.question;
    if (!decide) return;
    const Decision decision = decide(asked);
    session_.ResumeFilter(asked.question, decision.first, decision.second);
  }
  void On(FilterTold& told) {
    Note(absl::StrCat(FilterEventName(told.event), " ",
                      absl::StrJoin(told.fields, "|")));
  }
  void On(SenderAsked& asked) {
    Note(absl::StrCat("sender ", asked.path.address.ToString()));
    if (asked.path.address.user == "nobody")
      return session_.Resume(asked.question, replies::NoRoom());
    session_.SetMessageId(kId);
    session_.Resume(asked.question, replies::Ok());
  }
  void On(RecipientAsked& asked) {
    Note(absl::StrCat("recipient ", asked.path.address.ToString()));
    session_.Resume(asked.question, asked.path.address.user == "nobody"
                                        ? Reply{550, "", "Invalid recipient"}
                                        : replies::RecipientOk());
  }
  void On(MessageStarts& asked) {
    session_.Resume(asked.question, replies::StartMail());
  }
  void On(MessageBytes&) { session_.ReadMessage(7, &text_); }
  void On(MessageTextEnds& asked) {
    Note(absl::StrCat("text ", std::exchange(text_, {})));
    session_.Resume(asked.question, text_answer);
  }
  void On(MessageEnds& asked) {
    Note("ends");
    session_.SetMessageBytes(536);
    session_.Resume(asked.question, end_answer);
  }
  void On(AuthAsked& asked) {
    Note("auth");
    session_.ResumeAuth(asked.question, AuthAnswerKind::kOk, "joe");
  }
  void On(XclientAsked& asked) {
    session_.Resume(asked.question, replies::Ok());
  }
  void On(PauseAsked& asked) { session_.Resume(asked.question, replies::Ok()); }
  void On(Greeted&) {}
  void On(TransactionReset&) { text_.clear(); }
  void On(CommandFailed& failed) {
    Note(absl::StrCat("failed ", failed.command, " -> ", failed.result));
  }
  void On(BadInput&) {}
  void On(StartTlsAsked&) { tls_asked = true; }
  void On(AuthCancelled&) {}
  void On(SessionClosed&) { Note("closed"); }

  SmtpServerOptions options_;
  SmtpServerSession session_;
  uint64_t open_ = 0;
  std::string text_;
  std::vector<std::string> log_;
};

// The words of a log that begin so.
std::vector<std::string> Only(absl::string_view prefix,
                              const std::vector<std::string>& log) {
  std::vector<std::string> out;
  for (const std::string& line : log) {
    if (absl::StartsWith(line, prefix)) out.push_back(line);
  }
  return out;
}

// ---- The order of things (reference part 2, sections 7.4 and 7.9)

TEST(SmtpServerFilterTest, AMessageIsToldAsTheReferenceDoes) {
  for (const bool byte_by_byte : {false, true}) {
    Dialogue d;
    d.Greet();
    const std::string wire =
        "EHLO c2\r\nMAIL FROM:<sender@example.com> BODY=8BITMIME\r\n"
        "RCPT TO:<ok@example.net>\r\nDATA\r\nSubject: test\r\n\r\nhi\r\n.\r\n"
        "QUIT\r\n";
    byte_by_byte ? d.SendByteByByte(wire) : d.Send(wire);
    std::vector<std::string> log = d.Take();
    // Where the reply stands among the events depends on how it is sent.
    log.erase(std::remove_if(log.begin(), log.end(),
                             [](auto& l) { return l[0] == '<'; }),
              log.end());
    EXPECT_THAT(
        log,
        ElementsAre(
            "ask connect ", "protocol-server 220 mx.test ESMTP Holdfast",
            "link-greeting mx.test", "protocol-client EHLO c2", "ask ehlo c2",
            "link-identify EHLO|c2",
            "protocol-server 250-mx.test Hello c2 [192.0.2.1], pleased to "
            "meet you",
            "protocol-server 250-8BITMIME",
            "protocol-server 250-ENHANCEDSTATUSCODES",
            "protocol-server 250-SIZE 1000", "protocol-server 250-DSN",
            "protocol-server 250-PIPELINING", "protocol-server 250-CHUNKING",
            "protocol-server 250 HELP",
            "protocol-client MAIL FROM:<sender@example.com> BODY=8BITMIME",
            "ask mail-from sender@example.com", "sender sender@example.com",
            "protocol-server 250 2.0.0 Ok", "tx-begin 686036a3",
            "tx-mail 686036a3|ok|sender@example.com",
            "protocol-client RCPT TO:<ok@example.net>",
            "ask rcpt-to ok@example.net", "recipient ok@example.net",
            "protocol-server 250 2.1.5 Destination address valid: Recipient "
            "ok",
            "tx-rcpt 686036a3|ok|ok@example.net", "protocol-client DATA",
            "ask data ",
            "protocol-server 354 Enter mail, end with \".\" on a line by "
            "itself",
            "tx-data 686036a3|ok", "text Subject: test\n\nhi\n",
            "protocol-client .", "ask commit ", "ends",
            "protocol-server 250 2.0.0 686036a3 Message accepted for delivery",
            "tx-commit 686036a3|536", "tx-reset 686036a3",
            "protocol-client QUIT", "ask quit ",
            "protocol-server 221 2.0.0 Bye", "closed"));
    EXPECT_THAT(d.asked_parameters, Contains("BODY=8BITMIME"));
  }
}

TEST(SmtpServerFilterTest, OnlyWhatIsWantedIsAskedAndTold) {
  Dialogue d(MaskOf(FilterPhase::kRcptTo), MaskOf(FilterEvent::kTxCommit));
  d.Open();
  d.Send("DATA\r\nx\r\n.\r\nNOOP\r\n");
  const std::vector<std::string> log = d.Take();
  EXPECT_THAT(Only("ask", log), IsEmpty());
  EXPECT_THAT(Only("tx-", log), ElementsAre("tx-commit 686036a3|536"));
  EXPECT_THAT(Only("protocol", log), IsEmpty());
}

TEST(SmtpServerFilterTest, ResetIsToldWithTheMessageId) {
  Dialogue d;
  d.Open();
  EXPECT_THAT(d.Say("RSET"),
              ElementsAre("protocol-client RSET", "ask rset ",
                          "< 250 2.0.0 Reset state",
                          "protocol-server 250 2.0.0 Reset state",
                          "tx-rollback 686036a3", "tx-reset 686036a3"));
  // There is no message any more.
  EXPECT_THAT(Only("tx-", d.Say("RSET")), IsEmpty());
}

TEST(SmtpServerFilterTest, TheEndOfASessionEndsItsTransaction) {
  Dialogue quits;
  quits.Open();
  EXPECT_THAT(
      quits.Say("QUIT"),
      ElementsAre("protocol-client QUIT", "ask quit ", "< 221 2.0.0 Bye",
                  "protocol-server 221 2.0.0 Bye", "tx-rollback 686036a3",
                  "tx-reset 686036a3", "closed"));
  Dialogue goes;
  goes.Open();
  goes.session().Abandon();
  EXPECT_THAT(goes.Take(), ElementsAre("tx-rollback 686036a3",
                                       "tx-reset 686036a3", "closed"));
  // The queue has the message: nothing was rolled back.
  Dialogue kept;
  kept.Open();
  kept.session().SetMessageId("");
  kept.session().Abandon();
  EXPECT_THAT(kept.Take(), ElementsAre("closed"));
}

TEST(SmtpServerFilterTest, RefusalsInsideATransactionAreTold) {
  Dialogue d;
  d.Open();
  EXPECT_THAT(Only("tx-", d.Say("RCPT TO:<nobody@d.test> NOTIFY=NEVER")),
              ElementsAre("tx-rcpt 686036a3|permfail|nobody@d.test"));
  EXPECT_THAT(Only("tx-", d.Say("RCPT TO:<@>")),
              ElementsAre("tx-rcpt 686036a3|permfail|@"));
  EXPECT_THAT(Only("tx-", d.Say("MAIL FROM:<x@y>")),
              ElementsAre("tx-mail 686036a3|permfail|x@y"));
  d.end_answer = replies::TemporaryFailure();
  EXPECT_THAT(Only("tx-", d.Say("DATA\r\nx\r\n.")),
              ElementsAre("tx-data 686036a3|ok", "tx-data 686036a3|tempfail",
                          "tx-rollback 686036a3", "tx-reset 686036a3"));
  // Outside of one there is nothing to tell of.
  EXPECT_THAT(Only("tx-", d.Say("MAIL FROM:<nobody@x>")), IsEmpty());
  EXPECT_THAT(Only("tx-", d.Say("RCPT TO:<x@y>")), IsEmpty());
}

TEST(SmtpServerFilterTest, WhatIsWrongAnywayIsNotAsked) {
  Dialogue d;
  d.Greet();
  d.Take();
  for (const char* line :
       {"EHLO", "EHLO not_a domain", "RCPT TO:<x@y>", "DATA", "STARTTLS",
        "AUTH PLAIN AGEAYg==", "QUIT now", "VRFY x", "HELP", "WIZ", "BOO"}) {
    EXPECT_THAT(Only("ask", d.Say(line)), IsEmpty()) << line;
  }
  d.Say("EHLO c2");
  for (const char* line :
       {"MAIL FROM:x", "MAIL FROM:<a@@b>", "MAIL FROM:<a@b> SIZE=9999",
        "MAIL FROM:<a@b> BODY=BINARYMIME", "RSET x"}) {
    EXPECT_THAT(Only("ask", d.Say(line)), IsEmpty()) << line;
  }
}

TEST(SmtpServerFilterTest, FiltersSeeLinesSoBinaryMimeIsNotOffered) {
  Dialogue d(0, 0);
  d.Greet();
  EXPECT_THAT(absl::StrJoin(d.Say("EHLO x"), "\n"),
              Not(HasSubstr("BINARYMIME")));
}

// ---- Decisions

TEST(SmtpServerFilterTest, WhoIsRejectedAtConnectCanOnlyGo) {
  Dialogue d;
  d.decide = [](const FilterAsked& asked) {
    return asked.phase == FilterPhase::kConnect
               ? Dialogue::Decision(FilterVerdict::kReject, "550 5.7.1 No")
               : Dialogue::Decision(FilterVerdict::kProceed, "");
  };
  d.Greet();
  EXPECT_THAT(d.Take(), ElementsAre("ask connect ", "< 550 5.7.1 No",
                                    "failed  -> 550 5.7.1 No",
                                    "protocol-server 550 5.7.1 No"));
  for (const char* line : {"EHLO x", "HELO x", "NOOP", "RSET", "HELP",
                           "MAIL FROM:<a@b>", "BDAT 0 LAST"}) {
    EXPECT_THAT(Only("< ", d.Say(line)),
                ElementsAre("< 503 5.5.1 Invalid command: Command not allowed "
                            "at this point."))
        << line;
  }
  EXPECT_THAT(Only("< ", d.Say("QUIT")), ElementsAre("< 221 2.0.0 Bye"));
  EXPECT_TRUE(d.session().closed());
}

TEST(SmtpServerFilterTest, ARefusedCommandLeavesTheSessionAsItWas) {
  const std::pair<FilterPhase, const char*> kCases[] = {
      {FilterPhase::kEhlo, "EHLO c3"},
      {FilterPhase::kHelo, "HELO c3"},
      {FilterPhase::kRcptTo, "RCPT TO:<x@y.test>"},
      {FilterPhase::kData, "DATA"},
      {FilterPhase::kRset, "RSET"},
      {FilterPhase::kNoop, "NOOP"},
      {FilterPhase::kQuit, "QUIT"},
  };
  for (const auto& [phase, line] : kCases) {
    Dialogue d;
    d.Open();
    d.decide = [refused = phase](const FilterAsked& asked) {
      return asked.phase == refused
                 ? Dialogue::Decision(FilterVerdict::kReject, "451 4.7.1 Wait")
                 : Dialogue::Decision(FilterVerdict::kProceed, "");
    };
    const std::vector<std::string> log = d.Say(line);
    EXPECT_THAT(Only("< ", log), ElementsAre("< 451 4.7.1 Wait")) << line;
    EXPECT_THAT(
        Only("failed", log),
        ElementsAre(absl::StrCat("failed ", line, " -> 451 4.7.1 Wait")));
    // The transaction is as it was.
    d.decide = [](const FilterAsked&) {
      return Dialogue::Decision(FilterVerdict::kProceed, "");
    };
    EXPECT_THAT(Only("< 250", d.Say("DATA\r\nx\r\n.")),
                ElementsAre("< 250 2.0.0 686036a3 Message accepted for "
                            "delivery"))
        << line;
  }
}

TEST(SmtpServerFilterTest, DisconnectSaysTheTextAndEnds) {
  for (const char* text : {"550 5.7.1 Go", "421 4.7.1 Go"}) {
    for (const FilterVerdict verdict :
         {FilterVerdict::kDisconnect, FilterVerdict::kReject}) {
      if (verdict == FilterVerdict::kReject && text[0] == '5') continue;
      Dialogue d;
      d.Open();
      d.decide = [&](const FilterAsked&) {
        return Dialogue::Decision(verdict, text);
      };
      const std::vector<std::string> log = d.Say("NOOP\r\nNOOP");
      EXPECT_THAT(Only("< ", log), ElementsAre(absl::StrCat("< ", text)));
      EXPECT_EQ(log.back(), "closed");
      EXPECT_THAT(Only("tx-", log),
                  ElementsAre("tx-rollback 686036a3", "tx-reset 686036a3"));
    }
  }
}

TEST(SmtpServerFilterTest, WhatIsNoRefusalIsAnInternalError) {
  for (const char* text : {"", "nonsense", "250 Ok", "55 x", "550", "5500 x"}) {
    Dialogue d;
    d.decide = [&](const FilterAsked&) {
      return Dialogue::Decision(FilterVerdict::kReject, text);
    };
    d.Greet();
    EXPECT_THAT(Only("< ", d.Take()),
                ElementsAre("< 421 Internal server error"))
        << text;
    EXPECT_TRUE(d.session().closed());
  }
}

TEST(SmtpServerFilterTest, ARewrittenArgumentIsJudgedAnew) {
  const auto say = [](const char* line, const char* rewritten) {
    Dialogue d;
    d.Greet();
    if (line[0] != 'E' && line[0] != 'H') d.Say("EHLO c2");
    if (line[0] == 'R') d.Say("MAIL FROM:<a@b.test>");
    d.decide = [&](const FilterAsked&) {
      return Dialogue::Decision(FilterVerdict::kRewrite, rewritten);
    };
    d.Take();
    return absl::StrJoin(d.Say(line), "\n");
  };
  EXPECT_THAT(say("EHLO c2", "other.test"),
              HasSubstr("link-identify EHLO|other.test\n"));
  EXPECT_THAT(say("HELO c2", "not a domain"), HasSubstr("< 501 "));
  EXPECT_THAT(say("MAIL FROM:<a@b.test>", "<new@x.test>"),
              HasSubstr("\nsender new@x.test\n"));
  EXPECT_THAT(say("MAIL FROM:<a@b.test>", "<>"), HasSubstr("\n< 250 2.0.0 Ok"));
  const std::string syntax = "\n< 553 5.1.0 Sender address syntax error";
  for (const char* bad : {"new@x.test", "", "<a@@b>", "<a", "x"}) {
    EXPECT_THAT(say("MAIL FROM:<a@b.test>", bad), HasSubstr(syntax)) << bad;
  }
  // What the client has asked for stays, unless the filter asks itself.
  EXPECT_THAT(say("MAIL FROM:<a@b.test> SIZE=9 RET=HDRS", "<n@x.test>"),
              HasSubstr("\nsender n@x.test\n"));
  EXPECT_THAT(say("MAIL FROM:<a@b.test> SIZE=9", "<n@x.test> SIZE=9999"),
              HasSubstr("\n< 552 "));
  EXPECT_THAT(say("RCPT TO:<c@d.test> NOTIFY=NEVER", "<e@f.test>"),
              HasSubstr("\nrecipient e@f.test\n"));
  EXPECT_THAT(say("RCPT TO:<c@d.test>", "e@f.test"),
              HasSubstr("\n< 501 5.1.3 "));
  // The others have no argument to rewrite.
  EXPECT_THAT(say("RSET", "x"), HasSubstr("\n< 250 2.0.0 Reset state"));
}

TEST(SmtpServerFilterTest, CommitDecidesAboutTheMessage) {
  Dialogue d;
  d.Open();
  d.decide = [](const FilterAsked& asked) {
    return asked.phase == FilterPhase::kCommit
               ? Dialogue::Decision(FilterVerdict::kReject, "550 5.7.1 Spam")
               : Dialogue::Decision(FilterVerdict::kProceed, "");
  };
  const std::vector<std::string> log = d.Say("DATA\r\nx\r\n.");
  EXPECT_THAT(Only("ends", log), IsEmpty());
  EXPECT_THAT(
      std::vector<std::string>(log.end() - 7, log.end()),
      ElementsAre("ask commit ", "< 550 5.7.1 Spam",
                  "failed DATA -> 550 5.7.1 Spam",
                  "protocol-server 550 5.7.1 Spam", "tx-data 686036a3|permfail",
                  "tx-rollback 686036a3", "tx-reset 686036a3"));
  // The next may be better.
  d.decide = [](const FilterAsked&) {
    return Dialogue::Decision(FilterVerdict::kProceed, "");
  };
  EXPECT_THAT(Only("< 250", d.Say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
                                  "DATA\r\nx\r\n.")),
              testing::SizeIs(3));
}

TEST(SmtpServerFilterTest, TextThatFiltersRefuseIsNotCommitted) {
  Dialogue d;
  d.Open();
  d.text_answer = {500, "5.6.0", "Line too long"};
  const std::vector<std::string> log = d.Say("DATA\r\nx\r\n.");
  EXPECT_THAT(Only("ask", log), ElementsAre("ask data "));
  EXPECT_THAT(Only("< 5", log), ElementsAre("< 500 5.6.0 Line too long"));
  EXPECT_THAT(Only("protocol-client", log),
              ElementsAre("protocol-client DATA", "protocol-client ."));
  EXPECT_THAT(Only("tx-r", log),
              ElementsAre("tx-rollback 686036a3", "tx-reset 686036a3"));
}

TEST(SmtpServerFilterTest, AMessageThatIsTooLargeAsksNobody) {
  Dialogue d;
  d.Open();
  const std::vector<std::string> log =
      d.Say(absl::StrCat("DATA\r\n", std::string(500, 'x'), "\r\n",
                         std::string(600, 'x'), "\r\n."));
  EXPECT_THAT(Only("ask", log), ElementsAre("ask data "));
  EXPECT_THAT(Only("text", log), IsEmpty());
  EXPECT_THAT(Only("tx-r", log),
              ElementsAre("tx-rollback 686036a3", "tx-reset 686036a3"));
}

// ---- BDAT

TEST(SmtpServerFilterTest, ChunksPassFiltersToo) {
  Dialogue d;
  d.Open();
  const std::vector<std::string> log =
      d.Say("BDAT 4\r\nab\r\nBDAT 6 LAST\r\ncdef");
  EXPECT_THAT(Only("ask", log), ElementsAre("ask data ", "ask commit "));
  EXPECT_THAT(
      Only("protocol-client", log),
      ElementsAre("protocol-client BDAT 4", "protocol-client BDAT 6 LAST"));
  EXPECT_THAT(Only("text", log), ElementsAre("text ab\ncdef\n"));
  EXPECT_THAT(Only("tx-", log),
              ElementsAre("tx-data 686036a3|ok", "tx-commit 686036a3|536",
                          "tx-reset 686036a3"));
}

TEST(SmtpServerFilterTest, OfARefusedMessageNoChunkBeginsAnother) {
  Dialogue d;
  d.Open();
  int asked_data = 0;
  d.decide = [&](const FilterAsked& asked) {
    const bool first = asked.phase == FilterPhase::kData && ++asked_data == 1;
    return first ? Dialogue::Decision(FilterVerdict::kReject, "550 5.7.1 No")
                 : Dialogue::Decision(FilterVerdict::kProceed, "");
  };
  EXPECT_THAT(Only("< ", d.Say("BDAT 4\r\nab\r\nBDAT 4 LAST\r\ncd")),
              ElementsAre("< 550 5.7.1 No",
                          "< 503 5.5.1 Invalid command: Command not allowed "
                          "at this point."));
  EXPECT_EQ(asked_data, 1);
}

TEST(SmtpServerFilterTest, DisconnectDoesNotWaitForTheChunk) {
  Dialogue d;
  d.Open();
  d.decide = [](const FilterAsked& asked) {
    return asked.phase == FilterPhase::kData
               ? Dialogue::Decision(FilterVerdict::kDisconnect, "550 5.7.1 No")
               : Dialogue::Decision(FilterVerdict::kProceed, "");
  };
  EXPECT_THAT(Only("< ", d.Say("BDAT 1000 LAST\r\nab")),
              ElementsAre("< 550 5.7.1 No"));
  EXPECT_TRUE(d.session().closed());
}

TEST(SmtpServerFilterTest, ResetBetweenChunksIsAsked) {
  Dialogue d;
  d.Open();
  d.Say("BDAT 4\r\nab");
  EXPECT_TRUE(d.session().InMessage());
  d.decide = nullptr;
  EXPECT_THAT(Only("ask", d.Say("RSET")), ElementsAre("ask rset "));
  // The owner may give the message up meanwhile.
  d.session().RefuseMessage(replies::TemporaryFailure());
  d.Decide(FilterVerdict::kProceed);
  EXPECT_THAT(Only("tx-", d.Take()),
              ElementsAre("tx-rollback 686036a3", "tx-reset 686036a3"));
  EXPECT_FALSE(d.session().InMessage());
}

// ---- One command after the other

TEST(SmtpServerFilterTest, WhileAQuestionIsOpenTheRestWaits) {
  Dialogue d;
  d.Open();
  d.decide = nullptr;
  EXPECT_THAT(Only("ask", d.Say("RCPT TO:<x@y>\r\nRCPT TO:<z@y>\r\nNOOP")),
              ElementsAre("ask rcpt-to x@y"));
  EXPECT_TRUE(d.session().waits_for_answer());
  EXPECT_THAT(d.Say("RSET"), IsEmpty());
  d.Decide(FilterVerdict::kReject, "550 5.7.1 No");
  d.Decide(FilterVerdict::kProceed);
  d.Decide(FilterVerdict::kProceed);
  d.Decide(FilterVerdict::kProceed);
  EXPECT_THAT(Only("< ", d.Take()),
              ElementsAre("< 550 5.7.1 No",
                          "< 250 2.1.5 Destination address valid: Recipient "
                          "ok",
                          "< 250 2.0.0 Ok", "< 250 2.0.0 Reset state"));
}

TEST(SmtpServerFilterTest, OnlyTheOpenQuestionIsAnswered) {
  Dialogue d;
  d.decide = nullptr;
  d.Greet();
  d.Take();
  d.session().ResumeFilter(77, FilterVerdict::kProceed);
  EXPECT_THAT(d.Take(), IsEmpty());
  d.Decide(FilterVerdict::kProceed);
  EXPECT_THAT(Only("< ", d.Take()), testing::SizeIs(1));
  // Closed meanwhile.
  d.Say("NOOP");
  d.session().Close(replies::ShuttingDown());
  d.Take();
  d.Decide(FilterVerdict::kProceed);
  EXPECT_THAT(d.Take(), IsEmpty());
}

// ---- TLS and AUTH

TEST(SmtpServerFilterTest, NothingBehindStartTlsIsHeard) {
  SmtpServerOptions options = Dialogue::Options();
  options.tls = SmtpServerOptions::Tls::kOffered;
  Dialogue d(kAllPhases, kAllFilterEvents, options);
  d.Greet();
  d.Say("EHLO c2");
  d.decide = nullptr;
  EXPECT_THAT(Only("ask", d.Say("STARTTLS\r\nMAIL FROM:<evil@x>")),
              ElementsAre("ask starttls "));
  EXPECT_FALSE(d.tls_asked);
  d.Send("RCPT TO:<evil@x>\r\n");
  d.Decide(FilterVerdict::kProceed);
  EXPECT_TRUE(d.tls_asked);
  d.Send("DATA\r\n");
  EXPECT_THAT(Only("< ", d.Take()), ElementsAre("< 220 2.0.0 Ready to start "
                                                "TLS"));
  d.session().OnTlsStarted();
  EXPECT_THAT(d.Take(), IsEmpty());
  // Refused, all of it is heard.
  Dialogue refused(kAllPhases, 0, options);
  refused.Greet();
  refused.Say("EHLO c2");
  refused.decide = nullptr;
  refused.Say("STARTTLS\r\nHELP");
  refused.Decide(FilterVerdict::kReject, "454 4.7.0 No");
  EXPECT_THAT(Only("< ", refused.Take()), testing::SizeIs(testing::Gt(1u)));
  EXPECT_FALSE(refused.tls_asked);
}

TEST(SmtpServerFilterTest, PasswordsAreForTheQuestionAlone) {
  SmtpServerOptions options = Dialogue::Options();
  options.auth = SmtpServerOptions::Auth::kOptional;
  options.auth_in_clear = true;
  for (const char* line :
       {"AUTH PLAIN AGpvZQBzZWNyZXQ=", "auth plain AGpvZQBzZWNyZXQ="}) {
    Dialogue d(kAllPhases, kAllFilterEvents, options);
    d.Greet();
    d.Say("EHLO c2");
    const std::vector<std::string> log = d.Say(line);
    EXPECT_EQ(log[0],
              absl::StrCat("protocol-client ",
                           absl::string_view(line).substr(0, 10), " ********"));
    EXPECT_EQ(log[1],
              absl::StrCat("ask auth ", absl::string_view(line).substr(5)));
    EXPECT_EQ(log[2], "auth");
  }
  Dialogue d(kAllPhases, kAllFilterEvents, options);
  d.Greet();
  d.Say("EHLO c2");
  const std::vector<std::string> log = d.Say("AUTH LOGIN\r\nam9l\r\nc2VjcmV0");
  EXPECT_THAT(
      Only("protocol-client", log),
      ElementsAre("protocol-client AUTH LOGIN", "protocol-client ********",
                  "protocol-client ********"));
  EXPECT_THAT(Only("ask", log), ElementsAre("ask auth LOGIN"));
  EXPECT_THAT(Only("protocol-server", log),
              ElementsAre("protocol-server 334 VXNlcm5hbWU6",
                          "protocol-server 334 UGFzc3dvcmQ6",
                          "protocol-server 235 2.0.0 Authentication "
                          "succeeded"));
  // Refused, what was an answer is taken for a command.
  Dialogue refused(kAllPhases, kAllFilterEvents, options);
  refused.Greet();
  refused.Say("EHLO c2");
  refused.decide = [](const FilterAsked&) {
    return Dialogue::Decision(FilterVerdict::kReject, "535 5.7.8 No");
  };
  const std::string told = absl::StrJoin(
      refused.Say("AUTH PLAIN AGpvZQBzZWNyZXQ=\r\nc2VjcmV0"), "\n");
  EXPECT_THAT(told, HasSubstr("failed AUTH PLAIN (...) -> 535 5.7.8 No"));
  EXPECT_THAT(told, HasSubstr("protocol-client ********\n"));
  EXPECT_THAT(told, Not(HasSubstr("c2VjcmV0")));
}

TEST(SmtpServerFilterTest, AnotherClientIsAskedAboutAnew) {
  Dialogue d;
  d.session().OfferXclient(true);
  d.Greet();
  d.Take();
  EXPECT_THAT(d.Say("XCLIENT ADDR=198.51.100.7 HELO=c9"),
              ElementsAre("protocol-client XCLIENT ADDR=198.51.100.7 HELO=c9",
                          "link-identify EHLO|c9", "ask connect ",
                          "< 220 mx.test ESMTP Holdfast",
                          "protocol-server 220 mx.test ESMTP Holdfast",
                          "link-greeting mx.test"));
}

}  // namespace
}  // namespace holdfast
