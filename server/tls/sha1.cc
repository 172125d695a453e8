#include "server/tls/sha1.h"

#include <openssl/sha.h>

namespace holdfast {

std::string Sha1(absl::string_view bytes) {
  std::string digest(SHA_DIGEST_LENGTH, '\0');
  SHA1(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
       reinterpret_cast<uint8_t*>(&digest[0]));
  return digest;
}

}  // namespace holdfast
