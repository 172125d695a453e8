#include "server/auth/crypt_password.h"

#include <crypt.h>
#include <gtest/gtest.h>

#include <memory>

namespace holdfast {
namespace {

// Made by `openssl passwd` (-1, -5, -6) with the salt "abcdefgh".
TEST(CryptPassword, KnowsWhatOthersMade) {
  for (const char* hash :
       {"$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80",
        "$5$abcdefgh$ruMep1ijHnJPZbETDNiumskxcX3kN4lzZd5VlsqE7eB",
        "$6$abcdefgh$yIZAF3gQPvtKZO/9qOJKffAKKbtS3ef3qmwyugk4uWVjX8YZf/"
        "GV3A8SkFxEPY0T56CcilGrHKLffBsp6dLMG."}) {
    EXPECT_TRUE(CryptPasswordFits("correct horse", hash)) << hash;
    EXPECT_FALSE(CryptPasswordFits("correct horsf", hash)) << hash;
  }
}

TEST(CryptPassword, KnowsAllKindsOfTheSystem) {
  int known = 0;
  for (const char* kind : {"$1$", "$5$", "$6$", "$2a$", "$2b$", "$2y$", "$y$",
                           "$gy$", "$7$", "$sha1", "$md5", "_", ""}) {
    char setting[CRYPT_GENSALT_OUTPUT_SIZE] = {};
    const std::string salt = "0123456789abcdef0123456789abcdef";
    const bool bcrypt = kind[0] == '$' && kind[1] == '2';
    if (crypt_gensalt_rn(kind, bcrypt ? 4 : 0, salt.data(), salt.size(),
                         setting, sizeof setting) == nullptr) {
      continue;
    }
    const auto data = std::make_unique<crypt_data>();
    const char* made = crypt_r("pass", setting, data.get());
    const std::string hash = made;
    ASSERT_NE(hash[0], '*') << kind;
    ++known;
    EXPECT_TRUE(IsCryptHash(hash)) << hash;
    EXPECT_TRUE(CryptPasswordFits("pass", hash)) << hash;
    EXPECT_FALSE(CryptPasswordFits("Pass", hash)) << hash;
    EXPECT_FALSE(CryptPasswordFits("", hash)) << hash;
    EXPECT_FALSE(CryptPasswordFits(std::string("pass\0", 5), hash)) << hash;
  }
  // Debian's library: all of these.
  EXPECT_GE(known, 12);
}

TEST(CryptPassword, RefusesWhatIsNoHash) {
  for (const char* text : {"", "*", "!", "!!", "x", "*0", "*1", "hunter2", "$$",
                           "$99$salt$hash", "!$6$salt$hash"}) {
    EXPECT_FALSE(IsCryptHash(text)) << text;
    EXPECT_FALSE(CryptPasswordFits(text, text)) << text;
  }
}

TEST(CryptPassword, APreferredSettingFitsNothing) {
  const std::string setting = PreferredCryptSetting();
  ASSERT_FALSE(setting.empty());
  EXPECT_EQ(setting.substr(0, 3), "$y$");
  EXPECT_FALSE(CryptPasswordFits("", setting));
  EXPECT_FALSE(CryptPasswordFits("pass", setting));
}

}  // namespace
}  // namespace holdfast
