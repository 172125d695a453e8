// SHA-256 of what comes in pieces.
#ifndef HOLDFAST_STORAGE_CRYPTO_SHA256_STREAM_H_
#define HOLDFAST_STORAGE_CRYPTO_SHA256_STREAM_H_

#include <openssl/sha.h>

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"

namespace holdfast {

class Sha256Stream {
 public:
  Sha256Stream() { SHA256_Init(&context_); }
  void Add(absl::string_view bytes) {
    SHA256_Update(&context_, bytes.data(), bytes.size());
  }
  // 64 hex digits.  The end: the object begins anew.
  std::string TakeHex() {
    std::string digest(SHA256_DIGEST_LENGTH, '\0');
    SHA256_Final(reinterpret_cast<uint8_t*>(digest.data()), &context_);
    SHA256_Init(&context_);
    return absl::BytesToHexString(digest);
  }

 private:
  SHA256_CTX context_;
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_CRYPTO_SHA256_STREAM_H_
