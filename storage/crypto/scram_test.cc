#include "protocol/scram.h"

#include <gtest/gtest.h>

#include <random>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {
namespace {

using std::string_literals::operator""s;

std::string Unbase64(absl::string_view text) {
  std::string bytes;
  EXPECT_TRUE(absl::Base64Unescape(text, &bytes));
  return bytes;
}

// A client as RFC 5802 section 3 has it.
std::string ClientFinal(const ScramClientFirst& first,
                        const std::string& server_first,
                        const std::string& nonce, const std::string& password,
                        const std::string& salt, uint32_t iterations) {
  const std::string salted = Pbkdf2Sha256(password, salt, iterations);
  std::string proof = HmacSha256(salted, "Client Key");
  const std::string without =
      absl::StrCat("c=", absl::Base64Escape(first.gs2_header), ",r=", nonce);
  const std::string signature = HmacSha256(
      Sha256(proof), absl::StrCat(first.bare, ",", server_first, ",", without));
  for (size_t i = 0; i < proof.size(); ++i) proof[i] ^= signature[i];
  return absl::StrCat(without, ",p=", absl::Base64Escape(proof));
}

// RFC 7677 section 3.
TEST(Scram, ExampleOfTheRfc) {
  const ScramVerifier verifier = MakeScramVerifier(
      kScramHash, "pencil", Unbase64("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096);
  auto first = ParseScramClientFirst("n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->user, "user");
  ScramExchange exchange(kScramHash, *first, verifier,
                         "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
  EXPECT_EQ(exchange.server_first(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
  std::string last;
  EXPECT_EQ(
      exchange.Finish("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)"
                      "hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                      &last),
      ScramExchange::Result::kOk);
  EXPECT_EQ(last, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

TEST(Scram, VerifierComesBackFromItsText) {
  const ScramVerifier verifier =
      MakeScramVerifier(kScramHash, "pencil", "salt", 10);
  EXPECT_EQ(ParseScramVerifier(verifier.ToText()), verifier);
  EXPECT_TRUE(ScramPasswordFits(kScramHash, "pencil", verifier));
  EXPECT_FALSE(ScramPasswordFits(kScramHash, "Pencil", verifier));
  EXPECT_FALSE(ScramPasswordFits(kScramHash, "", verifier));
}

TEST(Scram, RefusesVerifiersThatAreNone) {
  const std::string key(44, 'A');
  const std::string good = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
  ASSERT_TRUE(
      ParseScramVerifier("SCRAM-SHA-256$4096:c2FsdA==$" + good + ":" + good));
  for (const std::string& bad :
       {""s, "SCRAM-SHA-256$"s,
        "SCRAM-SHA-1$4096:c2FsdA==$" + good + ":" + good,
        "SCRAM-SHA-256$0:c2FsdA==$" + good + ":" + good,
        "SCRAM-SHA-256$-1:c2FsdA==$" + good + ":" + good,
        "SCRAM-SHA-256$ 1:c2FsdA==$" + good + ":" + good,
        "SCRAM-SHA-256$10000001:c2FsdA==$" + good + ":" + good,
        "SCRAM-SHA-256$4096:$" + good + ":" + good,
        "SCRAM-SHA-256$4096:c2FsdA$" + good + ":" + good,
        "SCRAM-SHA-256$4096:c2FsdA==$" + key + ":" + good,
        "SCRAM-SHA-256$4096:c2FsdA==$" + good,
        "SCRAM-SHA-256$4096:c2FsdA==$" + good + ":" + good + " "}) {
    EXPECT_FALSE(ParseScramVerifier(bad)) << bad;
  }
}

TEST(Scram, ReadsWhatTheClientSaysFirst) {
  auto first = ParseScramClientFirst("y,a=boss,n=a=2Cb=3Dc,r=abc,x=1");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->gs2_header, "y,a=boss,");
  EXPECT_EQ(first->authzid, "boss");
  EXPECT_EQ(first->user, "a,b=c");
  EXPECT_EQ(first->nonce, "abc");
  EXPECT_EQ(first->bare, "n=a=2Cb=3Dc,r=abc,x=1");
}

TEST(Scram, RefusesFirstMessagesThatAreNone) {
  for (const std::string& bad :
       {""s,
        "n"s,
        "n,"s,
        "n,,"s,
        "n,,n=user"s,
        "n,,n=user,"s,
        "n,,n=user,r="s,
        "n,,n=,r=abc"s,
        "n,,r=abc,n=user"s,
        "p=tls-unique,,n=user,r=abc"s,
        "n,,m=x,n=user,r=abc"s,
        "n,,n=a=2cb,r=abc"s,
        "n,,n=a=,r=abc"s,
        "n,,n=user,r=a\x7f"s,
        "n,,n=user,r=a b"s,
        "n,,n=us\0er,r=abc"s,
        "n,,n=us\x01"
        "er,r=abc"s,
        "n,,n=user\xff,r=abc"s,
        "n,,n=user,r=abc,"s,
        "n,,n=user,r=abc,x"s,
        "n,,n=user,r=abc,x="s,
        "n,b=x,n=user,r=abc"s,
        "n,a=,n=user,r=abc"s,
        "n,,n=user,r=" + std::string(kMaxScramNonce + 1, 'r'),
        "n,,n=" + std::string(256, 'u') + ",r=abc"}) {
    EXPECT_FALSE(ParseScramClientFirst(bad)) << bad;
  }
}

TEST(Scram, RefusesFinalMessagesThatDoNotBelong) {
  const ScramVerifier verifier =
      MakeScramVerifier(kScramHash, "pencil", "salt", 1);
  const auto first = ParseScramClientFirst("n,,n=user,r=abc");
  ScramExchange exchange(kScramHash, *first, verifier, "DEF");
  const std::string good = ClientFinal(*first, exchange.server_first(),
                                       "abcDEF", "pencil", "salt", 1);
  std::string last;
  EXPECT_EQ(exchange.Finish(good, &last), ScramExchange::Result::kOk);
  // Another nonce, another header: even with a right proof for them.
  EXPECT_EQ(exchange.Finish(ClientFinal(*first, exchange.server_first(), "abc",
                                        "pencil", "salt", 1),
                            &last),
            ScramExchange::Result::kMalformed);
  ScramClientFirst other = *first;
  other.gs2_header = "y,,";
  EXPECT_EQ(exchange.Finish(ClientFinal(other, exchange.server_first(),
                                        "abcDEF", "pencil", "salt", 1),
                            &last),
            ScramExchange::Result::kMalformed);
  EXPECT_EQ(exchange.Finish(ClientFinal(*first, exchange.server_first(),
                                        "abcDEF", "penciL", "salt", 1),
                            &last),
            ScramExchange::Result::kWrong);
  for (const std::string& bad :
       {""s, "p="s, "c=biws,r=abcDEF"s, "c=biws,r=abcDEF,p="s,
        "c=biws,r=abcDEF,p=AAAA"s, "r=abcDEF,c=biws" + good.substr(15),
        good + ","s, good + "="s, "," + good}) {
    EXPECT_EQ(exchange.Finish(bad, &last), ScramExchange::Result::kMalformed)
        << bad;
  }
}

// Whatever password, salt and nonces: who knows the password gets in, and no
// flipped bit of the proof does.
TEST(Scram, OnlyTheRightPasswordFits) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::string password(1 + random() % 40, '\0');
    for (char& c : password) c = static_cast<char>(0x20 + random() % 0x5f);
    std::string salt(1 + random() % 20, '\0');
    for (char& c : salt) c = static_cast<char>(random());
    const uint32_t iterations = 1 + random() % 5;
    const auto first =
        ParseScramClientFirst(absl::StrCat("n,,n=u", round, ",r=", random()));
    ASSERT_TRUE(first);
    ScramExchange exchange(
        kScramHash, *first,
        MakeScramVerifier(kScramHash, password, salt, iterations), "server");
    std::string final_message =
        ClientFinal(*first, exchange.server_first(), first->nonce + "server",
                    password, salt, iterations);
    std::string last;
    ASSERT_EQ(exchange.Finish(final_message, &last),
              ScramExchange::Result::kOk);
    const size_t at = final_message.find(",p=") + 3 + random() % 42;
    final_message[at] = final_message[at] == 'A' ? 'B' : 'A';
    EXPECT_EQ(exchange.Finish(final_message, &last),
              ScramExchange::Result::kWrong);
  }
}

TEST(Scram, PreparesAsciiOnly) {
  EXPECT_TRUE(IsSaslPrepared("pass word ~"));
  EXPECT_TRUE(IsSaslPrepared("p\xc3\xa4ss\xe2\x82\xac\xf0\x9f\x94\x91"));
  for (const std::string& bad :
       {"a\0b"s, "a\tb"s, "a\x7f"s, "\x80"s, "\xc3"s, "\xc0\x80"s, "\xc2\x85"s,
        "\xed\xa0\x80"s, "\xe0\x80\x80"s, "\xf4\x90\x80\x80"s, "\xc3\x28"s}) {
    EXPECT_FALSE(IsSaslPrepared(bad)) << testing::PrintToString(bad);
  }
}

}  // namespace
}  // namespace holdfast
