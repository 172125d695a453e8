#include "protocol/mail_date.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(MailDate, IsTheReferences) {
  EXPECT_EQ(
      FormatMailDate(absl::FromUnixSeconds(1793596049), absl::UTCTimeZone()),
      "Mon, 2 Nov 2026 05:07:29 +0000 (UTC)");
  EXPECT_EQ(FormatMailDate(absl::FromUnixSeconds(1795324049),
                           absl::FixedTimeZone(-(5 * 3600 + 30 * 60)))
                .substr(0, 31),
            "Sat, 21 Nov 2026 23:37:29 -0530");
}

TEST(ShortDuration, LeavesOutZeroUnits) {
  EXPECT_EQ(FormatShortDuration(absl::ZeroDuration()), "0s");
  EXPECT_EQ(FormatShortDuration(absl::Seconds(-5)), "0s");
  EXPECT_EQ(FormatShortDuration(absl::Seconds(63)), "1m3s");
  EXPECT_EQ(FormatShortDuration(absl::Seconds(86400 + 4)), "1d4s");
  EXPECT_EQ(FormatShortDuration(absl::Seconds(93784)), "1d2h3m4s");
}

TEST(LongDuration, IsTheLargestWholeUnit) {
  EXPECT_EQ(FormatLongDuration(absl::ZeroDuration()), "0 seconds");
  EXPECT_EQ(FormatLongDuration(absl::Seconds(1)), "1 second");
  EXPECT_EQ(FormatLongDuration(absl::Seconds(119)), "1 minute");
  EXPECT_EQ(FormatLongDuration(absl::Hours(4)), "4 hours");
  EXPECT_EQ(FormatLongDuration(absl::Hours(25)), "1 day");
  EXPECT_EQ(FormatLongDuration(absl::Hours(96)), "4 days");
}

}  // namespace
}  // namespace holdfast
