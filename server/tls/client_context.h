// TlsClientContext as it is.  For tls_stream.cc and tests.
#ifndef HOLDFAST_SERVER_TLS_CLIENT_CONTEXT_H_
#define HOLDFAST_SERVER_TLS_CLIENT_CONTEXT_H_

#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <string>

#include "server/tls/certificate_chain.h"
#include "server/tls/session_cache.h"
#include "server/tls/tls_context.h"
#include "server/tls/tls_stream.h"

namespace holdfast {

class ClientContext : public TlsClientContext {
 public:
  static absl::StatusOr<std::unique_ptr<ClientContext>> Make(
      const TlsClientOptions& options, Signer* signer);
  ~ClientContext() override;

  // For a new connection to `name` (see ConnectTls); `events` is used until the
  // handshake is over.
  absl::StatusOr<bssl::UniquePtr<SSL>> NewConnection(const std::string& name,
                                                     HandshakeEvents* events);
  Signer* signer() const { return signer_; }
  // Whether there is anybody to judge certificates by.
  bool judges() const { return judges_; }
  const SessionCache& sessions() const { return sessions_; }

 private:
  ClientContext(Signer* signer, bool judges)
      : signer_(signer), judges_(judges) {}

  static int OnSession(SSL* ssl, SSL_SESSION* session);
  absl::Status SetUp(const TlsClientOptions& options);
  void SetSessions();

  Signer* const signer_;
  const bool judges_;
  bssl::UniquePtr<SSL_CTX> ctx_;
  std::optional<CertificateChain> chain_;
  SessionCache sessions_;
};

// Why a certificate does not hold, in OpenSSL's words ("self-signed
// certificate"); `code`: X509_V_...
std::string VerifyErrorText(long code);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_CLIENT_CONTEXT_H_
