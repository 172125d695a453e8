// TlsServerContext as it is.  For tls_stream.cc and tests.
#ifndef HOLDFAST_SERVER_TLS_SERVER_CONTEXT_H_
#define HOLDFAST_SERVER_TLS_SERVER_CONTEXT_H_

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "server/tls/certificate_chain.h"
#include "server/tls/ticket_ring.h"
#include "server/tls/tls_context.h"
#include "server/tls/tls_stream.h"

namespace holdfast {

class ServerContext : public TlsServerContext {
 public:
  static absl::StatusOr<std::unique_ptr<ServerContext>> Make(
      const TlsServerOptions& options, Signer* signer);

  void SetTicketKeys(const TicketKeys& keys) override;

  // For a new connection; `events` is used until the handshake is over.
  bssl::UniquePtr<SSL> NewConnection(HandshakeEvents* events) const;
  Signer* signer() const { return signer_; }

  // The certificate for this client: the first that is for the name it gave,
  // else the default; of several for one name an ECDSA one if the client can
  // use it, since it costs a tenth.
  const CertificateChain& Choose(const SSL_CLIENT_HELLO& hello) const;

 private:
  ServerContext(Signer* signer) : signer_(signer) {}

  absl::Status SetUp(const TlsServerOptions& options);
  void SortCiphers();
  absl::Status SetChains(const std::vector<TlsCertificate>& certificates);
  absl::Status SetClientCheck(const TlsServerOptions& options);
  void SetTickets(const TlsServerOptions& options);

  Signer* const signer_;
  bssl::UniquePtr<SSL_CTX> ctx_;
  std::vector<std::unique_ptr<CertificateChain>> chains_;
  std::set<uint16_t> ecdsa_ciphers_, rsa_ciphers_;  // of TLS 1.2, enabled
  TlsProtocols versions_;
  bool require_client_ = false;
  TicketRing tickets_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_SERVER_CONTEXT_H_
