// Opens AES-256-GCM text that comes in pieces: what another mail server sealed
// (the nonce is 12 octets).  Nothing of it may be believed before Finish() has
// said that it is whole.
#ifndef HOLDFAST_STORAGE_CRYPTO_GCM_STREAM_H_
#define HOLDFAST_STORAGE_CRYPTO_GCM_STREAM_H_

#include <openssl/cipher.h>

#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

class GcmOpener {
 public:
  static constexpr size_t kKeyBytes = 32;
  static constexpr size_t kNonceBytes = 12;
  static constexpr size_t kTagBytes = 16;

  GcmOpener() { EVP_CIPHER_CTX_init(&context_); }
  ~GcmOpener() { EVP_CIPHER_CTX_cleanup(&context_); }
  GcmOpener(const GcmOpener&) = delete;
  GcmOpener& operator=(const GcmOpener&) = delete;

  // kKeyBytes and kNonceBytes.
  bool Begin(absl::string_view key, absl::string_view nonce) {
    return key.size() == kKeyBytes && nonce.size() == kNonceBytes &&
           EVP_DecryptInit_ex(&context_, EVP_aes_256_gcm(), nullptr,
                              Octets(key), Octets(nonce)) == 1;
  }
  // Appends the text.
  bool Add(absl::string_view sealed, std::string* text) {
    const size_t before = text->size();
    text->resize(before + sealed.size());
    int size = 0;
    return EVP_DecryptUpdate(
               &context_, reinterpret_cast<uint8_t*>(text->data() + before),
               &size, Octets(sealed), static_cast<int>(sealed.size())) == 1;
  }
  // Whether all of it is what was sealed with this key.
  bool Finish(absl::string_view tag) {
    std::string copy(tag);
    uint8_t none[16];
    int size = 0;
    return tag.size() == kTagBytes &&
           EVP_CIPHER_CTX_ctrl(&context_, EVP_CTRL_GCM_SET_TAG, kTagBytes,
                               copy.data()) == 1 &&
           EVP_DecryptFinal_ex(&context_, none, &size) == 1;
  }

 private:
  static const uint8_t* Octets(absl::string_view bytes) {
    return reinterpret_cast<const uint8_t*>(bytes.data());
  }

  EVP_CIPHER_CTX context_;
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_CRYPTO_GCM_STREAM_H_
