#include "ctl/control/completion.h"

#include <stdio.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "ctl/control/command_grammar.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// What a real bash offers behind these words; smtpctl itself is a function.
std::vector<std::string> Offered(const std::string& words) {
  const std::string script = absl::StrCat(
      BashCompletion(),
      "smtpctl() { printf '%s\\n' '0a4f99ff97120b58|local' "
      "'0a4f99ff97120b59|local'; }\n"
      "command() { \"$@\"; }\n"
      "COMP_WORDS=(smtpctl ",
      words, ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_smtpctl\n",
      "printf '%s\\n' \"${COMPREPLY[@]}\"\n");
  const std::string path = testing::TempDir() + "/completion";
  FILE* file = fopen(path.c_str(), "w");
  fputs(script.c_str(), file);
  fclose(file);
  FILE* bash = popen(absl::StrCat("bash '", path, "' 2>&1").c_str(), "r");
  std::string text;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof buffer, bash))
    text.append(buffer, n);
  EXPECT_EQ(pclose(bash), 0);
  return absl::StrSplit(text, '\n', absl::SkipEmpty());
}

TEST(Completion, Words) {
  EXPECT_THAT(Offered("''"), AllOf(Contains("monitor"), Contains("show"),
                                   Not(Contains("routes"))));
  EXPECT_THAT(Offered("mo"), ElementsAre("monitor"));
  EXPECT_THAT(Offered("show ro"), ElementsAre("routes"));
  EXPECT_THAT(Offered("sh hos"), ElementsAre("hosts", "hoststats"));
  EXPECT_THAT(Offered("log ''"), ElementsAre("brief", "verbose"));
  EXPECT_THAT(Offered("monitor ''"), IsEmpty());
  EXPECT_THAT(Offered("nothing ''"), IsEmpty());
}

TEST(Completion, Arguments) {
  EXPECT_THAT(Offered("show envelope 0"),
              ElementsAre("0a4f99ff97120b58", "0a4f99ff97120b59"));
  EXPECT_THAT(Offered("show message 0a4f99ff97120b58 --h"),
              ElementsAre("--headers"));
  EXPECT_THAT(Offered("discover 0a4f99ff9"),
              ElementsAre("0a4f99ff97120b58", "0a4f99ff97120b59"));
  EXPECT_THAT(Offered("discover 0a4f99ff"), Contains("0a4f99ff"));
  EXPECT_THAT(Offered("trace s"), ElementsAre("smtp", "scheduler", "stat"));
  EXPECT_THAT(Offered("profile ''"), ElementsAre("imsg", "queue"));
  EXPECT_THAT(Offered("queue list --g"), ElementsAre("--group-by"));
  EXPECT_THAT(Offered("queue list --count --l"), ElementsAre("--limit"));
  EXPECT_THAT(Offered("queue list x --l"), ElementsAre("--limit"));
}

TEST(Completion, SpoolAndHelp) {
  EXPECT_THAT(Offered("--spool /x mo"), ElementsAre("monitor"));
  EXPECT_THAT(Offered("--spool = /x mo"), ElementsAre("monitor"));
  EXPECT_THAT(Offered("--spool /et"), ElementsAre("/etc"));
  EXPECT_THAT(Offered("help log ''"), ElementsAre("brief", "verbose"));
}

TEST(Completion, BothShellsKnowAllCommands) {
  for (const absl::string_view line : CommandLines()) {
    EXPECT_THAT(BashCompletion(), HasSubstr(absl::StrCat("'", line, "#")));
    EXPECT_THAT(ZshCompletion(), HasSubstr(absl::StrCat("'", line, "#")));
  }
}

}  // namespace
}  // namespace holdfast
