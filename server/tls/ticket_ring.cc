#include "server/tls/ticket_ring.h"

#include <openssl/cipher.h>
#include <openssl/digest.h>
#include <openssl/mem.h>
#include <openssl/rand.h>
#include <string.h>

namespace holdfast {
namespace {

// A secret is 32 octets for AES-256-CBC, then 16 for HMAC-SHA-256.
constexpr size_t kAesBytes = 32;

}  // namespace

absl::Status TicketRing::Set(const TicketKeys& keys) {
  if (keys.keys.size() > kMaxTicketKeys)
    return absl::InvalidArgumentError("too many ticket keys");
  for (const TicketKeys::Key& key : keys.keys) {
    if (key.name.size() != kTicketNameBytes ||
        key.secret.size() != kTicketSecretBytes)
      return absl::InvalidArgumentError("a ticket key of a wrong size");
  }
  Wipe();
  keys_ = keys;
  return absl::OkStatus();
}

void TicketRing::Wipe() {
  for (TicketKeys::Key& key : keys_.keys)
    OPENSSL_cleanse(&key.secret[0], key.secret.size());
  keys_.keys.clear();
}

int TicketRing::Use(uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher,
                    HMAC_CTX* hmac, bool encrypt) const {
  constexpr int kError = -1, kUnknown = 0, kFound = 1, kRenew = 2;
  size_t i = 0;
  if (encrypt) {
    if (empty()) return kError;
    memcpy(name, keys_.keys[0].name.data(), kTicketNameBytes);
    RAND_bytes(iv, EVP_MAX_IV_LENGTH);
  } else {
    while (i < keys_.keys.size() &&
           memcmp(name, keys_.keys[i].name.data(), kTicketNameBytes) != 0)
      ++i;
    if (i == keys_.keys.size()) return kUnknown;
  }
  const auto* const secret =
      reinterpret_cast<const uint8_t*>(keys_.keys[i].secret.data());
  if (!HMAC_Init_ex(hmac, secret + kAesBytes, kTicketSecretBytes - kAesBytes,
                    EVP_sha256(), nullptr) ||
      !EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), nullptr, secret, iv,
                         encrypt ? 1 : 0))
    return kError;
  // Under a key of the past: the client gets a new one.
  return i == 0 ? kFound : kRenew;
}

}  // namespace holdfast
