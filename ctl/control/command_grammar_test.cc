#include "ctl/control/command_grammar.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(CommandGrammar, FullAndAbbreviated) {
  EXPECT_THAT(ParseCommand({"show", "routes"}).words,
              ElementsAre("show", "routes"));
  EXPECT_THAT(ParseCommand({"sh", "ro"}).words, ElementsAre("show", "routes"));
  EXPECT_THAT(ParseCommand({"mon"}).words, ElementsAre("monitor"));
  // `trace` is a word of its own, `show host` begins two.
  EXPECT_THAT(ParseCommand({"show", "hosts"}).words,
              ElementsAre("show", "hosts"));
  EXPECT_THAT(ParseCommand({"show", "host"}).words, IsEmpty());
}

TEST(CommandGrammar, Arguments) {
  EXPECT_THAT(ParseCommand({"remove", "8d1fc6650ae2cde2"}).words,
              ElementsAre("remove", "8d1fc6650ae2cde2"));
  EXPECT_THAT(ParseCommand({"sched", "8d1fc665"}).words,
              ElementsAre("schedule", "8d1fc665"));
  EXPECT_THAT(ParseCommand({"rem", "a"}).words, ElementsAre("remove", "all"));
  EXPECT_THAT(ParseCommand({"pause", "env", "all"}).words,
              ElementsAre("pause", "envelope", "all"));
  EXPECT_THAT(ParseCommand({"pause", "mta"}).words,
              ElementsAre("pause", "mta"));
  EXPECT_THAT(ParseCommand({"q", "ch"}).words, ElementsAre("queue", "check"));
  EXPECT_THAT(ParseCommand({"show", "queue", "00000000"}).words, IsEmpty());
}

TEST(CommandGrammar, RoutesAndBlocks) {
  EXPECT_THAT(ParseCommand({"res", "ro", "12"}).words,
              ElementsAre("resume", "route", "12"));
  EXPECT_THAT(ParseCommand({"en", "route"}).words,
              ElementsAre("encrypt", "route"))
      << "as there, although enable begins so, too";
  EXPECT_THAT(ParseCommand({"enab", "route", "1"}).words,
              ElementsAre("enable", "route", "1"));
  EXPECT_THAT(ParseCommand({"disable", "route", "0"}).errors,
              ElementsAre("possibilities are:", "disable route <routeid>"));
  EXPECT_THAT(
      ParseCommand({"pau", "mta", "from", "[]", "for", "example.net"}).words,
      ElementsAre("pause", "mta", "from", "[]", "for", "example.net"));
  EXPECT_THAT(ParseCommand({"sh", "mta", "pa"}).words,
              ElementsAre("show", "mta", "paused"));
}

TEST(CommandGrammar, OwnWordsLeaveAbbreviations) {
  EXPECT_THAT(ParseCommand({"d", "8d1fc665"}).words,
              ElementsAre("discover", "8d1fc665"));
  EXPECT_THAT(ParseCommand({"t", "smtp"}).words, ElementsAre("trace", "smtp"));
  EXPECT_THAT(ParseCommand({"sp", "w"}).words, ElementsAre("spf", "walk"));
  EXPECT_THAT(ParseCommand({"prof", "queue"}).words,
              ElementsAre("profile", "queue"));
  EXPECT_THAT(ParseCommand({"com", "b"}).words,
              ElementsAre("completion", "bash"));
}

TEST(CommandGrammar, History) {
  EXPECT_THAT(ParseCommand({"hist", "8d1fc6650ae2cde2"}).words,
              ElementsAre("history", "8d1fc6650ae2cde2"));
  EXPECT_THAT(ParseCommand({"history", "nobody"}).words, IsEmpty());
}

TEST(CommandGrammar, ExplainTakesWhateverFollows) {
  EXPECT_THAT(ParseCommand({"expl", "joe"}).words,
              ElementsAre("explain", "joe"));
  EXPECT_THAT(
      ParseCommand({"explain", "joe", "via", "all", "src", "show"}).words,
      ElementsAre("explain", "joe", "via", "all", "src", "show"));
  EXPECT_THAT(ParseCommand({"explain", "joe", "tls"}).words,
              ElementsAre("explain", "joe", "tls"));
  EXPECT_THAT(ParseCommand({"queue", "rem", "--yes", "tag", "=", "x"}).words,
              ElementsAre("queue", "remove", "--yes", "tag", "=", "x"));
  EXPECT_THAT(ParseCommand({"queue", "hold"}).errors,
              ElementsAre("possibilities are:", "queue hold <filter>..."));
  EXPECT_THAT(ParseCommand({"explain"}).errors,
              ElementsAre("possibilities are:", "explain <recipient>"));
}

TEST(CommandGrammar, Errors) {
  EXPECT_THAT(ParseCommand({"show", "queue", "00000000"}).errors,
              ElementsAre("possibilities are:", "show queue <msgid>",
                          "show queue <filter>..."));
  EXPECT_THAT(ParseCommand({"remove"}).errors,
              ElementsAre("possibilities are:", "remove <evpid>",
                          "remove <msgid>", "remove all"));
  EXPECT_THAT(ParseCommand({"monitor", "x"}).errors,
              ElementsAre("invalid command"));
  EXPECT_THAT(ParseCommand({"log", ""}).errors,
              ElementsAre("possibilities are:", "log brief", "log verbose"));
  EXPECT_EQ(ParseCommand({}).errors.front(), "possibilities are:");
  EXPECT_THAT(ParseCommand({}).errors, Contains("monitor"));
}

}  // namespace
}  // namespace holdfast
