#include "server/lookup/credentials.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {
namespace {

constexpr char kHash[] = "$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80";
constexpr char kOtherHash[] =
    "$5$abcdefgh$ruMep1ijHnJPZbETDNiumskxcX3kN4lzZd5VlsqE7eB";
constexpr absl::Duration kStart = absl::Hours(1);

std::shared_ptr<Table> MakeTable() {
  return std::make_shared<Table>("users", Table::Kind::kMap, "static", "");
}

std::string Verifier(const std::string& password, uint32_t iterations = 7) {
  return MakeScramVerifier(kScramHash, password, "0123456789", iterations)
      .ToText();
}

TEST(Credentials, StoredPasswordIsAllOrBehindTheColon) {
  EXPECT_EQ(StoredPassword(kHash), kHash);
  EXPECT_EQ(StoredPassword(absl::StrCat("joe:", kHash)), kHash);
  EXPECT_EQ(StoredPassword(Verifier("x")), Verifier("x"));
  EXPECT_EQ(StoredPassword(absl::StrCat("joe:", Verifier("x"))), Verifier("x"));
  for (const std::string& bad :
       {std::string(), std::string("ab"), std::string("joe:"),
        std::string(":hash"), std::string(2048, 'h')}) {
    EXPECT_EQ(StoredPassword(bad), std::nullopt) << bad;
  }
}

TEST(Credentials, FindsUsers) {
  const auto table = MakeTable();
  table->Add("joe", kHash);
  Credentials credentials("secret");
  const auto joe = credentials.Find(table, "Joe", kStart);
  ASSERT_TRUE(joe.ok());
  EXPECT_TRUE(joe->real);
  EXPECT_EQ(joe->stored, kHash);
}

TEST(Credentials, WhoIsMissingIsComparedWithSomebodyElse) {
  const auto table = MakeTable();
  table->Add("joe", kHash);
  table->Add("jim", kOtherHash);
  table->Add("locked", "*LK*");
  Credentials credentials("secret");
  std::set<std::string> stored;
  for (int i = 0; i < 100; ++i) {
    const std::string name = absl::StrCat("nobody", i);
    const auto once = credentials.Find(table, name, kStart);
    const auto again = credentials.Find(table, name, kStart);
    ASSERT_TRUE(once.ok() && again.ok());
    EXPECT_FALSE(once->real);
    EXPECT_FALSE(once->unusable);
    EXPECT_EQ(once->stored, again->stored);
    stored.insert(once->stored);
  }
  EXPECT_EQ(stored, (std::set<std::string>{kHash, kOtherHash}));
  const auto locked = credentials.Find(table, "locked", kStart);
  EXPECT_FALSE(locked->real);
  EXPECT_TRUE(locked->unusable);
  EXPECT_TRUE(stored.count(locked->stored));
}

TEST(Credentials, AnEmptyTableCostsAsMuchAsTheSystemsHash) {
  Credentials credentials("secret");
  const auto found = credentials.Find(MakeTable(), "joe", kStart);
  EXPECT_FALSE(found->real);
  EXPECT_EQ(found->stored.substr(0, 3), "$y$");
}

TEST(Credentials, VerifiersThatAreMadeUpLookLikeOthers) {
  const auto table = MakeTable();
  table->Add("joe", Verifier("pencil"));
  table->Add("jim", kHash);
  Credentials credentials("secret");
  const auto joe = credentials.FindVerifier(table, "joe", kStart);
  ASSERT_TRUE(joe.ok());
  EXPECT_TRUE(joe->real);
  EXPECT_TRUE(ScramPasswordFits(kScramHash, "pencil", joe->verifier));
  for (const char* name : {"jim", "nobody", "someone"}) {
    const auto found = credentials.FindVerifier(table, name, kStart);
    EXPECT_FALSE(found->real);
    EXPECT_EQ(found->verifier.iterations, 7u);
    EXPECT_EQ(found->verifier.salt.size(), 10u);
    EXPECT_NE(found->verifier.salt, joe->verifier.salt);
    const auto again = credentials.FindVerifier(table, name, kStart);
    EXPECT_EQ(found->verifier, again->verifier);
  }
  EXPECT_NE(credentials.FindVerifier(table, "nobody", kStart)->verifier.salt,
            credentials.FindVerifier(table, "someone", kStart)->verifier.salt);
  // Another process, another salt.
  Credentials other("another");
  EXPECT_NE(credentials.FindVerifier(table, "nobody", kStart)->verifier.salt,
            other.FindVerifier(table, "nobody", kStart)->verifier.salt);
}

TEST(Credentials, OffersScramIfAllHaveIt) {
  Credentials credentials("secret");
  const auto table = MakeTable();
  EXPECT_FALSE(credentials.AllScram(table, kStart));
  table->Add("joe", Verifier("pencil"));
  EXPECT_TRUE(credentials.AllScram(table, kStart));
  table->Add("locked", "*");
  EXPECT_TRUE(credentials.AllScram(table, kStart));
  table->Add("jim", kHash);
  EXPECT_FALSE(credentials.AllScram(table, kStart));
}

TEST(Credentials, LooksAgainAfterATime) {
  Credentials credentials("secret");
  const auto table = MakeTable();
  table->Add("joe", Verifier("pencil"));
  EXPECT_TRUE(credentials.AllScram(table, kStart));
  table->Add("joe", kHash);
  EXPECT_FALSE(credentials.AllScram(table, kStart + Credentials::kLooksGood));
}

TEST(Credentials, ATableThatIsAskedElsewhereIsAnError) {
  Credentials credentials("secret");
  const TableRef table =
      std::make_shared<Table>("p", Table::Kind::kDynamic, "getpwnam", "");
  EXPECT_FALSE(credentials.Find(table, "joe", kStart).ok());
  EXPECT_FALSE(credentials.FindVerifier(table, "joe", kStart).ok());
  EXPECT_FALSE(credentials.AllScram(table, kStart));
}

}  // namespace
}  // namespace holdfast
