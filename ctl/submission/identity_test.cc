#include "ctl/submission/identity.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(NameOfGecos, Forms) {
  EXPECT_EQ(NameOfGecos("Charlie &,,,", "root"), "Charlie Root");
  EXPECT_EQ(NameOfGecos("Joe Public", "joe"), "Joe Public");
  EXPECT_EQ(NameOfGecos("", "joe"), "");
  EXPECT_EQ(NameOfGecos("&", ""), "");
}

}  // namespace
}  // namespace holdfast
