// The certificates a server shows: whose they are, and who can use them.
#ifndef HOLDFAST_SERVER_TLS_CERTIFICATE_CHAIN_H_
#define HOLDFAST_SERVER_TLS_CERTIFICATE_CHAIN_H_

#include <openssl/pool.h>
#include <openssl/x509.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/tls/tls_library.h"

namespace holdfast {

// Immutable once parsed.
struct CertificateChain {
  enum class KeyKind { kRsa, kEcdsa };

  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> certificates;  // leaf first
  // DNS names of the leaf, lower case, perhaps "*.example.org": of
  // subjectAltName, or its common name if it has no such extension (RFC 6125
  // section 6.4.4).
  std::vector<std::string> names;
  KeyKind kind = KeyKind::kRsa;
  int curve = 0;    // kEcdsa: its NID
  std::string key;  // as KeyIdOf()

  // Whether the leaf is for `host` (lower case).
  bool Covers(absl::string_view host) const;
  // The pointers of `certificates`, as the library wants them.
  std::vector<CRYPTO_BUFFER*> Pointers() const;
};

// From PEM; other things in the text, a key perhaps, are passed over.
absl::StatusOr<CertificateChain> ParseCertificateChain(absl::string_view pem);

// All certificates in PEM text, for verifying others; an error if there is
// none or one that cannot be read.
absl::StatusOr<std::vector<bssl::UniquePtr<X509>>> ParseCertificates(
    absl::string_view pem);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_CERTIFICATE_CHAIN_H_
