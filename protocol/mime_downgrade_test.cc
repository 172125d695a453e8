#include "protocol/mime_downgrade.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kImpossible[] = "(impossible)";

// "ue" of the text stands for two octets above 127.
std::string High(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"ue", "\xc3\xbc"}});
}

std::string Once(const std::string& text, MimeDowngrade::Options options,
                 size_t piece) {
  MimeDowngrade downgrade(options);
  std::string out;
  for (size_t i = 0; i < text.size(); i += piece)
    if (!downgrade.Append(absl::string_view(text).substr(i, piece), &out))
      return kImpossible;
  return downgrade.Finish(&out) ? out : kImpossible;
}

std::string Convert(const std::string& text,
                    MimeDowngrade::Options options = {}) {
  const std::string whole = Once(text, options, text.size() + 1);
  for (const size_t piece : {1, 2, 3, 7, 64, 4097})
    EXPECT_EQ(Once(text, options, piece), whole) << piece;
  return whole;
}

TEST(MimeDowngradeTest, SevenBitsStayAsTheyAre) {
  for (const char* text :
       {"", "Subject: x\n", "Subject: x\n\n", "Subject: x\n\nbody\n",
        "A: b\n\nno line end", "Content-Transfer-Encoding: base64\n\neHg=\n",
        "Content-Transfer-Encoding: x-uu\n\nbegin\n",
        "Mime-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
        "pre\n--b\n\none\n--b\nContent-Type: x/y\n\ntwo\n--b--\nepilogue\n",
        "Content-Type: multipart/signed; boundary=b\n\n--b\n\nx\n--b--\n",
        "Content-Type: multipart/mixed\n\nno boundary\n"})
    EXPECT_EQ(Convert(text), text);
}

TEST(MimeDowngradeTest, TextBecomesQuotedPrintable) {
  EXPECT_EQ(Convert(High("Subject: x\nMIME-Version: 1.0\n"
                         "Content-Transfer-Encoding: 8bit\n"
                         "Content-Type: text/plain; charset=utf-8\n\n"
                         "grueen = x \n\nlast")),
            "Subject: x\nMIME-Version: 1.0\n"
            "Content-Type: text/plain; charset=utf-8\n"
            "Content-Transfer-Encoding: quoted-printable\n\n"
            "gr=C3=BCen =3D x=20\n\nlast");
}

TEST(MimeDowngradeTest, WhatIsNotMimeBecomesSo) {
  EXPECT_EQ(Convert(High("Subject: x\n\nue\n")),
            "Subject: x\nMIME-Version: 1.0\n"
            "Content-Type: text/plain; charset=unknown-8bit\n"
            "Content-Transfer-Encoding: quoted-printable\n\n=C3=BC\n");
}

TEST(MimeDowngradeTest, OtherTypesBecomeBase64) {
  EXPECT_EQ(Convert(High("MIME-Version: 1.0\nContent-Type: application/json\n"
                         "content-transfer-encoding:\n 8bit\n\n\"ue\"\n\n")),
            "MIME-Version: 1.0\nContent-Type: application/json\n"
            "Content-Transfer-Encoding: base64\n\nIsO8Ig0KDQo=\n");
}

TEST(MimeDowngradeTest, PartsAreFoundByTheirBoundaries) {
  const std::string text = High(
      "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"a b\"\n"
      "Content-Transfer-Encoding: 8bit\n\n"
      "preamble ue\n"
      "--a b\n"
      "Content-Type: multipart/alternative; boundary=a\n\n"
      "--a\nContent-Transfer-Encoding: 8bit\n\nue\n"
      "--a  \nContent-Type: x/y\n\nue\n"
      "--a\n\n7 bits, --a b inside\n"
      "--a--\n"
      "--a b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n"
      "eHh4\n"
      "--a b--\nbehind ue\n");
  EXPECT_EQ(
      Convert(text),
      "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"a b\"\n"
      "Content-Transfer-Encoding: 7bit\n\n"
      "preamble ??\n"
      "--a b\n"
      "Content-Type: multipart/alternative; boundary=a\n\n"
      "--a\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n"
      "--a  \nContent-Type: x/y\nContent-Transfer-Encoding: base64\n\nw7w=\n"
      "--a\n\n7 bits, --a b inside\n"
      "--a--\n"
      "--a b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n"
      "eHh4\n"
      "--a b--\nbehind ??\n");
}

TEST(MimeDowngradeTest, AnOuterBoundaryEndsInnerParts) {
  const std::string text = High(
      "Content-Type: multipart/mixed; boundary=out\n\n"
      "--out\nContent-Type: multipart/mixed; boundary=in\n\n"
      "--in\n\nue\n"
      "--out\n\nue\n--out--\n");
  EXPECT_EQ(Convert(text),
            "Content-Type: multipart/mixed; boundary=out\n"
            "MIME-Version: 1.0\n\n"
            "--out\nContent-Type: multipart/mixed; boundary=in\n\n"
            "--in\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n"
            "--out\nContent-Transfer-Encoding: quoted-printable\n\n=C3=BC\n"
            "--out--\n");
}

TEST(MimeDowngradeTest, MessagesInsideAreWalkedNotEncoded) {
  const std::string inner = High(
      "Subject: inner\nMIME-Version: 1.0\n"
      "Content-Transfer-Encoding: 8bit\n\nue\n");
  const std::string want =
      "Subject: inner\nMIME-Version: 1.0\n"
      "Content-Type: text/plain; charset=unknown-8bit\n"
      "Content-Transfer-Encoding: quoted-printable\n\n=C3=BC\n";
  EXPECT_EQ(Convert("MIME-Version: 1.0\nContent-Type: message/rfc822\n"
                    "Content-Transfer-Encoding: 8bit\n\n" +
                    inner),
            "MIME-Version: 1.0\nContent-Type: message/rfc822\n"
            "Content-Transfer-Encoding: 7bit\n\n" +
                want);
  // In a digest that is what parts are.
  EXPECT_EQ(Convert("MIME-Version: 1.0\n"
                    "Content-Type: multipart/digest; boundary=b\n\n--b\n\n" +
                    inner + "--b--\n"),
            "MIME-Version: 1.0\n"
            "Content-Type: multipart/digest; boundary=b\n\n--b\n\n" +
                want + "--b--\n");
}

TEST(MimeDowngradeTest, StrayOctetsInEncodedParts) {
  EXPECT_EQ(Convert(High("Content-Transfer-Encoding: base64\n\ne\xffHg=ue\n")),
            "Content-Transfer-Encoding: base64\n\neHg=\n");
  std::string line;
  for (int i = 0; i < 30; ++i) line += "=C3=BCue";
  const std::string out = Convert(
      High("Content-Transfer-Encoding: Quoted-Printable\n\n" + line + "\n"));
  std::string want = "Content-Transfer-Encoding: Quoted-Printable\n\n";
  for (int i = 0; i < 60; ++i) want += "=C3=BC";
  EXPECT_EQ(absl::StrReplaceAll(out, {{"=\n", ""}}), want + "\n");
}

TEST(MimeDowngradeTest, WhatCannotBeConverted) {
  const std::string cases[] = {
      High("Content-Type: multipart/signed; boundary=b\n\n"
           "--b\nContent-Transfer-Encoding: 8bit\n\nue\n--b--\n"),
      High("Content-Type: multipart/mixed; boundary=a\n\n--a\n"
           "Content-Type: multipart/signed; boundary=b\n\n"
           "--b\n\nue\n--b--\n--a--\n"),
      High("Content-Type: message/partial\n\nue\n"),
      High("Content-Transfer-Encoding: x-uuencode\n\nue\n"),
      High("Content-Type: multipart/mixed\n\nue\n"),
      High("Content-Type: multipart/mixed; boundary=b\n"
           "Content-Transfer-Encoding: base64\n\nue\n"),
  };
  for (const std::string& text : cases) {
    EXPECT_EQ(Convert(text), kImpossible) << text;
    const std::string as_it_is = Convert(text, {false, false});
    EXPECT_THAT(as_it_is, HasSubstr("\xc3\xbc"));
  }
  // 8 bits behind a signed part are none of it.
  EXPECT_THAT(
      Convert(High("Content-Type: multipart/mixed; boundary=a\n\n--a\n"
                   "Content-Type: multipart/signed; boundary=b\n\n--b\n\nx\n"
                   "--b--\n--a\n\nue\n--a--\n")),
      HasSubstr("=C3=BC"));
}

TEST(MimeDowngradeTest, HeadersOfParts) {
  const std::string text = High(
      "Content-Type: multipart/mixed; boundary=a\n\n--a\n"
      "Content-Description: ue\n\nx\n--a--\n");
  EXPECT_THAT(Convert(text), HasSubstr(High("Description: ue")));
  EXPECT_EQ(Convert(text, {true, true}), kImpossible);
}

TEST(MimeDowngradeTest, LongPartsAreEncodedWithoutWaiting) {
  std::string seven(kLookaheadBytes - 1, 'x');
  seven.back() = '\n';
  const std::string header = "MIME-Version: 1.0\nContent-Type: text/x\n";
  EXPECT_EQ(Convert(header + "\n" + seven), header + "\n" + seven);
  const std::string more = seven + "more, and " + High("ue\n");
  const std::string out = Convert(header + "\n" + more);
  EXPECT_THAT(out, HasSubstr("quoted-printable"));
  EXPECT_THAT(out, HasSubstr("more, and =C3=BC\n"));

  // What is held back is bounded, whatever the line ends are.
  MimeDowngrade downgrade({});
  std::string sink = "";
  ASSERT_TRUE(downgrade.Append(header + "\n", &sink));
  for (size_t i = 0; i < 2 * kLookaheadBytes / 100; ++i)
    ASSERT_TRUE(downgrade.Append(std::string(100, 'x'), &sink));
  EXPECT_GT(sink.size(), kLookaheadBytes);
}

TEST(MimeDowngradeTest, DepthIsBounded) {
  std::string text = "MIME-Version: 1.0\n";
  for (size_t i = 0; i < 3 * kMaxMimeDepth; ++i)
    absl::StrAppend(&text, "Content-Type: multipart/mixed; boundary=b", i,
                    "x\n\n--b", i, "x\n");
  EXPECT_EQ(Convert(text + "\nx\n"), text + "\nx\n");
  EXPECT_EQ(Convert(High(text + "\nue\n")), kImpossible);
  const std::string wide = absl::StrCat(
      "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=",
      std::string(kMaxMimeBoundary + 1, 'b'), "\n\n");
  EXPECT_EQ(Convert(wide + High("ue\n")), kImpossible);
}

}  // namespace
}  // namespace holdfast
