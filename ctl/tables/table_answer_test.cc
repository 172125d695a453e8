#include "ctl/tables/table_answer.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

// "VALUE", or "-" for not found.
std::string Shaped(const char* service, const TableRows& rows) {
  const TableAnswer answer = ShapeTableRows(*FindTableShape(service), rows);
  EXPECT_NE(answer.result, TableReply::Result::kError);
  return answer.result == TableReply::Result::kFound ? answer.text : "-";
}

TEST(TableAnswerTest, EachServiceHasItsShape) {
  EXPECT_EQ(Shaped("alias", {{"a"}, {"b@c"}}), "a, b@c");
  EXPECT_EQ(Shaped("mailaddrmap", {{"a"}, {"b"}}), "a, b");
  EXPECT_EQ(Shaped("credentials", {{"joe", "$6$x"}, {"other", "y"}}),
            "joe:$6$x");
  EXPECT_EQ(Shaped("userinfo", {{"1", "2", "/home/joe", "more"}}),
            "1:2:/home/joe");
  EXPECT_EQ(Shaped("domain", {{"d"}, {"e"}}), "d");
  EXPECT_EQ(Shaped("alias", {}), "-");
  EXPECT_EQ(FindTableShape("auth"), nullptr);
}

TEST(TableAnswerTest, EveryServiceOfTheProtocolHasOne) {
  for (const TableShape& shape : TableShapes())
    EXPECT_TRUE(IsTableServiceName(shape.service)) << shape.service;
  EXPECT_EQ(TableShapes().size(), 12u);
}

TEST(TableAnswerTest, NothingIsNoValue) {
  EXPECT_EQ(Shaped("alias", {{""}, {std::nullopt}}), "-");
  EXPECT_EQ(Shaped("alias", {{""}, {"a"}, {std::nullopt}}), "a");
  // A user without a password is none.
  EXPECT_EQ(Shaped("credentials", {{"joe", ""}}), "-");
  EXPECT_EQ(Shaped("credentials", {{"joe", std::nullopt}}), "-");
  EXPECT_EQ(Shaped("credentials", {{"joe", std::nullopt}, {"joe", "x"}}),
            "joe:x");
}

TEST(TableAnswerTest, ALoneColumnIsAWholeValue) {
  EXPECT_EQ(Shaped("credentials", {{"joe:hash"}}), "joe:hash");
  EXPECT_EQ(Shaped("userinfo", {{"1:2:/home"}}), "1:2:/home");
}

}  // namespace
}  // namespace holdfast
