#include "config/regex_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace holdfast {
namespace {

using testing::HasSubstr;

TEST(RegexConcern, TheSameInBoth) {
  for (const char* pattern :
       {"", "^a.*b$", "[[:alpha:]]+", "(a|b|c){2,3}", "a\\.b", "[]a]", "[^]a]",
        "\\(x\\)", "\\\\", "x{3}", "x{3,}", "[a-z0-9_.+-]+@", "a|b", "(a?)?",
        "[[]", "{,", "a\\{,3}", "(?i)^a"}) {
    EXPECT_EQ(RegexConcern(pattern), "") << pattern;
  }
}

TEST(RegexConcern, Differences) {
  EXPECT_THAT(RegexConcern("(a)\\1"), HasSubstr("back reference"));
  EXPECT_THAT(RegexConcern("\\<a"), HasSubstr("\\b"));
  EXPECT_THAT(RegexConcern("a\\>"), HasSubstr("\\b"));
  EXPECT_THAT(RegexConcern("[[:<:]]a"), HasSubstr("[[:<:]]"));
  EXPECT_THAT(RegexConcern("a[[:>:]]"), HasSubstr("[[:>:]]"));
  EXPECT_THAT(RegexConcern("[[=a=]]"), HasSubstr("[= =]"));
  EXPECT_THAT(RegexConcern("[[.-.]]"), HasSubstr("[. .]"));
  EXPECT_THAT(RegexConcern("\\d"), HasSubstr("the letter d"));
  EXPECT_THAT(RegexConcern("[\\.]"), HasSubstr("backslash in brackets"));
  EXPECT_THAT(RegexConcern("a{,3}"), HasSubstr("{0,N}"));
  EXPECT_THAT(RegexConcern("a(?i)"), HasSubstr("(?"));
  EXPECT_THAT(RegexConcern("a*?"), HasSubstr("shorter"));
  EXPECT_THAT(RegexConcern("a{2}?"), HasSubstr("shorter"));
}

TEST(RegexConcern, NotAPattern) {
  for (const char* pattern : {"(", ")", "[a", "*a", "a**", "\\", "a{2000}"}) {
    EXPECT_THAT(RegexConcern(pattern), HasSubstr("never matches")) << pattern;
  }
  // Nor one that tables find too large.
  EXPECT_THAT(RegexConcern("(" + std::string(400, 'a') + "){1000}"),
              HasSubstr("never matches"));
}

}  // namespace
}  // namespace holdfast
