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

}  // namespace
}  // namespace holdfast
