#include "server/queue/host_stats.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kNow = absl::FromUnixSeconds(1795324100);

TEST(HostStats, TheLastStatusOfEachDomainSorted) {
  HostStats stats;
  stats.Note("example.org", "250 2.1.5 Ok", kNow);
  stats.Note("Example.NET", "450 4.2.1 Try later", kNow);
  stats.Note("EXAMPLE.org", "550 5.1.1 Who?", kNow + absl::Seconds(5));
  stats.Note("", "250 nowhere", kNow);
  EXPECT_THAT(stats.Lines(kNow + absl::Seconds(5)),
              ElementsAre("example.net|1795324100|450 4.2.1 Try later\n",
                          "example.org|1795324105|550 5.1.1 Who?\n"));
}

TEST(HostStats, ForgottenAfterFourHours) {
  HostStats stats;
  stats.Note("a", "1", kNow);
  stats.Note("b", "2", kNow + absl::Seconds(1));
  EXPECT_THAT(stats.Lines(kNow + absl::Hours(4)),
              ElementsAre("b|1795324101|2\n"));
  EXPECT_THAT(stats.Lines(kNow + absl::Hours(4) + absl::Seconds(1)), IsEmpty());
}

TEST(HostStats, BoundedInNumberAndText) {
  HostStats stats;
  for (size_t i = 0; i < HostStats::kMaxDomains + 500; ++i) {
    stats.Note(absl::StrCat("d", i, ".example"), std::string(70000, 'x'),
               kNow + absl::Milliseconds(i));
  }
  EXPECT_EQ(stats.size(), HostStats::kMaxDomains);
  const std::vector<std::string> lines = stats.Lines(kNow);
  ASSERT_EQ(lines.size(), HostStats::kMaxDomains);
  EXPECT_LT(lines[0].size(), 600u);
  for (const std::string& line : lines) {
    EXPECT_NE(line.substr(0, line.find('|')), "d499.example") << "the oldest";
  }
}

TEST(HostStats, ControlCharactersAreEscaped) {
  HostStats stats;
  stats.Note("x\x1b.example", "250 \x07\nok", kNow);
  const std::string line = stats.Lines(kNow).at(0);
  for (const char c : line.substr(0, line.size() - 1)) {
    EXPECT_GE(c, ' ') << line;
  }
}

}  // namespace
}  // namespace holdfast
