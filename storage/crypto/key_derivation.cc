#include "storage/crypto/key_derivation.h"

#include <openssl/digest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <cstdlib>

namespace holdfast {
namespace {

uint8_t* Bytes(std::string* text) {
  return reinterpret_cast<uint8_t*>(text->data());
}
const uint8_t* Bytes(absl::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

// This and what follows fails only without memory, and then a key must not be
// made up.

std::string Hmac(const EVP_MD* digest, absl::string_view key,
                 absl::string_view text) {
  std::string mac(EVP_MD_size(digest), '\0');
  unsigned int size = 0;
  if (HMAC(digest, key.data(), key.size(), Bytes(text), text.size(),
           Bytes(&mac), &size) == nullptr) {
    abort();
  }
  return mac;
}

}  // namespace

std::string Sha256(absl::string_view text) {
  std::string digest(kSha256Bytes, '\0');
  SHA256(Bytes(text), text.size(), Bytes(&digest));
  return digest;
}

std::string HmacSha256(absl::string_view key, absl::string_view text) {
  return Hmac(EVP_sha256(), key, text);
}

std::string HmacMd5(absl::string_view key, absl::string_view text) {
  return Hmac(EVP_md5(), key, text);
}

std::string Pbkdf2Sha256(absl::string_view password, absl::string_view salt,
                         uint32_t iterations) {
  std::string key(kSha256Bytes, '\0');
  if (PKCS5_PBKDF2_HMAC(password.data(), password.size(), Bytes(salt),
                        salt.size(), iterations, EVP_sha256(), key.size(),
                        Bytes(&key)) != 1) {
    abort();
  }
  return key;
}

std::string RandomKey(size_t bytes) {
  std::string key(bytes, '\0');
  if (RAND_bytes(Bytes(&key), key.size()) != 1) abort();
  return key;
}

}  // namespace holdfast
