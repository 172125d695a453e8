#include "protocol/milter_session.h"

#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using namespace std::string_literals;

// A packet as it is on the wire.
std::string P(const std::string& body) {
  std::string out;
  PutMilterNumber(static_cast<uint32_t>(body.size()), &out);
  return out + body;
}

std::string Options(uint32_t version, uint32_t actions, uint32_t steps,
                    const std::string& macros = "") {
  std::string data = "O";
  PutMilterNumber(version, &data);
  PutMilterNumber(actions, &data);
  PutMilterNumber(steps, &data);
  return P(data + macros);
}

class MilterSessionTest : public testing::Test, public MilterSession::Events {
 protected:
  void OnReady() override { heard += "ready;"; }
  void OnAnswer(MilterAnswer answer) override {
    static const char* const kNames[] = {"continue", "accept",     "reject",
                                         "tempfail", "disconnect", "discard"};
    absl::StrAppend(&heard, kNames[int(answer.kind)],
                    answer.text.empty() ? "" : " ", answer.text, ";");
  }
  void OnChange(MilterChange change) override {
    absl::StrAppend(&heard, "change ", int(change.kind), " ", change.name, "=",
                    change.value, ";");
  }
  void OnProgress() override { heard += "progress;"; }
  void OnBroken(const std::string& why) override {
    absl::StrAppend(&heard, "broken: ", why, ";");
  }

  // What the session has to say.
  std::string Said() {
    std::string said(session->output());
    session->OutputTaken();
    return said;
  }
  // What is heard when the milter says this.
  std::string Hear(const std::string& wire) {
    heard.clear();
    session->Receive(wire);
    return heard;
  }
  void Agree(uint32_t actions = kMilterActions, uint32_t steps = 0,
             const std::string& macros = "") {
    Said();
    ASSERT_EQ(Hear(Options(6, actions, steps, macros)), "ready;");
  }
  // Tells it of a message up to its end, everything continuing.
  void ToTheEnd() {
    ASSERT_TRUE(session->Mail("<a@b>", {}));
    Hear(P("c"));
    ASSERT_TRUE(session->EndOfMessage());
    Said();
  }

  std::string heard;
  std::unique_ptr<MilterSession> session =
      std::make_unique<MilterSession>(this);
};

TEST_F(MilterSessionTest, AWholeSession) {
  EXPECT_EQ(Said(), "\0\0\0\rO\0\0\0\6\0\0\1\xff\0\x1f\xff\xff"s);
  EXPECT_EQ(Hear(Options(6, kMilterActions, 0)), "ready;");
  session->SetMacro("j", "mx.test");
  session->SetMacro("client_addr", "192.0.2.1");
  EXPECT_TRUE(session->Connect("host.test", '4', 258, "192.0.2.1"));
  EXPECT_EQ(Said(), P("DCj\0mx.test\0{client_addr}\0"
                      "192.0.2.1\0"s) +
                        P("Chost.test\0"
                          "4\1\2"
                          "192.0.2.1\0"s));
  EXPECT_EQ(Hear(P("c")), "continue;");
  EXPECT_TRUE(session->Helo("me"));
  EXPECT_EQ(Said(), P("DH") + P("Hme\0"s));
  EXPECT_EQ(Hear(P("c")), "continue;");
  session->SetMacro("i", "0123abcd");
  EXPECT_TRUE(session->Mail("<a@b>", {"SIZE=10", "BODY=8BITMIME"}));
  EXPECT_EQ(Said(), P("DMi\0"
                      "0123abcd\0"s) +
                        P("M<a@b>\0SIZE=10\0BODY=8BITMIME\0"s));
  EXPECT_EQ(Hear(P("c")), "continue;");
  EXPECT_TRUE(session->Rcpt("<c@d>", {}));
  EXPECT_EQ(Said(), P("DRi\0"
                      "0123abcd\0"s) +
                        P("R<c@d>\0"s));
  EXPECT_EQ(Hear(P("c")), "continue;");
  EXPECT_TRUE(session->Data());
  EXPECT_EQ(Said(), P("DTi\0"
                      "0123abcd\0"s) +
                        P("T"));
  EXPECT_EQ(Hear(P("c")), "continue;");
  EXPECT_TRUE(session->Header("Subject", " hi\n there"));
  EXPECT_EQ(Said(), P("LSubject\0hi\n there\0"s));
  EXPECT_EQ(Hear(P("c")), "continue;");
  EXPECT_TRUE(session->EndOfHeaders());
  EXPECT_EQ(Said(), P("DNi\0"
                      "0123abcd\0"s) +
                        P("N"));
  EXPECT_EQ(Hear(P("c")), "continue;");
  EXPECT_TRUE(session->Body("a\r\n"));
  EXPECT_EQ(Said(), P("Ba\r\n"));
  EXPECT_EQ(Hear(P("c")), "continue;");
  EXPECT_TRUE(session->EndOfMessage());
  EXPECT_EQ(Said(), P("DEi\0"
                      "0123abcd\0"s) +
                        P("E"));
  EXPECT_EQ(Hear(P("p") + P("hX-A\0b\0"s) + P("m\0\0\0\1X-B\0c\0"s) +
                 P("bnew") + P("-<c@d>\0"s) + P("qodd\0"s) + P("c")),
            "progress;change 0 X-A=b;change 2 X-B=c;change 3 =new;"
            "change 6 =<c@d>;change 7 =odd;continue;");
  // The next message needs no abort; giving it up does.
  EXPECT_TRUE(session->Mail("<>", {}));
  EXPECT_EQ(Said(), P("DMi\0"
                      "0123abcd\0"s) +
                        P("M<>\0"s));
  EXPECT_EQ(Hear(P("c")), "continue;");
  session->Abort();
  session->Abort();
  EXPECT_EQ(Said(), P("A"));
  session->Quit();
  EXPECT_EQ(Said(), P("Q"));
  EXPECT_TRUE(session->over());
}

TEST_F(MilterSessionTest, WhatItDoesNotWantIsNotSaid) {
  Agree(0, kMilterNoConnect | kMilterNoHelo | kMilterNoMail | kMilterNoRcpt |
               kMilterNoData | kMilterNoHeaders | kMilterNoEndOfHeaders |
               kMilterNoBody);
  EXPECT_FALSE(session->Connect("h", 'U', 0, ""));
  EXPECT_FALSE(session->Helo("h"));
  EXPECT_FALSE(session->Mail("<a@b>", {}));
  EXPECT_FALSE(session->Rcpt("<a@b>", {}));
  EXPECT_FALSE(session->Data());
  EXPECT_FALSE(session->Header("A", "b"));
  EXPECT_FALSE(session->EndOfHeaders());
  EXPECT_FALSE(session->Body("x"));
  EXPECT_EQ(Said(), "");
  EXPECT_TRUE(session->EndOfMessage());
}

TEST_F(MilterSessionTest, WhatItDoesNotAnswerIsSaid) {
  Agree(0, kMilterNoReplyConnect | kMilterNoReplyHelo | kMilterNoReplyMail |
               kMilterNoReplyRcpt | kMilterNoReplyData | kMilterNoReplyHeader |
               kMilterNoReplyEndOfHeaders | kMilterNoReplyBody);
  EXPECT_FALSE(session->Connect("h", 'U', 0, ""));
  EXPECT_EQ(Said(), P("DC") + P("Ch\0U"s));
  EXPECT_FALSE(session->Helo("h"));
  EXPECT_FALSE(session->Mail("<a@b>", {}));
  EXPECT_FALSE(session->Rcpt("<a@b>", {}));
  EXPECT_FALSE(session->Data());
  EXPECT_FALSE(session->Header("A", "b"));
  EXPECT_FALSE(session->EndOfHeaders());
  EXPECT_FALSE(session->Body("x"));
  EXPECT_EQ(Said(), P("DH") + P("Hh\0"s) + P("DM") + P("M<a@b>\0"s) + P("DR") +
                        P("R<a@b>\0"s) + P("DT") + P("T") + P("LA\0b\0"s) +
                        P("DN") + P("N") + P("Bx"));
  EXPECT_TRUE(session->EndOfMessage());
}

TEST_F(MilterSessionTest, MacrosThatItNames) {
  Agree(kMilterNameMacros, 0,
        "\0\0\0\2{auth_authen},x\0\0\0\0\0\0"s);  // mail two, connect none
  session->SetMacro("i", "0123abcd");
  session->SetMacro("j", "mx");
  session->SetMacro("auth_authen", "joe");
  ASSERT_TRUE(session->Connect("h", 'L', 0, "/s"));
  EXPECT_EQ(Said(), P("DC") + P("Ch\0L\0\0/s\0"s));
  Hear(P("c"));
  ASSERT_TRUE(session->Mail("<a@b>", {}));
  EXPECT_EQ(Said(), P("DM{auth_authen}\0joe\0"s) + P("M<a@b>\0"s));
  Hear(P("c"));
  session->SetMacro("i", "");
  ASSERT_TRUE(session->Rcpt("<a@b>", {}));
  EXPECT_EQ(Said(), P("DR") + P("R<a@b>\0"s));
}

TEST_F(MilterSessionTest, LeadingSpace) {
  Agree(0, kMilterLeadingSpace);
  ASSERT_TRUE(session->Mail("<a@b>", {}));
  Hear(P("c"));
  Said();
  ASSERT_TRUE(session->Header("A", "  b"));
  EXPECT_EQ(Said(), P("LA\0  b\0"s));
}

TEST_F(MilterSessionTest, AnOldMilterHearsNothingOfData) {
  Said();
  EXPECT_EQ(Hear(Options(2, 0, 0)), "ready;");
  EXPECT_TRUE(session->Mail("<a@b>", {}));
  Hear(P("c"));
  EXPECT_FALSE(session->Data());
}

TEST_F(MilterSessionTest, RefusedAtConnect) {
  Agree();
  ASSERT_TRUE(session->Connect("h", 'U', 0, ""));
  EXPECT_EQ(Hear(P("r")), "reject 554 5.7.1 Command rejected;");
  EXPECT_FALSE(session->Helo("h"));
  EXPECT_FALSE(session->Mail("<a@b>", {}));
}

TEST_F(MilterSessionTest, AcceptedAtHelo) {
  Agree();
  ASSERT_TRUE(session->Helo("h"));
  EXPECT_EQ(Hear(P("a")), "accept;");
  EXPECT_FALSE(session->wants_message());
  EXPECT_TRUE(session->finished());
  EXPECT_FALSE(session->Mail("<a@b>", {}));
  EXPECT_FALSE(session->EndOfMessage());
}

TEST_F(MilterSessionTest, AMessageAcceptedEarly) {
  Agree();
  ASSERT_TRUE(session->Mail("<a@b>", {}));
  EXPECT_EQ(Hear(P("a")), "accept;");
  Said();
  EXPECT_FALSE(session->Rcpt("<a@b>", {}));
  EXPECT_FALSE(session->EndOfMessage());
  EXPECT_EQ(Said(), "");
  // The next one is heard of again.
  EXPECT_TRUE(session->Mail("<a@b>", {}));
  EXPECT_EQ(Said(), P("A") + P("DM") + P("M<a@b>\0"s));
}

TEST_F(MilterSessionTest, ARecipientRefusedIsThatOneOnly) {
  Agree();
  ASSERT_TRUE(session->Mail("<a@b>", {}));
  Hear(P("c"));
  ASSERT_TRUE(session->Rcpt("<c@d>", {}));
  EXPECT_EQ(Hear(P("r")), "reject 550 5.7.1 Command rejected;");
  ASSERT_TRUE(session->Rcpt("<e@d>", {}));
  EXPECT_EQ(Hear(P("y451 4.2.1 later\0"s)), "tempfail 451 4.2.1 later;");
  EXPECT_TRUE(session->Rcpt("<f@d>", {}));
  EXPECT_EQ(Hear(P("d")), "discard;");
  EXPECT_FALSE(session->Rcpt("<g@d>", {}));
}

TEST_F(MilterSessionTest, Verdicts) {
  const struct {
    std::string packet, heard;
  } kCases[] = {
      {P("t"), "tempfail 451 4.7.1 Please try again later;"},
      {P("y550-5.1.0 no\r\n550 5.1.0 way\0"s), "reject 550 5.1.0 no way;"},
      {P("y421 4.3.2 bye\0"s), "disconnect 421 4.3.2 bye;"},
      {P("4"), "disconnect 421 4.7.0 Service not available;"},
      {P("f"), "disconnect 421 4.7.0 Service not available;"},
      {P("d"), "discard;"},
  };
  for (const auto& c : kCases) {
    session = std::make_unique<MilterSession>(this);
    Agree();
    ToTheEnd();
    EXPECT_EQ(Hear(c.packet), c.heard);
    EXPECT_TRUE(session->ready());
    // The next message is heard of, unless there is none.
    EXPECT_EQ(session->Mail("<a@b>", {}),
              !absl::StartsWith(c.heard, "disconnect"));
  }
}

TEST_F(MilterSessionTest, Skip) {
  Agree(0, kMilterSkip);
  ASSERT_TRUE(session->Mail("<a@b>", {}));
  Hear(P("c"));
  ASSERT_TRUE(session->Body("x"));
  EXPECT_EQ(Hear(P("s")), "continue;");
  Said();
  EXPECT_FALSE(session->Body("y"));
  EXPECT_EQ(Said(), "");
  EXPECT_TRUE(session->EndOfMessage());
  Hear(P("c"));
  ASSERT_TRUE(session->Mail("<a@b>", {}));
  Hear(P("c"));
  EXPECT_TRUE(session->Body("x"));  // of the next message
}

TEST_F(MilterSessionTest, BreaksOfTheProtocol) {
  const struct {
    std::string packet, why;
  } kAtHelo[] = {
      {P("d"), "it discards a session"},
      {P("s"), "it skips what can't be skipped"},
      {P("hX\0y\0"s), "it changes a message before its end"},
      {P("z"), "unknown packet 122"},
      {P("cx"), "an answer with data behind it"},
      {P("y250 ok\0"s), "malformed packet 'y'"},
      {P("c") + P("c"), "it answers before it is asked"},
      {"SSH-"s, "packet of 1397966893 octets"},
      {P("O"), "unknown packet 79"},
  };
  for (const auto& c : kAtHelo) {
    session = std::make_unique<MilterSession>(this);
    Agree();
    ASSERT_TRUE(session->Helo("h"));
    EXPECT_THAT(Hear(c.packet),
                testing::EndsWith(absl::StrCat("broken: ", c.why, ";")));
    EXPECT_TRUE(session->over());
    EXPECT_EQ(Hear(P("c")), "");  // nothing more is heard, or said
    Said();
    EXPECT_FALSE(session->Helo("h"));
    session->Quit();
    EXPECT_EQ(Said(), "");
  }
  for (const std::string& packet :
       {P("c"), Options(7, 0, 0), Options(6, 0x200, 0), P("Ox")}) {
    session = std::make_unique<MilterSession>(this);
    EXPECT_THAT(Hear(packet), testing::StartsWith("broken: "));
  }
  session = std::make_unique<MilterSession>(this);
  Agree(kMilterAddHeaders);
  ToTheEnd();
  EXPECT_EQ(Hear(P("bnew body")),
            "broken: it changes what it did not say it would;");
}

}  // namespace
}  // namespace holdfast
