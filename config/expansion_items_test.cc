#include "config/expansion_items.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

using Kind = ExpansionItem::Kind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<ExpansionItem> Items(absl::string_view line) {
  const auto items = ParseExpansionItems(line);
  EXPECT_TRUE(items.ok()) << line;
  return items.value_or(std::vector<ExpansionItem>());
}

TEST(ExpansionItems, Forms) {
  struct Case {
    const char* line;
    Kind kind;
    const char* text;
  };
  for (const Case& c : std::vector<Case>{
           {"joe", Kind::kUser, "joe"},
           {"\\joe", Kind::kUser, "joe"},
           {"joe+tag", Kind::kUser, "joe+tag"},
           {"joe@example.org", Kind::kAddress, "joe@example.org"},
           {"a!#$%*/?|^{}`~&+-=_.b@x", Kind::kAddress,
            "a!#$%*/?|^{}`~&+-=_.b@x"},
           {"error:550 go away", Kind::kError, "550 go away"},
           {":ERROR:450 later", Kind::kError, "450 later"},
           {"error:550 a\\, b", Kind::kError, "550 a, b"},
           {":include:/etc/list", Kind::kInclude, "/etc/list"},
           {"include:/etc/list", Kind::kInclude, "/etc/list"},
           {"|command", Kind::kPipe, "|command"},
           {"\"|command a, b\"", Kind::kPipe, "|command a, b"},
           {"/var/mail/x", Kind::kFile, "/var/mail/x"},
           {"/dev/null", Kind::kFile, "/dev/null"},
       }) {
    const ExpansionItem expected{c.kind, c.text};
    EXPECT_THAT(Items(c.line), ElementsAre(expected)) << c.line;
  }
}

TEST(ExpansionItems, Lists) {
  EXPECT_THAT(Items(" joe , jim@a.test,, \"|x, y\",/f "),
              ElementsAre(ExpansionItem{Kind::kUser, "joe"},
                          ExpansionItem{Kind::kAddress, "jim@a.test"},
                          ExpansionItem{Kind::kPipe, "|x, y"},
                          ExpansionItem{Kind::kFile, "/f"}));
  EXPECT_THAT(Items(""), IsEmpty());
  EXPECT_THAT(Items(" , "), IsEmpty());
}

TEST(ExpansionItems, Unparsable) {
  for (const char* line :
       {"a b", "joe, a b", "@x", "joe@", "a@b@c", "joe@d_x", "joe@[192.0.2.1]",
        "error:550", "error:250 fine", "error:550  two blanks",
        "error:550 .dot", ":include:relative", "include:", "|", "\"|x", "'joe",
        "joe # comment", "jo\xc3\xa9", "x:y"}) {
    EXPECT_FALSE(ParseExpansionItems(line).ok()) << line;
  }
  EXPECT_FALSE(ParseExpansionItems(std::string(2048, 'x')).ok());
  EXPECT_FALSE(
      ParseExpansionItems(absl::StrCat("error:550 ", std::string(1020, 'x')))
          .ok());
}

std::string Forward(const std::string& contents) {
  const auto items = ParseForward(contents);
  if (!items.ok()) return "error";
  std::string text;
  for (const ExpansionItem& item : *items) text += "[" + item.text + "]";
  return text;
}

TEST(ParseForward, Lines) {
  EXPECT_EQ(Forward(""), "");
  EXPECT_EQ(Forward("\n\n  \n# nothing\n"), "");
  EXPECT_EQ(Forward("joe\njim@example.org , /tmp/x\n\\bob"),
            "[joe][jim@example.org][/tmp/x][bob]");
  EXPECT_EQ(Forward("joe\r\njim\r\n"), "[joe][jim]");
  EXPECT_EQ(Forward("joe # the elder\n#jim\nbob#\n"), "[joe][bob]");
  EXPECT_EQ(Forward("\"|/bin/x \\# y\"\n"), "[|/bin/x # y]");
  EXPECT_EQ(Forward("joe, \\\n  jim\nbob\\"), "[joe][jim][bob]");
  EXPECT_EQ(Forward(":include:/etc/passwd\ninclude:/x, joe\n"), "[joe]");
}

TEST(ParseForward, Errors) {
  EXPECT_EQ(Forward("joe\nno such thing\n"), "error");
  EXPECT_EQ(Forward("\"|x # y\"\n"), "error");
  EXPECT_EQ(Forward("joe, \\\n" + std::string(2048, 'x')), "error");
}

TEST(ParseExpansionItems, LongItems) {
  for (const char* begin : {"|", "/", ":include:/", "error:550 "}) {
    const std::string longest(kMaxItemBytes - (begin[0] == 'e' ? 4 : 1), 'x');
    EXPECT_TRUE(ParseExpansionItems(begin + longest).ok()) << begin;
    EXPECT_FALSE(ParseExpansionItems(begin + longest + "x").ok()) << begin;
  }
}

}  // namespace
}  // namespace holdfast
