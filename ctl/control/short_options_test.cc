#include "ctl/control/short_options.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;

class ShortOptionsTest : public testing::Test {
 protected:
  ShortOptionsResult Parse(const std::vector<std::string>& arguments) {
    taken_.clear();
    return ParseShortOptions(
        arguments,
        {"ab:c::q", [this](char letter, const std::string& value) {
           taken_.push_back(absl::StrCat(std::string(1, letter), "=", value));
           return letter != 'q';
         }});
  }
  std::vector<std::string> taken_;
};

TEST_F(ShortOptionsTest, Forms) {
  EXPECT_THAT(
      Parse({"x", "-ab", "1", "-b2", "-c", "-c3", "-", "--", "-a"}).operands,
      ElementsAre("x", "-", "-a"));
  EXPECT_THAT(taken_, ElementsAre("a=", "b=1", "b=2", "c=", "c=3"));
}

TEST_F(ShortOptionsTest, Errors) {
  EXPECT_EQ(Parse({"-ax", "-a"}).error, "invalid option -- 'x'");
  EXPECT_THAT(taken_, ElementsAre("a="));
  EXPECT_EQ(Parse({"-:"}).error, "invalid option -- ':'");
  EXPECT_EQ(Parse({"-b"}).error, "option requires an argument -- 'b'");
}

TEST_F(ShortOptionsTest, Stops) {
  EXPECT_EQ(Parse({"-qa", "-x"}).error, "");
  EXPECT_THAT(taken_, ElementsAre("q="));
}

}  // namespace
}  // namespace holdfast
