#include "protocol/address_list.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Parse(absl::string_view text) {
  auto list = ParseAddressList(text);
  if (!list.ok()) return {"error"};
  return *list;
}

TEST(AddressList, Forms) {
  EXPECT_THAT(Parse(""), IsEmpty());
  EXPECT_THAT(Parse("joe"), ElementsAre("joe"));
  EXPECT_THAT(Parse("a@b, c@d,,e@f,"), ElementsAre("a@b", "c@d", "e@f"));
  EXPECT_THAT(Parse("Joe Q. Public <joe@b.org>"), ElementsAre("joe@b.org"));
  EXPECT_THAT(Parse("\"Q, Joe\" <joe@b.org> (work), x@y"),
              ElementsAre("joe@b.org", "x@y"));
  EXPECT_THAT(Parse("joe (a (nested) comment \\) here)@b.org"),
              ElementsAre("joe@b.org"));
  EXPECT_THAT(Parse("joe . public @ b . org"), ElementsAre("joe.public@b.org"));
  EXPECT_THAT(Parse("\"a b\\\"\"@c"), ElementsAre("\"a b\\\"\"@c"));
  EXPECT_THAT(Parse("joe@[192.0.2.1]"), ElementsAre("joe@[192.0.2.1]"));
  EXPECT_THAT(Parse("<@a,@b:u@c>"), ElementsAre("error"));
  EXPECT_THAT(Parse("<@a:u@c>"), ElementsAre("u@c"));
  EXPECT_THAT(Parse("a@b,\r\n\tc@d"), ElementsAre("a@b", "c@d"));
}

TEST(AddressList, Groups) {
  EXPECT_THAT(Parse("undisclosed-recipients:;"), IsEmpty());
  EXPECT_THAT(Parse("My Group: a@b, Joe <c@d>; , e@f"),
              ElementsAre("a@b", "c@d", "e@f"));
}

TEST(AddressList, Errors) {
  for (absl::string_view text :
       {"joe doe", "<a@b",     "a@b>",    "<>",         "a@",
        "@b",      "a@b@c",    "(open",   "\"open",     "a:b",
        "a;",      "g: h: a;", "<a@b> c", "<a@b><c@d>", "a\\b",
        "a)",      "[x",       "a\x01@b", "\"a\nb\"@c", "<joe:a@b>"})
    EXPECT_THAT(Parse(text), ElementsAre("error")) << text;
  EXPECT_THAT(Parse(absl::string_view("a\0b", 3)), ElementsAre("error"));
  EXPECT_THAT(Parse(std::string(600, 'a')), ElementsAre("error"));
}

}  // namespace
}  // namespace holdfast
