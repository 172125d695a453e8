#include "ctl/control/command_help.h"

#include "ctl/control/command_grammar.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(CommandHelp, EveryCommandHasSome) {
  for (const absl::string_view line : CommandLines())
    EXPECT_NE(FindCommandHelp(line), nullptr) << line;
}

TEST(CommandHelp, TheLongestThatFits) {
  EXPECT_EQ(FindCommandHelp("pause mta")->words, "pause mta");
  EXPECT_EQ(FindCommandHelp("pause mta from <address> for <domain>")->words,
            "pause mta from");
  EXPECT_EQ(FindCommandHelp("removed"), nullptr);
}

TEST(CommandHelp, All) {
  const std::string text = *HelpText({});
  EXPECT_THAT(text, StartsWith("usage: smtpctl "));
  for (const absl::string_view line : CommandLines())
    EXPECT_THAT(text, HasSubstr("\n  " + std::string(line)));
  EXPECT_THAT(text, Not(HasSubstr("--headers       only")));
}

TEST(CommandHelp, OfOne) {
  EXPECT_EQ(*HelpText({"log"}),
            "  log brief                         "
            "more lines in the log, or fewer\n"
            "  log verbose\n");
  EXPECT_THAT(*HelpText({"sh", "mes"}), HasSubstr("--headers       only"));
  EXPECT_THAT(*HelpText({"show"}), HasSubstr("show stats"));
  EXPECT_THAT(*HelpText({"show"}), Not(HasSubstr("--headers       only")));
  EXPECT_THAT(*HelpText({"remove"}), Not(HasSubstr("queue remove")));
  EXPECT_FALSE(HelpText({"nothing"}));
  EXPECT_FALSE(HelpText({"monitor", "x"}));
}

}  // namespace
}  // namespace holdfast
