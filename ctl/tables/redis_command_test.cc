#include "ctl/tables/redis_command.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

using Words = std::vector<std::string>;

Words With(absl::string_view text, absl::string_view key) {
  const absl::StatusOr<RedisCommand> command = RedisCommand::Parse(text, true);
  EXPECT_TRUE(command.ok()) << command.status();
  return command.ok() ? command->With(key) : Words();
}

TEST(RedisCommandTest, TheKeyNeverMakesMoreWords) {
  EXPECT_EQ(With("GET alias:%s", "joe"), (Words{"GET", "alias:joe"}));
  EXPECT_EQ(With("  HMGET  user:%s uid  gid ", "x"),
            (Words{"HMGET", "user:x", "uid", "gid"}));
  EXPECT_EQ(With("GET a:%s", "x\r\nFLUSHALL y z"),
            (Words{"GET", "a:x\r\nFLUSHALL y z"}));
  EXPECT_EQ(With("GET %s", absl::string_view("a\0b", 3)),
            (Words{"GET", std::string("a\0b", 3)}));
  EXPECT_EQ(With("EVAL %s-%s 100%%", "%s"), (Words{"EVAL", "%s-%s", "100%"}));
  EXPECT_EQ(With("GET %s", ""), (Words{"GET", ""}));
}

TEST(RedisCommandTest, Faults) {
  EXPECT_FALSE(RedisCommand::Parse("GET alias", true).ok());
  EXPECT_FALSE(RedisCommand::Parse("SMEMBERS a:%s", false).ok());
  EXPECT_FALSE(RedisCommand::Parse("GET %d:%s", true).ok());
  EXPECT_FALSE(RedisCommand::Parse("GET %s:%", true).ok());
  EXPECT_FALSE(RedisCommand::Parse(" ", false).ok());
  EXPECT_TRUE(RedisCommand::Parse("SMEMBERS sources", false).ok());
}

}  // namespace
}  // namespace holdfast
