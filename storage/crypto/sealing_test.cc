#include "storage/crypto/sealing.h"

#include <gtest/gtest.h>

#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"

namespace holdfast {
namespace {

constexpr uint8_t kTable = 3;
constexpr char kSecret[] = "0123456789abcdef0123456789abcdef";
constexpr char kOther[] = "fedcba9876543210fedcba9876543210";

std::vector<std::unique_ptr<SealingKey>> Keys(
    const std::vector<std::string>& secrets) {
  std::vector<std::unique_ptr<SealingKey>> keys;
  for (const std::string& secret : secrets)
    keys.push_back(std::make_unique<SealingKey>(secret));
  return keys;
}

// Must never change: rows on disks out there.
TEST(Sealing, WhatWasSealedStaysReadable) {
  const std::string row = absl::HexStringToBytes(
      "81275d0b1dcd04ac53c4695a30617eb2dd000000000000000000"
      "000000d1017ca08401d0ae7478f7f02111cc461b0026e9b58273");
  const Sealing sealing(Keys({kSecret}), true, false);
  EXPECT_EQ(SealingKey(kSecret).id(), 0x275d0b1du);
  std::string opened;
  EXPECT_TRUE(sealing.Open(kTable, "key", row, &opened));
  EXPECT_EQ(opened, "the row");
  EXPECT_EQ(absl::BytesToHexString(sealing.Prove(sealing.current(), "text")),
            "3d5316a588f8e30f372aef08b37836c3a53a16311ab440e3be559eab9d0643fa");
}

TEST(Sealing, SealsForOnePlace) {
  const Sealing sealing(Keys({kSecret}), true, false);
  const std::string sealed = sealing.Seal(kTable, "key", "row of the table");
  EXPECT_TRUE(IsSealed(sealed));
  EXPECT_EQ(KeyIdOf(sealed), sealing.current());
  EXPECT_EQ(sealed.size(), 16 + kSealBytes);
  EXPECT_FALSE(absl::StrContains(sealed, "row"));
  std::string opened;
  ASSERT_TRUE(sealing.Open(kTable, "key", sealed, &opened));
  EXPECT_EQ(opened, "row of the table");
  // In another's place, of another table, of no table.
  EXPECT_FALSE(sealing.Open(kTable, "kex", sealed, &opened));
  EXPECT_EQ(opened, "");
  EXPECT_FALSE(sealing.Open(kTable, "ke", sealed, &opened));
  EXPECT_FALSE(sealing.Open(kTable, "keyy", sealed, &opened));
  EXPECT_FALSE(sealing.Open(kTable + 1, "key", sealed, &opened));
}

TEST(Sealing, EveryOctetCounts) {
  const Sealing sealing(Keys({kSecret, kOther}), true, true);
  const std::string sealed = sealing.Seal(kTable, "key", "row");
  std::string opened;
  for (size_t at = 0; at < sealed.size(); ++at) {
    for (int change = 1; change < 256; ++change) {
      std::string bad = sealed;
      bad[at] = static_cast<char>(bad[at] ^ change);
      ASSERT_FALSE(sealing.Open(kTable, "key", bad, &opened)) << at;
    }
    ASSERT_FALSE(sealing.Open(kTable, "key", sealed.substr(0, at), &opened));
  }
  EXPECT_FALSE(sealing.Open(kTable, "key", sealed + "x", &opened));
  EXPECT_FALSE(sealing.Open(kTable, "key", "", &opened));
}

TEST(Sealing, OpensWithEachOfItsKeys) {
  const Sealing first(Keys({kSecret}), true, false);
  const Sealing both(Keys({kOther, kSecret}), true, false);
  const Sealing other(Keys({kOther}), true, false);
  const Sealing none(Keys({kSecret}), false, true);
  const std::string sealed = first.Seal(kTable, "key", "row");
  std::string opened;
  EXPECT_TRUE(both.Open(kTable, "key", sealed, &opened));
  EXPECT_TRUE(none.Open(kTable, "key", sealed, &opened));
  EXPECT_FALSE(other.Open(kTable, "key", sealed, &opened));
  // Written with the first.
  EXPECT_EQ(both.current(), other.current());
  EXPECT_NE(both.current(), first.current());
  EXPECT_TRUE(
      other.Open(kTable, "key", both.Seal(kTable, "key", "row"), &opened));
  EXPECT_EQ(none.current(), 0u);
  EXPECT_EQ(none.Seal(kTable, "key", "\1row"), "\1row");
}

TEST(Sealing, NoNonceComesTwice) {
  std::set<std::string> nonces;
  for (int start = 0; start < 50; ++start) {
    const Sealing sealing(Keys({kSecret}), true, false);
    for (int i = 0; i < 100; ++i)
      nonces.insert(sealing.Seal(kTable, "key", "row").substr(5, 24));
  }
  EXPECT_EQ(nonces.size(), 5000u);
}

TEST(Sealing, Proofs) {
  const SealingKey key(kSecret), same(kSecret), other(kOther);
  EXPECT_TRUE(SameProof(key.Prove("text"), same.Prove("text")));
  EXPECT_FALSE(SameProof(key.Prove("text"), key.Prove("texu")));
  EXPECT_FALSE(SameProof(key.Prove("text"), other.Prove("text")));
  EXPECT_FALSE(SameProof(key.Prove("text"), ""));
  EXPECT_FALSE(absl::StrContains(key.Prove("text"), kSecret));
}

}  // namespace
}  // namespace holdfast
