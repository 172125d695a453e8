#include "protocol/transfer_encoding.h"

#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

// Lines of `text`, in pieces of `piece` bytes.
template <class Encoder>
std::string Encode(const std::string& text, size_t piece = 1000,
                   bool last_break = true) {
  Encoder encoder;
  std::string out;
  size_t begin = 0;
  for (size_t lf; (lf = text.find('\n', begin)) != std::string::npos;
       begin = lf + 1) {
    for (size_t i = begin; i < lf; i += piece)
      encoder.Text(text.substr(i, std::min(piece, lf - i)), &out);
    encoder.Break(&out);
  }
  encoder.Text(text.substr(begin), &out);
  encoder.Finish(last_break, &out);
  return out;
}

TEST(QuotedPrintableTest, WhatMustBeIs) {
  using Q = QuotedPrintableEncoder;
  EXPECT_EQ(Encode<Q>("Gr\xc3\xbc\xc3\x9f"
                      "e = 1~\n"),
            "Gr=C3=BC=C3=9Fe =3D 1~\n");
  EXPECT_EQ(Encode<Q>("a \nb\t\n c \t d\n"), "a=20\nb=09\n c \t d\n");
  EXPECT_EQ(Encode<Q>("crlf\r\na\rb\r\r\n"), "crlf\na=0Db=0D\n");
  EXPECT_EQ(Encode<Q>(std::string("\0\x7f\x01", 3)), "=00=7F=01");
  EXPECT_EQ(Encode<Q>("open "), "open=20");
  EXPECT_EQ(Encode<Q>("open\r"), "open=0D");
  EXPECT_EQ(Encode<Q>("\n\n"), "\n\n");
}

TEST(QuotedPrintableTest, NoLineIsTooLongAndNothingIsLost) {
  for (const std::string unit : {"x", "\xc3\xbc", " ", "=\t", "ab\xff "}) {
    std::string text;
    for (int i = 0; i < 300; ++i) text += unit;
    const std::string once = Encode<QuotedPrintableEncoder>(text + "\n");
    for (const auto line : absl::StrSplit(once, '\n')) {
      EXPECT_LE(line.size(), kMaxEncodedLine);
      EXPECT_FALSE(absl::EndsWith(line, " ") || absl::EndsWith(line, "\t"));
    }
    std::string back = absl::StrReplaceAll(once, {{"=\n", ""}});
    back = absl::StrReplaceAll(back, {{"=C3", "\xc3"},
                                      {"=BC", "\xbc"},
                                      {"=FF", "\xff"},
                                      {"=3D", "="},
                                      {"=20", " "},
                                      {"=09", "\t"}});
    EXPECT_EQ(back, text + "\n");
    for (size_t piece = 1; piece < 9; ++piece)
      EXPECT_EQ(Encode<QuotedPrintableEncoder>(text + "\n", piece), once);
  }
}

TEST(Base64EncoderTest, LinesAndTheirEnds) {
  for (size_t n = 0; n < 130; ++n) {
    const std::string text = std::string(n, '\xfe') + "\nb\rc\r\n\nend";
    const std::string wire = absl::StrReplaceAll(
        absl::StrReplaceAll(text, {{"\r\n", "\n"}}), {{"\n", "\r\n"}});
    const std::string once = Encode<Base64Encoder>(text);
    for (const auto line : absl::StrSplit(once, '\n'))
      EXPECT_LE(line.size(), kMaxEncodedLine);
    std::string back;
    ASSERT_TRUE(
        absl::Base64Unescape(absl::StrReplaceAll(once, {{"\n", ""}}), &back));
    EXPECT_EQ(back, wire);
    for (size_t piece = 1; piece < 9; ++piece)
      EXPECT_EQ(Encode<Base64Encoder>(text, piece), once);
  }
  // The last line end belongs to the part, or to the boundary.
  EXPECT_EQ(Encode<Base64Encoder>("ab\n"), "YWINCg==\n");
  EXPECT_EQ(Encode<Base64Encoder>("ab\n", 9, false), "YWI=\n");
  EXPECT_EQ(Encode<Base64Encoder>(""), "");
}

}  // namespace
}  // namespace holdfast
