#include "server/lookup/source_delays.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr absl::Duration kStart = absl::Hours(1);

TEST(SourceDelays, KnowsWhatASourceIs) {
  EXPECT_EQ(SourceDelays::SourceOf("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(SourceDelays::SourceOf("2001:db8:1:2:3:4:5:6"),
            SourceDelays::SourceOf("[2001:db8:1:2::1]"));
  EXPECT_EQ(SourceDelays::SourceOf("[IPv6:2001:db8:1:2::1]"),
            "2001:db8:1:2::/64");
  EXPECT_NE(SourceDelays::SourceOf("2001:db8:1:3::1"), "2001:db8:1:2::/64");
  EXPECT_EQ(SourceDelays::SourceOf("::ffff:192.0.2.1"), "192.0.2.1");
  for (const char* none : {"", "local", "[", "]", "[]", "IPv6:"}) {
    EXPECT_EQ(SourceDelays::SourceOf(none), "local");
  }
}

TEST(SourceDelays, GrowsAndStops) {
  SourceDelays delays;
  for (const int seconds : {1, 2, 4, 8, 16, 30, 30, 30}) {
    EXPECT_EQ(delays.Fail("a", kStart), absl::Seconds(seconds));
  }
  EXPECT_EQ(delays.Fail("b", kStart), absl::Seconds(1));
}

TEST(SourceDelays, ForgivesAStepEachMinute) {
  SourceDelays delays;
  for (int i = 0; i < 4; ++i) delays.Fail("a", kStart);
  EXPECT_EQ(delays.Fail("a", kStart + absl::Seconds(59)), absl::Seconds(16));
  EXPECT_EQ(delays.Fail("a", kStart + absl::Seconds(59) + absl::Minutes(2)),
            absl::Seconds(8));
  EXPECT_EQ(delays.Fail("a", kStart + absl::Hours(1)), absl::Seconds(1));
}

TEST(SourceDelays, AFewAtOnceAfterAFailure) {
  SourceDelays delays;
  for (size_t i = 0; i < kMaxOpenAttempts; ++i) {
    EXPECT_TRUE(delays.Begin("a", kStart));
  }
  EXPECT_FALSE(delays.Begin("a", kStart));
  for (size_t i = 0; i < kMaxOpenAttempts; ++i) delays.End("a");

  delays.Fail("a", kStart);
  for (size_t i = 0; i < kMaxOpenAttemptsAfterFailure; ++i) {
    EXPECT_TRUE(delays.Begin("a", kStart));
  }
  EXPECT_FALSE(delays.Begin("a", kStart));
  EXPECT_TRUE(delays.Begin("b", kStart));
  delays.End("a");
  EXPECT_TRUE(delays.Begin("a", kStart));
  EXPECT_TRUE(delays.Begin("a", kStart + kFailureForgotten));
}

TEST(SourceDelays, OpenAttemptsAreBounded) {
  SourceDelays delays;
  for (size_t i = 0; i < kMaxOpenAttemptsInAll; ++i) {
    EXPECT_TRUE(delays.Begin(absl::StrCat(i), kStart));
  }
  EXPECT_FALSE(delays.Begin("another", kStart));
  delays.End("7");
  EXPECT_TRUE(delays.Begin("another", kStart));
}

TEST(SourceDelays, RemembersThoseSeenLast) {
  SourceDelays delays;
  delays.Fail("kept", kStart);
  delays.Fail("old", kStart);
  ASSERT_TRUE(delays.Begin("busy", kStart));
  for (size_t i = 0; i < 2 * kMaxRememberedSources; ++i) {
    delays.Fail(absl::StrCat(i), kStart);
    if (i % 1000 == 0) delays.Begin("kept", kStart);
  }
  EXPECT_EQ(delays.remembered(), kMaxRememberedSources);
  EXPECT_EQ(delays.Fail("kept", kStart), absl::Seconds(2));
  EXPECT_EQ(delays.Fail("old", kStart), absl::Seconds(1));
  for (size_t i = 1; i < kMaxOpenAttempts; ++i) {
    EXPECT_TRUE(delays.Begin("busy", kStart));
  }
  EXPECT_FALSE(delays.Begin("busy", kStart));
}

TEST(SourceDelays, EndingWhatNeverBeganIsHarmless) {
  SourceDelays delays;
  delays.End("a");
  delays.Fail("a", kStart);
  delays.End("a");
  EXPECT_TRUE(delays.Begin("a", kStart));
}

}  // namespace
}  // namespace holdfast
