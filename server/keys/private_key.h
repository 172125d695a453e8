// A private key of TLS: read once, then it only signs.
#ifndef HOLDFAST_SERVER_KEYS_PRIVATE_KEY_H_
#define HOLDFAST_SERVER_KEYS_PRIVATE_KEY_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/tls/tls_library.h"

namespace holdfast {

// Signing is safe from several threads at once.
class PrivateKey {
 public:
  // The first private key in PEM text: RSA of 1024 to 8192 bits, or ECDSA on
  // P-256, P-384 or P-521.  kPermissionDenied: it is encrypted, and
  // `passphrase` does not open it.
  static absl::StatusOr<PrivateKey> Parse(absl::string_view pem,
                                          absl::string_view passphrase = "");

  // As KeyIdOf(); what names it in SignRequest.
  const std::string& id() const { return id_; }
  // PEM without encryption (PKCS #8).
  absl::StatusOr<std::string> ToPem() const;

  // `algorithm`: a SignatureScheme of RFC 8446 that fits the key; none that
  // uses MD5 or SHA-1.
  absl::StatusOr<std::string> Sign(uint16_t algorithm,
                                   absl::string_view input) const;

 private:
  bssl::UniquePtr<EVP_PKEY> key_;
  std::string id_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_KEYS_PRIVATE_KEY_H_
