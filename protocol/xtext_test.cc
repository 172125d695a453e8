#include "protocol/xtext.h"

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(XtextTest, Decodes) {
  EXPECT_EQ(DecodeXtext(""), "");
  EXPECT_EQ(DecodeXtext("joe@x.test"), "joe@x.test");
  EXPECT_EQ(DecodeXtext("a+2Bb+3Dc+20d"), "a+b=c d");
  EXPECT_EQ(DecodeXtext("caf+C3+A9"), "caf\xc3\xa9");
}

TEST(XtextTest, RefusesWhatIsNone) {
  for (const char* bad :
       {"a b", "a=b", "a+", "a+2", "a+2b", "a+gg", "a\tb", "a\x7f", "\xc3\xa9"})
    EXPECT_FALSE(IsValidXtext(bad)) << bad;
  // Control characters would come out again.
  for (const char* bad : {"+00", "+0A", "+0D", "+1F", "+7F"})
    EXPECT_FALSE(IsValidXtext(bad)) << bad;
}

TEST(XtextTest, Utf8Addresses) {
  EXPECT_TRUE(IsValidUtf8Address("joe@x.test", false));
  EXPECT_TRUE(IsValidUtf8Address("\\x{E9}@x", false));
  EXPECT_TRUE(IsValidUtf8Address("a\\x{1F600}b", false));
  EXPECT_TRUE(IsValidUtf8Address("\xc3\xa9@x", true));
  EXPECT_FALSE(IsValidUtf8Address("\xc3\xa9@x", false));
  for (const char* bad : {"a b", "a+2B", "a=b", "\\", "\\x", "\\x{", "\\x{}",
                          "\\x{e9}", "\\x{110000}", "\\x{D800}", "\\x{0}",
                          "\\x{A}", "\\x{1234567}", "\xc3", "\xff"})
    EXPECT_FALSE(IsValidUtf8Address(bad, true)) << bad;
}

TEST(XtextTest, Utf8) {
  for (const char* good :
       {"", "plain", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
        "\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(IsValidUtf8(good)) << good;
  // Cut short, over-long, surrogates, beyond the last, control characters.
  for (const char* bad :
       {"\xc3", "\xe2\x82", "\xf0\x9f\x98", "\x80", "\xc0\xaf", "\xe0\x80\xaf",
        "\xf0\x80\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80\x80", "\xff", "\xc3\xc3", "\n", "\r", "\x7f",
        "\xc2\x85"})
    EXPECT_FALSE(IsValidUtf8(bad)) << bad;
  EXPECT_FALSE(IsValidUtf8(absl::string_view("\0", 1)));
}

}  // namespace
}  // namespace holdfast
