#include "server/queue/profile.h"

#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

using ::testing::IsEmpty;
using ::testing::MatchesRegex;

class ProfileTest : public testing::Test {
 protected:
  ~ProfileTest() override {
    SetProfiled("imsg", false);
    SetProfiled("queue", false);
  }
  template <class Work>
  static std::string Logged(Work work) {
    testing::internal::CaptureStderr();
    work();
    FlushLog();
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(ProfileTest, OffAndOn) {
  const auto commit = [] { ProfiledWork work(3); };
  const auto message = [] { ProfiledWork work("relay", 7, 120); };
  EXPECT_THAT(Logged(commit), IsEmpty());
  EXPECT_THAT(Logged(message), IsEmpty());
  EXPECT_TRUE(SetProfiled("queue", true));
  EXPECT_THAT(Logged(commit),
              MatchesRegex("profile-queue: commit of 3 [0-9]+\\.[0-9]{9}\n"));
  EXPECT_THAT(Logged(message), IsEmpty());
  EXPECT_TRUE(SetProfiled("imsg", true));
  EXPECT_THAT(
      Logged(message),
      MatchesRegex("profile-imsg: queue relay 7 120 [0-9]+\\.[0-9]{9}\n"));
  EXPECT_TRUE(SetProfiled("queue", false));
  EXPECT_THAT(Logged(commit), IsEmpty());
  EXPECT_FALSE(SetProfiled("nothing", true));
}

TEST_F(ProfileTest, OneLineHoweverItMoves) {
  EXPECT_TRUE(SetProfiled("queue", true));
  EXPECT_THAT(Logged([] {
                ProfiledWork first(1);
                ProfiledWork second(std::move(first));
                second.End();
              }),
              MatchesRegex("profile-queue: commit of 1 [0-9.]+\n"));
}

}  // namespace
}  // namespace holdfast
