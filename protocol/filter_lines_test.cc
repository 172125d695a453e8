#include "protocol/filter_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace holdfast {
namespace {

using testing::ElementsAre;

constexpr SessionId kIn{0x103e0bd67641321e};
constexpr SessionId kOut{0x103e0bd9bfd81d8e};

absl::Time At(int64_t micros) {
  return absl::FromUnixMicros(1795324008000000 + micros);
}

std::string Report(FilterProtocol protocol, FilterEvent event,
                   const std::vector<std::string>& fields) {
  std::string out;
  AppendFilterReport(protocol, At(0), false, event, kIn, fields, &out);
  return out;
}

TEST(FilterLines, Greeting) {
  std::string out;
  FilterGreeting greeting;
  greeting.version = "7.8.0-portable";
  greeting.smtp_out = true;
  greeting.admd = "mx.example.org";
  AppendFilterGreeting(greeting, &out);
  EXPECT_EQ(out,
            "config|smtpd-version|7.8.0-portable\n"
            "config|protocol|0.7\n"
            "config|smtp-session-timeout|300\n"
            "config|subsystem|smtp-in\n"
            "config|subsystem|smtp-out\n"
            "config|admd|mx.example.org\n"
            "config|ready\n");
  out.clear();
  greeting.smtp_out = false;
  greeting.protocol = FilterProtocol::k06;
  AppendFilterGreeting(greeting, &out);
  EXPECT_EQ(out,
            "config|smtpd-version|7.8.0-portable\n"
            "config|protocol|0.6\n"
            "config|smtp-session-timeout|300\n"
            "config|subsystem|smtp-in\n"
            "config|admd|mx.example.org\n"
            "config|ready\n");
}

// What smtpd says in the conversation of reference part 2, section 7.9, line by
// line.
TEST(FilterLines, ConversationOfTheReference) {
  std::string out;
  const auto report = [&](int64_t at, FilterEvent event,
                          const std::vector<std::string>& fields) {
    AppendFilterReport(FilterProtocol::k07, At(at), false, event, kIn, fields,
                       &out);
  };
  const auto ask = [&](int64_t at, FilterPhase phase, uint64_t token,
                       absl::string_view parameter) {
    AppendFilterRequest(FilterProtocol::k07, At(at), phase, kIn, token,
                        parameter, &out);
  };
  report(64713, FilterEvent::kLinkConnect,
         {"localhost", "pass", "127.0.0.1:53462", "127.0.0.1:25"});
  ask(64755, FilterPhase::kConnect, 0x1eabbd051a09d2a8, "localhost|127.0.0.1");
  report(64975, FilterEvent::kFilterResponse, {"connected", "proceed"});
  report(64980, FilterEvent::kProtocolServer,
         {"220 mx.example.org ESMTP OpenSMTPD"});
  report(64990, FilterEvent::kLinkGreeting, {"mx.example.org"});
  report(65215, FilterEvent::kProtocolClient, {"EHLO c2"});
  ask(65245, FilterPhase::kEhlo, 0x1eabbd07774dffa2, "c2");
  report(65323, FilterEvent::kLinkIdentify, {"EHLO", "c2"});
  report(65710, FilterEvent::kTxBegin, {"686036a3"});
  report(65712, FilterEvent::kTxMail, {"686036a3", "ok", "sender@example.com"});
  report(66211, FilterEvent::kTxEnvelope, {"686036a3", "686036a322ceea0e"});
  ask(67361, FilterPhase::kData, 0x1eabbd0c7bf3da81, "");
  ask(67705, FilterPhase::kDataLine, 0x1eabbd0d5ceb0ad0,
      "\tby mx.example.org (OpenSMTPD) with ESMTP id 686036a3;");
  ask(67868, FilterPhase::kDataLine, 0x1eabbd0d5ceb0ad0, ".");
  report(68227, FilterEvent::kTxCommit, {"686036a3", "536"});
  report(68730, FilterEvent::kLinkDisconnect, {});
  AppendFilterReport(FilterProtocol::k07, At(69841), true,
                     FilterEvent::kLinkIdentify, kOut,
                     {"EHLO", "mx.example.org"}, &out);
  const std::string in = "|smtp-in|";
  const std::string r = "report|0.7|1795324008.0";
  const std::string f = "filter|0.7|1795324008.0";
  const std::string s = "|103e0bd67641321e";
  EXPECT_EQ(
      out,
      r + "64713" + in + "link-connect" + s +
          "|localhost|pass|127.0.0.1:53462|127.0.0.1:25\n" +  //
          f + "64755" + in + "connect" + s +
          "|1eabbd051a09d2a8|localhost|127.0.0.1\n" +  //
          r + "64975" + in + "filter-response" + s + "|connected|proceed\n" +
          r + "64980" + in + "protocol-server" + s +
          "|220 mx.example.org ESMTP OpenSMTPD\n" +                       //
          r + "64990" + in + "link-greeting" + s + "|mx.example.org\n" +  //
          r + "65215" + in + "protocol-client" + s + "|EHLO c2\n" +       //
          f + "65245" + in + "ehlo" + s + "|1eabbd07774dffa2|c2\n" +      //
          r + "65323" + in + "link-identify" + s + "|EHLO|c2\n" +         //
          r + "65710" + in + "tx-begin" + s + "|686036a3\n" +             //
          r + "65712" + in + "tx-mail" + s +
          "|686036a3|ok|sender@example.com\n" +  //
          r + "66211" + in + "tx-envelope" + s +
          "|686036a3|686036a322ceea0e\n" +                          //
          f + "67361" + in + "data" + s + "|1eabbd0c7bf3da81|\n" +  //
          f + "67705" + in + "data-line" + s +
          "|1eabbd0d5ceb0ad0|\tby mx.example.org (OpenSMTPD) with ESMTP id "
          "686036a3;\n" +  //
          f +
          "67868" + in + "data-line" + s + "|1eabbd0d5ceb0ad0|.\n" +  //
          r + "68227" + in + "tx-commit" + s + "|686036a3|536\n" +    //
          r + "68730" + in + "link-disconnect" + s + "\n" +           //
          r +
          "69841|smtp-out|link-identify|103e0bd9bfd81d8e|EHLO|"
          "mx.example.org\n");
}

TEST(FilterLines, FieldsStandWhereTheVersionHasThem) {
  using P = FilterProtocol;
  const std::string auth =
      "report|0.%|1795324008.000000|smtp-in|link-auth|"
      "103e0bd67641321e|";
  const auto line = [](std::string text, char version, const char* rest) {
    text[text.find('%')] = version;
    return text + rest + "\n";
  };
  const std::vector<std::string> passed = {"pass", "joe"};
  EXPECT_EQ(Report(P::k07, FilterEvent::kLinkAuth, passed),
            line(auth, '7', "pass|joe"));
  EXPECT_EQ(Report(P::k06, FilterEvent::kLinkAuth, passed),
            line(auth, '6', "joe|pass"));
  EXPECT_EQ(Report(P::k05, FilterEvent::kLinkAuth, passed),
            line(auth, '5', "joe|pass"));
  const std::string rcpt =
      "report|0.%|1795324008.000000|smtp-in|tx-rcpt|"
      "103e0bd67641321e|";
  const std::vector<std::string> taken = {"686036a3", "ok", "joe@example.org"};
  EXPECT_EQ(Report(P::k07, FilterEvent::kTxRcpt, taken),
            line(rcpt, '7', "686036a3|ok|joe@example.org"));
  EXPECT_EQ(Report(P::k06, FilterEvent::kTxRcpt, taken),
            line(rcpt, '6', "686036a3|ok|joe@example.org"));
  EXPECT_EQ(Report(P::k05, FilterEvent::kTxRcpt, taken),
            line(rcpt, '5', "686036a3|joe@example.org|ok"));
}

// A client cannot write lines of its own to a filter, nor fields.
TEST(FilterLines, WhatWouldEndALineOrAFieldIsReplaced) {
  EXPECT_EQ(Report(FilterProtocol::k07, FilterEvent::kLinkIdentify,
                   {"EH|LO", std::string("a|b\r\nreport\0|x", 13)}),
            "report|0.7|1795324008.000000|smtp-in|link-identify|"
            "103e0bd67641321e|EH?LO|a|b??report?|\n");
  std::string out;
  AppendFilterRequest(FilterProtocol::k07, At(0), FilterPhase::kEhlo, kIn, 1,
                      "a\nb", &out);
  EXPECT_EQ(out,
            "filter|0.7|1795324008.000000|smtp-in|ehlo|103e0bd67641321e|"
            "0000000000000001|a?b\n");
}

TEST(FilterLines, PrefixIsARequestWithoutItsEnd) {
  std::string whole;
  AppendFilterRequest(FilterProtocol::k06, At(7), FilterPhase::kDataLine, kIn,
                      2, "x", &whole);
  EXPECT_EQ(FilterRequestPrefix(FilterProtocol::k06, At(7),
                                FilterPhase::kDataLine, kIn, 2) +
                "x\n",
            whole);
}

template <class Line>
Line Parsed(absl::string_view text) {
  const absl::StatusOr<FilterLine> line = ParseFilterLine(text);
  EXPECT_TRUE(line.ok()) << text << ": " << line.status();
  if (!line.ok() || !std::holds_alternative<Line>(*line)) {
    ADD_FAILURE() << "another kind of line: " << text;
    return Line();
  }
  return std::get<Line>(*line);
}

TEST(FilterLines, Registrations) {
  EXPECT_EQ(Parsed<FilterRegistersEvents>("register|report|smtp-in|*").events,
            kAllFilterEvents);
  const auto out =
      Parsed<FilterRegistersEvents>("register|report|smtp-out|tx-mail");
  EXPECT_TRUE(out.outgoing);
  EXPECT_EQ(out.events, MaskOf(FilterEvent::kTxMail));
  EXPECT_EQ(
      Parsed<FilterRegistersPhase>("register|filter|smtp-in|data-line").phase,
      FilterPhase::kDataLine);
  Parsed<FilterRegistersReady>("register|ready");
}

TEST(FilterLines, Decisions) {
  const auto result = [](absl::string_view rest) {
    return Parsed<FilterResult>(
        "filter-result|103e0bd67641321e|"
        "1eabbd051a09d2a8|" +
        std::string(rest));
  };
  const FilterResult proceed = result("proceed");
  EXPECT_EQ(proceed.session, kIn);
  EXPECT_EQ(proceed.token, 0x1eabbd051a09d2a8u);
  EXPECT_EQ(proceed.verdict, FilterVerdict::kProceed);
  EXPECT_EQ(result("junk").verdict, FilterVerdict::kJunk);
  const FilterResult reject = result("reject|550 no | never");
  EXPECT_EQ(reject.verdict, FilterVerdict::kReject);
  EXPECT_EQ(reject.text, "550 no | never");
  EXPECT_EQ(result("disconnect|421 bye").verdict, FilterVerdict::kDisconnect);
  EXPECT_EQ(result("rewrite|<a@b>").text, "<a@b>");
  EXPECT_EQ(result("report|seen").verdict, FilterVerdict::kReport);
}

TEST(FilterLines, DataLinesKeepAllTheyHold) {
  const auto line =
      Parsed<FilterDataline>("filter-dataline|103e0bd67641321e|1|a|b||c ");
  EXPECT_EQ(line.line, "a|b||c ");
  EXPECT_EQ(line.token, 1u);
  EXPECT_EQ(Parsed<FilterDataline>("filter-dataline|1|1|").line, "");
}

TEST(FilterLines, ReportsOfItsOwn) {
  const auto says =
      Parsed<FilterSays>("report|1795324008.068085|smtp-in|1|virus | found");
  EXPECT_FALSE(says.outgoing);
  EXPECT_EQ(says.session, SessionId(1));
  EXPECT_EQ(says.text, "virus | found");
}

TEST(FilterLines, AllElseIsRefused) {
  for (const char* line : {"",
                           "hello",
                           "register",
                           "register|",
                           "register|report",
                           "register|report|smtp-in",
                           "register|report|smtp-in|",
                           "register|report|smtp-in|no-such",
                           "register|report|lmtp|*",
                           "register|filter|smtp-in|*",
                           "register|filter|smtp-in|no-such",
                           "register|filter|smtp-out|connect",
                           "register|other|smtp-in|connect",
                           "register|ready|",
                           "filter-result|1|1",
                           "filter-result|1|1|",
                           "filter-result|1|1|reject",
                           "filter-result|1|1|rewrite",
                           "filter-result|1|1|maybe",
                           "filter-result||1|proceed",
                           "filter-result|1||proceed",
                           "filter-result|x|1|proceed",
                           "filter-result|1|-1|proceed",
                           "filter-result|1|0x1|proceed",
                           "filter-result|00000000000000001|1|proceed",
                           "filter-dataline|1|1",
                           "filter-dataline|1|g|x",
                           "report|1.0|smtp-in|1",
                           "report|x|smtp-in|1|t",
                           "report|1|smtp-in|1|t",
                           "report|1.|smtp-in|1|t",
                           "report|.1|smtp-in|1|t",
                           "report|1.0|smtp|1|t",
                           "report|1.0|smtp-in||t",
                           "config|ready",
                           "FILTER-RESULT|1|1|proceed"})
    EXPECT_FALSE(ParseFilterLine(line).ok()) << line;
}

std::vector<std::string> Lines(const std::string& bytes, size_t piece) {
  FilterLineReader reader;
  std::vector<std::string> lines;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    EXPECT_TRUE(reader.Read(absl::string_view(bytes).substr(at, piece),
                            [&](absl::string_view line) {
                              lines.emplace_back(line);
                              return true;
                            }));
  }
  return lines;
}

TEST(FilterLineReader, CutAnywhere) {
  for (size_t piece = 1; piece < 12; ++piece)
    EXPECT_THAT(Lines("one\n\ntwo two\nrest", piece),
                ElementsAre("one", "", "two two"));
}

TEST(FilterLineReader, StopsWhenTold) {
  FilterLineReader reader;
  int lines = 0;
  EXPECT_FALSE(
      reader.Read("a\nb\nc\n", [&](absl::string_view) { return ++lines < 2; }));
  EXPECT_EQ(lines, 2);
  EXPECT_FALSE(reader.too_long());
}

TEST(FilterLineReader, HoldsNoLongerLineThanTheLimit) {
  const auto none = [](absl::string_view) { return true; };
  const std::string most(kMaxFilterLine + kMaxFilterPrefix, 'x');
  FilterLineReader reader;
  EXPECT_TRUE(reader.Read(most, none));
  EXPECT_EQ(reader.held(), most.size());
  EXPECT_FALSE(reader.Read("x", none));
  EXPECT_TRUE(reader.too_long());
  FilterLineReader whole;
  EXPECT_TRUE(whole.Read(most + "\n", none));
  EXPECT_FALSE(whole.Read(most + "x\n", none));
}

TEST(FilterReply, IsACodeAndAText) {
  for (const char* good : {"550 x", "421 4.3.0 later", "499 .", "450  "})
    EXPECT_TRUE(IsFilterReply(good)) << good;
  for (const char* bad : {"", "550", "550 ", "250 ok", "350 x", "650 x",
                          "55 xx", "5x0 no", "55x no", "550-x", "550x no"})
    EXPECT_FALSE(IsFilterReply(bad)) << bad;
}

TEST(FilterProtocolNames, AreThree) {
  for (const char* name : {"0.5", "0.6", "0.7"})
    EXPECT_EQ(FilterProtocolName(*FilterProtocolNamed(name)), name);
  EXPECT_FALSE(FilterProtocolNamed("0.4").has_value());
}

}  // namespace
}  // namespace holdfast
