// The mechanisms of protocol/sasl_client.h with real cryptography.
#include "protocol/sasl_client.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/scram_client.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;

constexpr char kUser[] = "user", kPassword[] = "pencil";

// Gives the nonce of RFC 7677's example.
std::string ExampleNonce(size_t) {
  std::string octets;
  absl::Base64Unescape("rOprNGfwEbeRWgbNEkqO", &octets);
  return octets;
}
constexpr SaslCrypto kExample = {kScramHash, HmacMd5, ExampleNonce};

std::unique_ptr<SaslClient> Make(std::vector<std::string> offered,
                                 const SaslCrypto* crypto = &kSaslCrypto,
                                 std::string user = kUser,
                                 std::string secret = kPassword) {
  auto client =
      MakeSaslClient(offered, {std::move(user), std::move(secret)}, crypto);
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

TEST(SaslClientTest, TheBestThatIsOffered) {
  const auto chosen = [](std::vector<std::string> offered) {
    return std::string(Make(std::move(offered))->mechanism());
  };
  EXPECT_EQ(chosen({"CRAM-MD5", "LOGIN", "PLAIN", "SCRAM-SHA-256"}),
            "SCRAM-SHA-256");
  EXPECT_EQ(chosen({"CRAM-MD5", "LOGIN", "PLAIN", "XOAUTH2"}), "PLAIN");
  EXPECT_EQ(chosen({"CRAM-MD5", "login"}), "LOGIN");
  EXPECT_EQ(chosen({"SCRAM-SHA-1", "CRAM-MD5"}), "CRAM-MD5");
  EXPECT_STREQ(Make({"SCRAM-SHA-256", "PLAIN", "XOAUTH2"}, &kSaslCrypto, kUser,
                    "Bearer abc")
                   ->mechanism(),
               "XOAUTH2");
}

TEST(SaslClientTest, CramMd5OfRfc2195) {
  auto client = Make({"CRAM-MD5"}, &kSaslCrypto, "tim", "tanstaaftanstaaf");
  EXPECT_FALSE(client->First().has_value());
  const auto answer =
      client->Answer("<1896.697170952@postoffice.reston.mci.net>");
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->text(), "tim b913a602c7eda7a495b4e6e7334d3890");
  EXPECT_FALSE(client->Answer("again").ok());
  EXPECT_FALSE(Make({"CRAM-MD5"})->Answer("").ok());
}

constexpr char kServerFirst[] =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr char kServerFinal[] =
    "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

TEST(SaslClientTest, ScramOfRfc7677) {
  auto client = Make({"SCRAM-SHA-256"}, &kExample);
  EXPECT_EQ(client->First()->text(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  EXPECT_NE(client->Complaint(), "");
  const auto proof = client->Answer(kServerFirst);
  ASSERT_TRUE(proof.ok()) << proof.status();
  EXPECT_EQ(proof->text(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
  EXPECT_NE(client->Complaint(), "");
  const auto last = client->Answer(kServerFinal);
  ASSERT_TRUE(last.ok());
  EXPECT_EQ(last->text(), "");
  EXPECT_EQ(client->Complaint(), "");
  EXPECT_FALSE(client->Answer("more").ok());
}

TEST(SaslClientTest, AServerThatDoesNotKnowThePassword) {
  for (const char* final :
       {"v=AAriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "v=", "",
        "e=other-error", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4"}) {
    auto client = Make({"SCRAM-SHA-256"}, &kExample);
    client->First();
    ASSERT_TRUE(client->Answer(kServerFirst).ok());
    EXPECT_FALSE(client->Answer(final).ok()) << final;
    EXPECT_NE(client->Complaint(), "");
  }
}

TEST(SaslClientTest, HostileScramChallenges) {
  const std::string r = "r=rOprNGfwEbeRWgbNEkqO";
  const std::string s = ",s=W22ZaJ0SNY7soEsUEjb6gQ==";
  const std::string challenges[] = {
      "",
      "r",
      "r=",
      r + s + ",i=4096",  // nothing added to our nonce
      "r=another" + s + ",i=4096",
      "m=x," + r + "x" + s + ",i=4096",
      r + "x,i=4096",
      r + "x,s=,i=4096",
      r + "x,s=!," + s + ",i=4096",
      r + "x" + s,
      r + "x" + s + ",i=",
      r + "x" + s + ",i=-1",
      r + "x" + s + ",i=04096",
      r + "x" + s + ",i=4096x",
      r + "x" + s + ",i=99999999999999999999",
      r + "x" + s + ",i=4294967295",
      r + "x" + s + absl::StrCat(",i=", kMinScramClientIterations - 1),
      r + "x" + s + absl::StrCat(",i=", kMaxScramClientIterations + 1),
      r + std::string(kMaxScramNonce, 'x') + s + ",i=4096",
      r + "x,s=" + absl::Base64Escape(std::string(kMaxScramSalt + 1, 's')) +
          ",i=4096",
  };
  for (const std::string& challenge : challenges) {
    auto client = Make({"SCRAM-SHA-256"}, &kExample);
    client->First();
    EXPECT_FALSE(client->Answer(challenge).ok()) << challenge;
    // It is over.
    EXPECT_FALSE(client->Answer(kServerFirst).ok());
  }
}

// Against our own server's side, with names that must be written otherwise.
TEST(SaslClientTest, ScramWithOurServer) {
  const std::string user = "a=b,c", password = "p\xc3\xa4ss, w=rd";
  const ScramVerifier verifier =
      MakeScramVerifier(kScramHash, password, "salt", 4096);
  auto client = Make({"SCRAM-SHA-256"}, &kSaslCrypto, user, password);
  auto first = ParseScramClientFirst(client->First()->text());
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->user, user);
  EXPECT_GE(first->nonce.size(), 32u);
  ScramExchange server(kScramHash, *first, verifier, "0123456789abcdefgh");
  const auto proof = client->Answer(server.server_first());
  ASSERT_TRUE(proof.ok());
  std::string final;
  ASSERT_EQ(server.Finish(proof->text(), &final), ScramExchange::Result::kOk);
  ASSERT_TRUE(client->Answer(final).ok());
  EXPECT_EQ(client->Complaint(), "");
}

}  // namespace
}  // namespace holdfast
