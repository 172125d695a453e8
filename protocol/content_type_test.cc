#include "protocol/content_type.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

std::string Parsed(absl::string_view value) {
  const ContentType t = ParseContentType(value);
  return absl::StrCat(t.type, "/", t.subtype, " [", t.boundary, "]");
}

TEST(ContentTypeTest, TypeAndBoundary) {
  EXPECT_EQ(Parsed("text/plain"), "text/plain []");
  EXPECT_EQ(Parsed(" Multipart/MIXED;boundary=abc"), "multipart/mixed [abc]");
  EXPECT_EQ(Parsed("multipart/mixed; charset=x;\n\tBoundary=\"a b\\\"c\"; y=z"),
            "multipart/mixed [a b\"c]");
  EXPECT_EQ(Parsed("multipart (a (nested\\)) comment) / mixed (b)\n ; (c) "
                   "boundary = (d) x"),
            "multipart/mixed [x]");
  // Unquoted, as many write it.
  EXPECT_EQ(Parsed("multipart/mixed; boundary=----=_Part:1/2"),
            "multipart/mixed [----=_Part:1/2]");
  // The first counts; junk between is passed over.
  EXPECT_EQ(Parsed("a/b; ;; =x; boundary=1 junk; boundary=2"), "a/b [1]");
  EXPECT_EQ(Parsed("a/b; boundary=\"open"), "a/b [open]");
}

TEST(ContentTypeTest, WhatIsNone) {
  for (const char* text : {"", " ", "text", "text/", "/plain", "(", "=?;",
                           "text plain", "(text/plain"})
    EXPECT_EQ(Parsed(text), "/ []") << text;
}

TEST(ContentTypeTest, Word) {
  EXPECT_EQ(ParseMimeWord(" (x) 8BIT (y)"), "8bit");
  EXPECT_EQ(ParseMimeWord("Quoted-Printable\r\n"), "quoted-printable");
  EXPECT_EQ(ParseMimeWord("  "), "");
}

}  // namespace
}  // namespace holdfast
