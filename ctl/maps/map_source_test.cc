#include "ctl/maps/map_source.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

std::string ErrorOf(absl::string_view text, MapType type) {
  return std::string(ParseMapSource("m", text, type).status().message());
}

TEST(MapSource, KeysAndValues) {
  EXPECT_THAT(*ParseMapSource("m",
                              "# comment\n\n  Key value one \nb:x\n"
                              "[::1]: net\nc : d\n",
                              MapType::kPlain),
              ElementsAre(Pair("[::1]", "net"), Pair("b", "x"), Pair("c", "d"),
                          Pair("key", "value one")));
  EXPECT_THAT(*ParseMapSource("m", "", MapType::kPlain), IsEmpty());
}

TEST(MapSource, Sets) {
  EXPECT_THAT(*ParseMapSource("m", "A.example\nb c\n", MapType::kSet),
              ElementsAre(Pair("a.example", "<set>"), Pair("b c", "<set>")));
}

TEST(MapSource, Aliases) {
  EXPECT_THAT(*ParseMapSource("m", "Root: ann, |\"/bin/x -y\" , b@c.example\n",
                              MapType::kAliases),
              ElementsAre(Pair("root", "ann, |\"/bin/x -y\" , b@c.example")));
  for (const char* bad :
       {"a: b,\n", "a: ,b\n", "a: b,,c\n", "a:\n", "a\n", "a: b@@c\n"})
    EXPECT_EQ(ErrorOf(bad, MapType::kAliases), "m:1: invalid entry") << bad;
}

TEST(MapSource, WhatIsWrongIsNamed) {
  EXPECT_EQ(ErrorOf("a x\nA y\n", MapType::kPlain),
            "m:2: duplicate entry for a");
  EXPECT_EQ(ErrorOf("\nkey\n", MapType::kPlain), "m:2: invalid entry");
  EXPECT_EQ(ErrorOf("[::1 x\n", MapType::kPlain), "m:1: invalid entry");
  EXPECT_EQ(ErrorOf(absl::string_view("a b\0c\n", 6), MapType::kPlain),
            "m:1: invalid entry");
  EXPECT_EQ(ErrorOf("a\na\n", MapType::kSet), "m:2: duplicate entry for a");
}

}  // namespace
}  // namespace holdfast
