#include "config/userinfo.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(Userinfo, Good) {
  const auto info = ParseUserinfo("1000:100:/home/joe:x");
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->uid, 1000u);
  EXPECT_EQ(info->gid, 100u);
  EXPECT_EQ(info->home, "/home/joe:x");
}

TEST(Userinfo, Bad) {
  for (const char* bad :
       {"", "1", "1:2", "1:2:", ":2:/", "1::/", "x:2:/", "-1:2:/", " 1:2:/",
        "4294967295:2:/", "4294967296:2:/"}) {
    EXPECT_FALSE(ParseUserinfo(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace holdfast
