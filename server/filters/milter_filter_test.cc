#include "server/filters/milter_filter.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/filters/milter_test_bed.h"

namespace holdfast {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kReceived[] =
    "Received: from client (client.test [192.0.2.1])\n"
    "\tby mx.test (Holdfast) with ESMTP id 0123abcd;\n\tnow\n";

TEST_F(MilterFilterTest, AWholeMessage) {
  UpToData();
  ASSERT_TRUE(session_->Wants(FilterPhase::kDataLine));
  const std::string text =
      absl::StrCat(kReceived, "Subject: hi\n there\n\nbody\n.\n");
  EXPECT_EQ(Pass(text), "end");
  EXPECT_EQ(output_, text);
  EXPECT_EQ(milter_->heard, "OCHMRTLNBE");
  EXPECT_EQ(milter_->told['C'],
            "client.test\0"
            "4\x9\xdd"
            "192.0.2.1\0"s);
  EXPECT_THAT(milter_->macros['C'], HasSubstr("j\0mx.test\0"s));
  EXPECT_THAT(milter_->macros['C'], HasSubstr("{client_port}\0"
                                              "2525\0"s));
  EXPECT_THAT(milter_->macros['C'], HasSubstr("_\0client.test [192.0.2.1]\0"s));
  EXPECT_EQ(milter_->told['H'], "client\0"s);
  EXPECT_EQ(milter_->told['M'], "<a@b>\0SIZE=10\0BODY=8BITMIME\0"s);
  EXPECT_EQ(milter_->macros['M'], "{mail_addr}\0a@b\0"s);
  EXPECT_EQ(milter_->told['R'], "<c@d>\0"s);
  EXPECT_EQ(milter_->macros['R'],
            "i\0"
            "0123abcd\0{rcpt_addr}\0c@d\0"s);
  EXPECT_EQ(milter_->header, "Subject=hi\n there=;");
  EXPECT_EQ(milter_->body, "body\r\n.\r\n");
  EXPECT_FALSE(session_->Wants(FilterPhase::kCommit));
  // Another message on the same connection.
  session_->OnReport(absl::Now(), FilterEvent::kTxReset, {"0123abcd"});
  Envelope();
  EXPECT_EQ(Pass("To: x\n\n"), "end");
  EXPECT_EQ(milter_->heard, "OCHMRTLNBEMRTLNE");
  EXPECT_EQ(connects_, 1);
  session_ = nullptr;
  loop_->Run();
  EXPECT_EQ(milter_->heard, "OCHMRTLNBEMRTLNEQ");
  EXPECT_TRUE(milter_->closed);
}

TEST_F(MilterFilterTest, UnknownAndLocalClients) {
  facts_.rdns = "<unknown>";
  facts_.fcrdns = "error";
  facts_.source = "[2001:db8::2]:25";
  Begin();
  EXPECT_EQ(Ask(FilterPhase::kConnect), "proceed");
  EXPECT_EQ(milter_->told['C'],
            "[IPv6:2001:db8::2]\0"
            "6\0\x19"
            "2001:db8::2\0"s);
  EXPECT_THAT(milter_->macros['C'], HasSubstr("{client_name}\0unknown\0"s));
  facts_.source = "unix:/run/smtpd.sock";
  Begin();
  EXPECT_EQ(Ask(FilterPhase::kConnect), "proceed");
  EXPECT_EQ(milter_->told['C'],
            "localhost\0"
            "4\0\0"
            "127.0.0.1\0"s);
}

TEST_F(MilterFilterTest, EveryChange) {
  answers_['E'] = P("hX-New\0yes\0"s) + P("i\0\0\0\0X-Top\0a\nb\0"s) +
                  P("m\0\0\0\1Subject\0changed\0"s) + P("m\0\0\0\1X-Bad\0\0"s) +
                  P("bnew\r") + P("b\nbody") + P("e<new@a>\0"s) +
                  P("+<add@a>\0"s) + P("2add2@a\0NOTIFY=NEVER\0"s) +
                  P("-<c@d>\0"s) + P("qodd\0"s) + P("p") + P("a");
  UpToData();
  EXPECT_EQ(
      Pass(absl::StrCat(kReceived, "Subject: x\nX-Bad: y\n\nold\nbody\n")),
      "end");
  EXPECT_EQ(output_,
            absl::StrCat("X-Top: a\n\tb\n", kReceived,
                         "Subject: changed\nX-New: yes\n\nnew\nbody\n"));
  EXPECT_EQ(Ask(FilterPhase::kCommit), "proceed");
  EXPECT_TRUE(answer_.changes_sender);
  EXPECT_EQ(answer_.sender, "<new@a>");
  EXPECT_THAT(answer_.add_recipients, ElementsAre("<add@a>", "<add2@a>"));
  EXPECT_THAT(answer_.remove_recipients, ElementsAre("<c@d>"));
  EXPECT_TRUE(answer_.quarantine);
  EXPECT_EQ(answer_.reason, "odd");
  EXPECT_EQ(Ask(FilterPhase::kCommit), "not asked");
}

TEST_F(MilterFilterFileTest, LargeBodiesBothWays) {
  std::string body, replaced;
  while (body.size() < 700000) absl::StrAppend(&body, body.size(), "\n");
  for (int i = 0; i < 12; ++i) {
    const std::string chunk(60000, 'a' + i);
    absl::StrAppend(&answers_['E'], P("b" + chunk));
    absl::StrAppend(&replaced, chunk);
  }
  answers_['E'] += P("c");
  UpToData();
  EXPECT_EQ(Pass("To: x\n\n" + body), "end");
  EXPECT_EQ(output_, "To: x\n\n" + replaced + "\n");
  EXPECT_EQ(milter_->body, absl::StrReplaceAll(body, {{"\n", "\r\n"}}));
  milter_->answers.erase('E');
  Envelope();
  EXPECT_EQ(Pass("To: x\n\n" + body), "end");
  EXPECT_EQ(output_, "To: x\n\n" + body);
}

TEST_F(MilterFilterTest, RefusalsInEachPhase) {
  const std::string no = P("y550 5.7.1 no\0"s);
  const struct {
    char at;
    std::string answer, expected;
  } kCases[] = {
      {'C', P("r"), "reject 554 5.7.1 Command rejected"},
      {'C', P("t"), "disconnect 421 4.7.1 Please try again later"},
      {'H', no, "reject 550 5.7.1 no"},
      {'M', no, "reject 550 5.7.1 no"},
      {'R', P("t"), "reject 451 4.7.1 Please try again later"},
      {'T', P("4"), "disconnect 421 4.7.0 Service not available"},
      {'L', no, "550 5.7.1 no"},
      {'N', no, "550 5.7.1 no"},
      {'B', no, "550 5.7.1 no"},
      {'E', P("r"), "550 5.7.1 Command rejected"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.at);
    answers_ = {{c.at, c.answer}};
    Begin();
    facts_.message.clear();
    std::string said = Ask(FilterPhase::kConnect);
    if (said == "proceed") said = Ask(FilterPhase::kHelo, "x");
    // A session refused at HELO stays refused.
    if (c.at == 'H') {
      EXPECT_EQ(Ask(FilterPhase::kMailFrom, "a@b"), said);
    }
    if (said == "proceed") said = Ask(FilterPhase::kMailFrom, "");
    if (said == "proceed") said = Ask(FilterPhase::kRcptTo, "c@d");
    if (said == "proceed") said = Ask(FilterPhase::kData);
    if (said == "proceed") said = Pass("To: x\n\nbody\n");
    EXPECT_EQ(said, c.expected);
    if (c.at == 'R') {
      milter_->answers.clear();
      EXPECT_EQ(Ask(FilterPhase::kRcptTo, "e@d"), "proceed");
    }
  }
}

TEST_F(MilterFilterTest, Discard) {
  for (const char at : {'M', 'R', 'T', 'L', 'N', 'B', 'E'}) {
    SCOPED_TRACE(at);
    answers_ = {{at, P("d")}};
    UpToData();
    if (session_->Wants(FilterPhase::kDataLine)) {
      EXPECT_EQ(Pass("To: x\n\nbody\n"), "end");
    }
    EXPECT_EQ(Ask(FilterPhase::kCommit), "discard");
    // The next message is another one.
    milter_->answers.clear();
    Envelope();
    EXPECT_TRUE(session_->Wants(FilterPhase::kDataLine));
    EXPECT_EQ(Ask(FilterPhase::kCommit), "not asked");
  }
}

TEST_F(MilterFilterTest, AcceptedEarly) {
  answers_['L'] = P("a");
  UpToData();
  EXPECT_EQ(Pass("To: x\nCc: y\n\nbody\n"), "end");
  EXPECT_EQ(output_, "To: x\nCc: y\n\nbody\n");
  EXPECT_EQ(milter_->heard, "OCHMRTL");
  Envelope();
  loop_->Run();
  EXPECT_THAT(milter_->heard, StartsWith("OCHMRTLAMRT"));
}

TEST_F(MilterFilterTest, QuestionsKeptFromItAreMadeUpFor) {
  Begin();
  facts_.sender = "a@b";
  facts_.message = "0123abcd";
  EXPECT_EQ(Ask(FilterPhase::kRcptTo, "c@d"), "proceed");
  EXPECT_EQ(milter_->heard, "OCMR");
  EXPECT_EQ(milter_->told['M'], "<a@b>\0"s);
}

TEST_F(MilterFilterTest, OutgoingSessionsAreNotItsOwn) {
  facts_.outgoing = true;
  Begin();
  EXPECT_FALSE(session_->Wants(FilterPhase::kConnect));
  EXPECT_EQ(link_->events_out(), 0u);
}

}  // namespace
}  // namespace holdfast
