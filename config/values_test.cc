#include "config/values.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(Values, Delay) {
  EXPECT_EQ(ParseDelay("1s"), absl::Seconds(1));
  EXPECT_EQ(ParseDelay("2m"), absl::Minutes(2));
  EXPECT_EQ(ParseDelay("3h"), absl::Hours(3));
  EXPECT_EQ(ParseDelay("4d"), absl::Hours(96));
  EXPECT_EQ(ParseDelay("2147483647s"), absl::Seconds(2147483647));
  for (const char* bad : {"", "s", "1", "1w", "0s", "-1s", "1 s", "1ss",
                          "2147483648s", "24856d", "99999999999999999999s"}) {
    EXPECT_EQ(ParseDelay(bad), std::nullopt) << bad;
  }
}

TEST(Values, Size) {
  EXPECT_EQ(ParseSize("0"), 0u);
  EXPECT_EQ(ParseSize("35M"), 36700160u);
  EXPECT_EQ(ParseSize("35m"), 36700160u);
  EXPECT_EQ(ParseSize("10B"), 10u);
  EXPECT_EQ(ParseSize("1.5k"), 1536u);
  EXPECT_EQ(ParseSize("7E"), uint64_t{7} << 60);
  for (const char* bad : {"", "M", "-5", "35MB", "1.", ".5", "1.x", "5 M", "8E",
                          "9223372036854775808", "1X"}) {
    EXPECT_EQ(ParseSize(bad), std::nullopt) << bad;
  }
}

TEST(Values, Percent) {
  EXPECT_EQ(ParsePercent("5%"), 0.05);
  EXPECT_EQ(ParsePercent("0%"), 0.0);
  EXPECT_EQ(ParsePercent("0.5%"), 0.005);
  for (const char* bad : {"", "%", "5", "100%", "-1%", "1e1%", "nan%", " 5%"}) {
    EXPECT_EQ(ParsePercent(bad), std::nullopt) << bad;
  }
}

TEST(Values, Services) {
  constexpr char kServices[] =
      "# smtp 99/tcp\nsmtp\t25/tcp  mail # x\ndomain 53/udp\nhuge 70000/tcp\n"
      "bad\n";
  EXPECT_EQ(FindTcpService(kServices, "smtp"), 25);
  EXPECT_EQ(FindTcpService(kServices, "mail"), 25);
  EXPECT_EQ(FindTcpService(kServices, "domain"), std::nullopt);
  EXPECT_EQ(FindTcpService(kServices, "huge"), std::nullopt);
  EXPECT_EQ(FindTcpService(kServices, "25/tcp"), std::nullopt);
}

}  // namespace
}  // namespace holdfast
