#include "protocol/sasl_plain.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

using std::string_literals::operator""s;

TEST(SaslPlain, HasUserAndPassword) {
  const auto plain = ParseSaslPlain("\0joe\0se cret"s);
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->user, "joe");
  EXPECT_EQ(plain->password.text(), "se cret");
}

TEST(SaslPlain, IgnoresTheIdentityToActAs) {
  const auto plain = ParseSaslPlain("root\0joe\0x"s);
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->user, "joe");
}

TEST(SaslPlain, TakesOctetsOfAnyKind) {
  const auto plain = ParseSaslPlain("\0j\xc3\xb6\0p\xff\x01"s);
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->user, "j\xc3\xb6");
  EXPECT_EQ(plain->password.text(), "p\xff\x01");
}

TEST(SaslPlain, RefusesWhatIsNone) {
  for (const std::string& bad :
       {""s, "joe"s, "\0"s, "\0\0"s, "\0joe"s, "\0joe\0"s, "\0\0password"s,
        "\0joe\0pass\0"s, "\0joe\0pass\0word"s, "\0j\roe\0p"s, "\0joe\0p\n"s}) {
    EXPECT_FALSE(ParseSaslPlain(bad)) << testing::PrintToString(bad);
  }
}

TEST(SaslPlain, HasBounds) {
  const std::string longest(kMaxSaslUser, 'u');
  EXPECT_TRUE(ParseSaslPlain("\0"s + longest + "\0p"s));
  EXPECT_FALSE(ParseSaslPlain("\0u"s + longest + "\0p"s));
  EXPECT_TRUE(ParseSaslPlain("\0u\0"s + std::string(1020, 'p')));
  EXPECT_FALSE(ParseSaslPlain("\0u\0"s + std::string(1021, 'p')));
}

}  // namespace
}  // namespace holdfast
