#include "storage/crypto/extended_gcm.h"

#include <openssl/aead.h>
#include <openssl/mem.h>

#include <cstdlib>

namespace holdfast {
namespace {

constexpr size_t kHalf = ExtendedGcm::kNonceBytes / 2;

const uint8_t* Bytes(absl::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

// AES-256-GCM with a key that is used for one record.
class OneRecord {
 public:
  explicit OneRecord(const uint8_t key[ExtendedGcm::kKeyBytes]) {
    // Fails only without memory.
    if (EVP_AEAD_CTX_init(&context_, EVP_aead_aes_256_gcm(), key,
                          ExtendedGcm::kKeyBytes, ExtendedGcm::kTagBytes,
                          nullptr) != 1) {
      abort();
    }
  }
  ~OneRecord() {
    EVP_AEAD_CTX_cleanup(&context_);
    OPENSSL_cleanse(&context_, sizeof context_);
  }
  OneRecord(const OneRecord&) = delete;
  OneRecord& operator=(const OneRecord&) = delete;

  const EVP_AEAD_CTX* get() const { return &context_; }

 private:
  EVP_AEAD_CTX context_;
};

}  // namespace

ExtendedGcm::ExtendedGcm(absl::string_view key) {
  if (key.size() != kKeyBytes ||
      AES_set_encrypt_key(Bytes(key), 8 * kKeyBytes, &schedule_) != 0) {
    abort();
  }
  // K1 of CMAC: the encryption of zeros, doubled in GF(2^128).
  uint8_t block[AES_BLOCK_SIZE] = {};
  AES_encrypt(block, block, &schedule_);
  uint8_t carry = 0;
  for (int i = AES_BLOCK_SIZE - 1; i >= 0; --i) {
    k1_[i] = static_cast<uint8_t>(block[i] << 1 | carry);
    carry = block[i] >> 7;
  }
  // Without a branch on what is secret.
  k1_[AES_BLOCK_SIZE - 1] ^= static_cast<uint8_t>(carry * 0x87);
  OPENSSL_cleanse(block, sizeof block);
}

ExtendedGcm::~ExtendedGcm() {
  OPENSSL_cleanse(&schedule_, sizeof schedule_);
  OPENSSL_cleanse(k1_, sizeof k1_);
}

// CMAC of two messages of one block each: counter, "X", zero, half the nonce.
void ExtendedGcm::DeriveKey(absl::string_view nonce,
                            uint8_t derived[kKeyBytes]) const {
  for (uint8_t counter = 1; counter <= 2; ++counter) {
    uint8_t block[AES_BLOCK_SIZE] = {0, counter, 'X', 0};
    for (size_t i = 0; i < kHalf; ++i)
      block[4 + i] = static_cast<uint8_t>(nonce[i]);
    for (size_t i = 0; i < AES_BLOCK_SIZE; ++i) block[i] ^= k1_[i];
    AES_encrypt(block, derived + (counter - 1) * AES_BLOCK_SIZE, &schedule_);
  }
}

void ExtendedGcm::Seal(absl::string_view nonce, absl::string_view associated,
                       absl::string_view text, std::string* out) const {
  if (nonce.size() != kNonceBytes) abort();
  uint8_t key[kKeyBytes];
  DeriveKey(nonce, key);
  const OneRecord record(key);
  OPENSSL_cleanse(key, sizeof key);
  const size_t start = out->size();
  out->resize(start + text.size() + kTagBytes);
  size_t size = 0;
  if (EVP_AEAD_CTX_seal(
          record.get(), reinterpret_cast<uint8_t*>(out->data()) + start, &size,
          text.size() + kTagBytes, Bytes(nonce) + kHalf, kHalf, Bytes(text),
          text.size(), Bytes(associated), associated.size()) != 1 ||
      size != text.size() + kTagBytes) {
    abort();  // only texts of many gigabytes can't be sealed
  }
}

bool ExtendedGcm::Open(absl::string_view nonce, absl::string_view associated,
                       absl::string_view sealed, std::string* out) const {
  out->clear();
  if (nonce.size() != kNonceBytes || sealed.size() < kTagBytes) return false;
  uint8_t key[kKeyBytes];
  DeriveKey(nonce, key);
  const OneRecord record(key);
  OPENSSL_cleanse(key, sizeof key);
  out->resize(sealed.size() - kTagBytes);
  size_t size = 0;
  if (EVP_AEAD_CTX_open(record.get(), reinterpret_cast<uint8_t*>(out->data()),
                        &size, out->size(), Bytes(nonce) + kHalf, kHalf,
                        Bytes(sealed), sealed.size(), Bytes(associated),
                        associated.size()) != 1 ||
      size != out->size()) {
    out->clear();
    return false;
  }
  return true;
}

}  // namespace holdfast
