#include "protocol/header_watch.h"

#include <vector>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

std::vector<std::string> Lines(const std::string& text, size_t step) {
  std::vector<std::string> lines;
  HeaderWatch watch([&](absl::string_view line) { lines.emplace_back(line); });
  for (size_t i = 0; i < text.size(); i += step)
    watch.Feed(text.substr(i, step));
  return lines;
}

TEST(HeaderWatch, ShowsTheHeaderWhateverThePieces) {
  const std::string text = "A: b\n c\nD: e\n\nF: body\n\nG: h\n";
  const std::vector<std::string> expected = {"A: b", " c", "D: e"};
  for (size_t step = 1; step < 12; ++step)
    EXPECT_EQ(Lines(text, step), expected) << step;
}

TEST(HeaderWatch, SaysWhenItIsOver) {
  HeaderWatch watch([](absl::string_view) {});
  EXPECT_TRUE(watch.Feed("A: b\n"));
  EXPECT_FALSE(watch.Feed("\nx"));
  EXPECT_TRUE(watch.done());
  HeaderWatch none([](absl::string_view) { FAIL(); });
  EXPECT_FALSE(none.Feed("\nA: b\n"));
}

TEST(HeaderWatch, ALongLineIsCutNotHeld) {
  const std::string text = std::string(100000, 'x') + "\nA: b\n";
  const std::vector<std::string> lines = Lines(text, 777);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].size(), HeaderWatch::kMaxLineBytes);
  EXPECT_EQ(lines[1], "A: b");
}

TEST(HeaderLineIs, WholeValueIgnoringCase) {
  EXPECT_TRUE(HeaderLineIs("X-Spam: yes", "X-Spam", "yes"));
  EXPECT_TRUE(HeaderLineIs("x-spam:YES  ", "X-Spam", "yes"));
  EXPECT_FALSE(HeaderLineIs("X-Spam: yes, 7", "X-Spam", "yes"));
  EXPECT_FALSE(HeaderLineIs("X-Spam-Flag: yes", "X-Spam", "yes"));
  EXPECT_FALSE(HeaderLineIs(" X-Spam: yes", "X-Spam", "yes"));
}

}  // namespace
}  // namespace holdfast
