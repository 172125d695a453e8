// Hashes, keys and random octets over BoringSSL: only for programs that may be
// linked with it.
#ifndef HOLDFAST_STORAGE_CRYPTO_KEY_DERIVATION_H_
#define HOLDFAST_STORAGE_CRYPTO_KEY_DERIVATION_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "protocol/sasl_client.h"
#include "protocol/scram.h"

namespace holdfast {

// Each gives 32 bytes.
std::string Sha256(absl::string_view text);
std::string HmacSha256(absl::string_view key, absl::string_view text);
// PBKDF2 (RFC 8018 section 5.2) with HMAC-SHA-256: "Hi()" of RFC 5802.  Slow on
// purpose.  `iterations` >= 1.
std::string Pbkdf2Sha256(absl::string_view password, absl::string_view salt,
                         uint32_t iterations);

// HMAC with MD5 (RFC 2104), 16 bytes: for CRAM-MD5 alone.
std::string HmacMd5(absl::string_view key, absl::string_view text);

// From the system's generator, for keys, salts and nonces.
std::string RandomKey(size_t bytes);

// The above for SCRAM-SHA-256, which knows no library.
inline constexpr ScramHash kScramHash = {Sha256, HmacSha256, Pbkdf2Sha256};
// What a client of SASL needs.
inline constexpr SaslCrypto kSaslCrypto = {kScramHash, HmacMd5, RandomKey};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_CRYPTO_KEY_DERIVATION_H_
