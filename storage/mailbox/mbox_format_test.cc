#include "storage/mailbox/mbox_format.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

constexpr char kHead[] = "From a@b Sun Nov 22 15:06:56 2026\n";

// The text in pieces of `step` bytes; what stands behind the From line.
std::string Body(const std::string& text, size_t step) {
  MboxEncoder encoder("a@b", "Sun Nov 22 15:06:56 2026");
  std::string out;
  for (size_t i = 0; i < text.size(); i += step)
    encoder.Write(text.substr(i, step), &out);
  encoder.Finish(&out);
  EXPECT_EQ(out.substr(0, sizeof kHead - 1), kHead);
  return out.substr(sizeof kHead - 1);
}

TEST(MboxEncoder, QuotesFromBehindAnEmptyLineOnly) {
  const std::string text =
      "From here\nA: b\nFrom the middle\n\nFrom one\nFrom two\n\n\nFrom three\n"
      "x\n\nFromm\n\nFrom";
  const std::string expected =
      ">From here\nA: b\nFrom the middle\n\n>From one\nFrom two\n\n\n"
      ">From three\nx\n\nFromm\n\nFrom\n\n";
  for (size_t step : {1u, 2u, 3u, 5u, 100u})
    EXPECT_EQ(Body(text, step), expected) << step;
}

TEST(MboxEncoder, EndsWithOneEmptyLine) {
  EXPECT_EQ(Body("a\n", 10), "a\n\n");
  EXPECT_EQ(Body("a", 10), "a\n\n");
  EXPECT_EQ(Body("", 10), "\n");
  EXPECT_EQ(Body("a\n\nF", 1), "a\n\nF\n\n");
}

TEST(MboxEncoder, SenderStaysOnItsLine) {
  MboxEncoder encoder("a\nFrom x", "now");
  std::string out;
  encoder.Finish(&out);
  EXPECT_EQ(out, "From a?From x now\n\n");
}

TEST(MboxEncoder, QuotesEveryFromIfToldSo) {
  const std::string text = "From a\nFrom b\nx\nFrom c\n\n\nFrom d\nFro\nFrom e";
  const std::string expected =
      "From s now\n>From a\n>From b\nx\n>From c\n\n\n>From d\nFro\n>From e\n\n";
  for (size_t step : {1u, 2u, 3u, 5u, 100u}) {
    MboxEncoder encoder("s", "now", MboxEncoder::Quote::kEveryLine);
    std::string out;
    for (size_t at = 0; at < text.size(); at += step)
      encoder.Write(text.substr(at, step), &out);
    encoder.Finish(&out);
    EXPECT_EQ(out, expected) << step;
  }
}

}  // namespace
}  // namespace holdfast
