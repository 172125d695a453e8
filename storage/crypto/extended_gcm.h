// XAES-256-GCM (C2SP): AES-256-GCM with nonces of 24 octets, so that as many
// records as there will ever be can be sealed with one key.  The first half of
// the nonce makes a key of its own (by CMAC, NIST SP 800-108r1), the second
// half is the nonce of AES-256-GCM with it.
#ifndef HOLDFAST_STORAGE_CRYPTO_EXTENDED_GCM_H_
#define HOLDFAST_STORAGE_CRYPTO_EXTENDED_GCM_H_

#include <openssl/aes.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// Safe from any thread once made.  Wipes its key when it goes.
class ExtendedGcm {
 public:
  static constexpr size_t kKeyBytes = 32;
  static constexpr size_t kNonceBytes = 24;
  static constexpr size_t kTagBytes = 16;

  explicit ExtendedGcm(absl::string_view key);  // kKeyBytes
  ~ExtendedGcm();
  ExtendedGcm(const ExtendedGcm&) = delete;
  ExtendedGcm& operator=(const ExtendedGcm&) = delete;

  // Appends ciphertext and tag of `text`.  No nonce may be used twice.
  void Seal(absl::string_view nonce, absl::string_view associated,
            absl::string_view text, std::string* out) const;
  // `*out` becomes the text.  False, and `*out` empty: it was not made by
  // Seal() with this key, nonce and associated data.
  bool Open(absl::string_view nonce, absl::string_view associated,
            absl::string_view sealed, std::string* out) const;

 private:
  void DeriveKey(absl::string_view nonce, uint8_t derived[kKeyBytes]) const;

  AES_KEY schedule_;
  uint8_t k1_[AES_BLOCK_SIZE];
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_CRYPTO_EXTENDED_GCM_H_
