#include "protocol/data_encoder.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

std::string Encode(absl::string_view text) {
  DataEncoder encoder;
  std::string out;
  encoder.Append(text, &out);
  encoder.Finish(&out);
  return out;
}

TEST(DataEncoderTest, LinesDotsAndTheEnd) {
  EXPECT_EQ(Encode(""), ".\r\n");
  EXPECT_EQ(Encode("\n"), "\r\n.\r\n");
  EXPECT_EQ(Encode("a\nb\n"), "a\r\nb\r\n.\r\n");
  EXPECT_EQ(Encode("no end"), "no end\r\n.\r\n");
  EXPECT_EQ(Encode(".\n..\na.\n"), "..\r\n...\r\na.\r\n.\r\n");
  EXPECT_EQ(Encode("."), "..\r\n.\r\n");
}

TEST(DataEncoderTest, ACarriageReturnIsPartOfALineEndOrASpace) {
  EXPECT_EQ(Encode("a\r\nb\r\n"), "a\r\nb\r\n.\r\n");
  EXPECT_EQ(Encode("a\rb"), "a b\r\n.\r\n");
  EXPECT_EQ(Encode("\n\r.\r\n"), "\r\n .\r\n.\r\n");
  EXPECT_EQ(Encode("\r.\r"), " . \r\n.\r\n");
  EXPECT_EQ(Encode("a\r\r\n.\r\r\n"), "a \r\n.. \r\n.\r\n");
}

TEST(DataEncoderTest, EveryCutGivesTheSame) {
  const std::string text = "..a\r\n.\n\r.\r\r\n.b\r";
  const std::string whole = Encode(text);
  for (size_t i = 0; i <= text.size(); ++i)
    for (size_t j = i; j <= text.size(); ++j) {
      DataEncoder encoder;
      std::string out;
      encoder.Append(text.substr(0, i), &out);
      encoder.Append(text.substr(i, j - i), &out);
      encoder.Append(text.substr(j), &out);
      encoder.Finish(&out);
      EXPECT_EQ(out, whole) << i << " " << j;
    }
}

}  // namespace
}  // namespace holdfast
