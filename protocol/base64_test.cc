#include "protocol/base64.h"

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

TEST(Base64Test, DecodesWhatIsWellFormed) {
  EXPECT_EQ(DecodeBase64(""), "");
  EXPECT_EQ(DecodeBase64("QQ=="), "A");
  EXPECT_EQ(DecodeBase64("QUI="), "AB");
  EXPECT_EQ(DecodeBase64("QUJD"), "ABC");
  EXPECT_EQ(DecodeBase64("AGpvZQBzZWNyZXQ="), std::string("\0joe\0secret", 11));
}

TEST(Base64Test, RefusesEverythingElse) {
  for (const char* bad :
       {"*",    "=",     "==",    "===",          "====",      "Q",
        "QQ",   "QQ=",   "QUJ",   "QQ==QUJD",     "Q===",      "=QQ=",
        "QQ.=", "QUJD ", " QUJD", "QU JD",        "QU\rJD",    "QUJ-",
        "QUJ_", "QR==",  "QUJ=",  "QUJD\n\n\n\n", "\xc3\xa9zz"}) {
    EXPECT_EQ(DecodeBase64(bad), std::nullopt) << bad;
  }
}

TEST(Base64Test, EveryTextComesBack) {
  std::string text;
  for (int i = 0; i < 300; ++i) {
    text.push_back(static_cast<char>(i * 7));
    EXPECT_EQ(DecodeBase64(absl::Base64Escape(text)), text);
  }
}

}  // namespace
}  // namespace holdfast
