#include "storage/crypto/extended_gcm.h"

#include <gtest/gtest.h>
#include <openssl/aead.h>

#include "absl/strings/escaping.h"

namespace holdfast {
namespace {

std::string Hex(absl::string_view text) { return absl::HexStringToBytes(text); }

// The library's AES-256-GCM, with and without associated data.
TEST(Aes256Gcm, KnownAnswers) {
  struct Vector {
    const char *key, *nonce, *text, *associated, *sealed;
  };
  const Vector vectors[] = {
      // Test cases 13, 14 and 16 of the GCM specification (McGrew, Viega).
      {"0000000000000000000000000000000000000000000000000000000000000000",
       "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
      {"0000000000000000000000000000000000000000000000000000000000000000",
       "000000000000000000000000", "00000000000000000000000000000000", "",
       "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
      {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
       "cafebabefacedbaddecaf888",
       "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
       "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
       "feedfacedeadbeeffeedfacedeadbeefabaddad2",
       "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
       "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
       "76fc6ece0f4e1768cddf8853bb2d551b"},
  };
  for (const Vector& v : vectors) {
    const std::string key = Hex(v.key), nonce = Hex(v.nonce),
                      text = Hex(v.text), associated = Hex(v.associated);
    EVP_AEAD_CTX context;
    const auto bytes = [](const std::string& s) {
      return reinterpret_cast<const uint8_t*>(s.data());
    };
    ASSERT_EQ(EVP_AEAD_CTX_init(&context, EVP_aead_aes_256_gcm(), bytes(key),
                                key.size(), 16, nullptr),
              1);
    std::string sealed(text.size() + 16, '\0');
    size_t size = 0;
    EXPECT_EQ(EVP_AEAD_CTX_seal(
                  &context, reinterpret_cast<uint8_t*>(sealed.data()), &size,
                  sealed.size(), bytes(nonce), nonce.size(), bytes(text),
                  text.size(), bytes(associated), associated.size()),
              1);
    EXPECT_EQ(absl::BytesToHexString(sealed), v.sealed);
    EVP_AEAD_CTX_cleanup(&context);
  }
}

// The vectors of the specification, c2sp.org/XAES-256-GCM.
TEST(ExtendedGcm, KnownAnswers) {
  struct Vector {
    std::string key;
    const char *associated, *sealed;
  };
  const std::string nonce = "ABCDEFGHIJKLMNOPQRSTUVWX", text = "XAES-256-GCM";
  const Vector vectors[] = {
      // The key's zero block has no highest bit; the second's has.
      {std::string(32, '\1'), "",
       "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
      {std::string(32, '\3'), "c2sp.org/XAES-256-GCM",
       "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
  };
  for (const Vector& v : vectors) {
    const ExtendedGcm gcm(v.key);
    std::string sealed, opened;
    gcm.Seal(nonce, v.associated, text, &sealed);
    EXPECT_EQ(absl::BytesToHexString(sealed), v.sealed);
    EXPECT_TRUE(gcm.Open(nonce, v.associated, sealed, &opened));
    EXPECT_EQ(opened, text);
  }
}

TEST(ExtendedGcm, EveryBitCounts) {
  const ExtendedGcm gcm(std::string(32, 'k'));
  const std::string nonce(24, 'n'), associated = "where";
  std::string sealed, opened;
  gcm.Seal(nonce, associated, "text", &sealed);
  for (size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
    std::string bad = sealed;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ 1 << bit % 8);
    EXPECT_FALSE(gcm.Open(nonce, associated, bad, &opened));
    EXPECT_EQ(opened, "");
  }
  for (size_t bit = 0; bit < 8 * nonce.size(); ++bit) {
    std::string bad = nonce;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ 1 << bit % 8);
    EXPECT_FALSE(gcm.Open(bad, associated, sealed, &opened));
  }
  EXPECT_FALSE(gcm.Open(nonce, "wherf", sealed, &opened));
  EXPECT_FALSE(gcm.Open(nonce, "", sealed, &opened));
  EXPECT_FALSE(ExtendedGcm(std::string(32, 'l'))
                   .Open(nonce, associated, sealed, &opened));
  for (size_t size = 0; size < sealed.size(); ++size)
    EXPECT_FALSE(gcm.Open(nonce, associated, sealed.substr(0, size), &opened));
  EXPECT_TRUE(gcm.Open(nonce, associated, sealed, &opened));
}

}  // namespace
}  // namespace holdfast
