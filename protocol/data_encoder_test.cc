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

const std::string kBinary("A: b\nC: d\n\n.\r\n\rx\ny\r\r\n\0\xff\r\n\n", 26);

TEST(BinaryEncoderTest, OnlyTheHeaderIsTouched) {
  const std::string wire = "A: b\r\nC: d\r\n\r\n" + kBinary.substr(11);
  for (size_t i = 0; i <= kBinary.size(); ++i) {
    BinaryEncoder encoder;
    std::string out;
    encoder.Append(kBinary.substr(0, i), &out);
    encoder.Append(kBinary.substr(i), &out);
    EXPECT_EQ(out, wire) << i;
  }
  BinaryEncoder header;
  std::string out;
  header.Append("A: b\n", &out);
  EXPECT_EQ(out, "A: b\r\n") << "there is no body";
}

TEST(BinaryTextTest, LineEndsOfAMailbox) {
  const std::string text("A: b\nC: d\n\n.\n\rx\ny\r\n\0\xff\n\n", 23);
  for (size_t i = 0; i <= kBinary.size(); ++i) {
    BinaryText binary;
    std::string out;
    binary.Append(kBinary.substr(0, i), &out);
    binary.Append(kBinary.substr(i), &out);
    binary.Finish(&out);
    EXPECT_EQ(out, text) << i;
  }
  for (const char* tail : {"x", "x\r"}) {
    BinaryText binary;
    std::string out;
    binary.Append(tail, &out);
    binary.Finish(&out);
    EXPECT_EQ(out, std::string(tail) + "\n");
  }
}

}  // namespace
}  // namespace holdfast
