// What the contexts of servers and of clients have in common: versions,
// ciphers, authorities, and private keys that are elsewhere.
#ifndef HOLDFAST_SERVER_TLS_TLS_CONTEXT_H_
#define HOLDFAST_SERVER_TLS_TLS_CONTEXT_H_

#include <openssl/ssl.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "config/tls_options.h"
#include "server/tls/certificate_chain.h"

namespace holdfast {

// Without renegotiation and compression, which the library doesn't have.
absl::StatusOr<bssl::UniquePtr<SSL_CTX>> NewContext();

// Empty texts: the defaults (config/tls_options.h).
absl::StatusOr<TlsProtocols> SetVersions(const std::string& protocols,
                                         SSL_CTX* ctx);
// `and_not`: what to take away, as a cipher list has it (":!kRSA").
absl::Status SetCiphers(const std::string& ciphers, absl::string_view and_not,
                        SSL_CTX* ctx);
// What the peer's certificates are verified with.
absl::Status SetAuthorities(const std::string& pem, SSL_CTX* ctx);
// The errors of `certificate` begin with the name of its pki.
absl::StatusOr<CertificateChain> ParseChain(const std::string& pki,
                                            const std::string& pem);

// What our keys sign with; the best first.
absl::Span<const uint16_t> SigningAlgorithms();
absl::Status SetSigningAlgorithms(SSL_CTX* ctx);

// What happens inside a handshake that needs its connection.
class HandshakeEvents {
 public:
  virtual ~HandshakeEvents() = default;
  // What we show, if the peer wants to see something.
  virtual void OnChain(const CertificateChain* chain) = 0;
  // Sign `input`; then the handshake goes on.
  virtual void BeginSigning(uint16_t algorithm, absl::string_view input) = 0;
  // Null: not yet answered.
  virtual const absl::StatusOr<std::string>* signature() const = 0;
};

// Used until the handshake is over, then null.
void SetEvents(SSL* ssl, HandshakeEvents* events);
// Shows `chain`, whose key is with the events.
bool ShowChain(SSL* ssl, const CertificateChain& chain);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_TLS_CONTEXT_H_
