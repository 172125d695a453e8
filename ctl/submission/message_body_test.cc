#include "ctl/submission/message_body.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

// In one piece and byte for byte: the same.
template <class Filter>
std::string Filtered(absl::string_view in, bool* encode = nullptr) {
  std::string whole, pieces;
  Filter a, b;
  a.Write(in, &whole);
  for (const char& c : in) b.Write(absl::string_view(&c, 1), &pieces);
  if constexpr (requires { a.Finish(&whole); }) {
    a.Finish(&whole);
    b.Finish(&pieces);
  }
  if constexpr (requires { a.needs_encoding(); })
    if (encode != nullptr) *encode = a.needs_encoding();
  EXPECT_EQ(whole, pieces);
  return whole;
}

TEST(LineEnds, BecomeLf) {
  bool encode = true;
  EXPECT_EQ(Filtered<LineEnds>("a\r\nb\nc", &encode), "a\nb\nc\n");
  EXPECT_FALSE(encode);
  EXPECT_EQ(Filtered<LineEnds>("", &encode), "");
  EXPECT_EQ(Filtered<LineEnds>("\n\r\n", &encode), "\n\n");
}

TEST(LineEnds, SayWhatSmtpCannotCarry) {
  bool encode = false;
  EXPECT_EQ(Filtered<LineEnds>("10%\r20%\r\n\r", &encode), "10%\r20%\n\r\n");
  EXPECT_TRUE(encode);
  EXPECT_EQ(Filtered<LineEnds>(std::string(989, 'x'), &encode).size(), 990u);
  EXPECT_FALSE(encode);
  Filtered<LineEnds>(std::string(990, 'x'), &encode);
  EXPECT_TRUE(encode);
}

TEST(QuotedPrintable, Encodes) {
  EXPECT_EQ(Filtered<QuotedPrintable>("a=b \n\xe4\t\n \nc d\re"),
            "a=3Db=20\n=E4=09\n=20\nc d=0De\n");
  const std::string line(100, 'x');
  EXPECT_EQ(Filtered<QuotedPrintable>(line + "\n"),
            std::string(75, 'x') + "=\n" + std::string(25, 'x') + "\n");
  EXPECT_EQ(Filtered<QuotedPrintable>(std::string(74, 'x') + "=\n"),
            std::string(74, 'x') + "=\n=3D\n");
}

TEST(DotStuffing, DoublesDots) {
  EXPECT_EQ(Filtered<DotStuffing>(".\n..a\nb.\n"), "..\r\n...a\r\nb.\r\n");
}

}  // namespace
}  // namespace holdfast
