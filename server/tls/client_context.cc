#include "server/tls/client_context.h"

#include <openssl/x509v3.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "protocol/ip_address.h"
#include "server/tls/tls_library.h"

namespace holdfast {
namespace {

// Bounds what a server's certificates may cost us.
constexpr size_t kMaxServerChain = 64 << 10;
// A session is not gone on with after this time: the server has to show again
// that it has the key.
constexpr uint32_t kSessionSeconds = 2 * 3600;

// The name a connection's sessions are kept for; tickets of TLS 1.3 come when
// the handshake is long over.
int NameIndex() {
  static const int index = SSL_get_ex_new_index(
      0, nullptr, nullptr, nullptr,
      [](void*, void* name, CRYPTO_EX_DATA*, int, long, void*) {
        delete static_cast<std::string*>(name);
      });
  return index;
}

// SNI, and what the certificate must be for.
bool SetName(const std::string& name, SSL* ssl) {
  X509_VERIFY_PARAM* const check = SSL_get0_param(ssl);
  const std::optional<IpAddress> address = IpAddress::Parse(name);
  if (address) {
    return X509_VERIFY_PARAM_set1_ip(check, address->bytes.data(),
                                     address->inet6 ? 16 : 4) != 0;
  }
  return SSL_set_tlsext_host_name(ssl, name.c_str()) != 0 &&
         X509_VERIFY_PARAM_set1_host(check, name.data(), name.size()) != 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TlsClientContext>> MakeTlsClientContext(
    const TlsClientOptions& options, Signer* signer) {
  absl::StatusOr<std::unique_ptr<ClientContext>> made =
      ClientContext::Make(options, signer);
  if (!made.ok()) return made.status();
  return std::unique_ptr<TlsClientContext>(*std::move(made));
}

absl::StatusOr<std::unique_ptr<ClientContext>> ClientContext::Make(
    const TlsClientOptions& options, Signer* signer) {
  std::unique_ptr<ClientContext> context(
      new ClientContext(signer, options.verify || !options.ca.empty()));
  const absl::Status status = context->SetUp(options);
  if (!status.ok()) return status;
  return context;
}

// A connection may outlive this, and get tickets.
ClientContext::~ClientContext() {
  if (ctx_ != nullptr) SSL_CTX_set_app_data(ctx_.get(), nullptr);
}

absl::Status ClientContext::SetUp(const TlsClientOptions& options) {
  absl::StatusOr<bssl::UniquePtr<SSL_CTX>> ctx = NewContext();
  if (!ctx.ok()) return ctx.status();
  ctx_ = *std::move(ctx);
  SSL_CTX_set_app_data(ctx_.get(), this);
  absl::Status status = SetVersions(options.protocols, ctx_.get()).status();
  if (status.ok()) status = SetCiphers(options.ciphers, "", ctx_.get());
  if (status.ok()) status = SetSigningAlgorithms(ctx_.get());
  if (status.ok() && judges_) status = SetAuthorities(options.ca, ctx_.get());
  if (!status.ok()) return status;
  if (options.certificate.has_value()) {
    absl::StatusOr<CertificateChain> chain =
        ParseChain(options.certificate->name, options.certificate->chain);
    if (!chain.ok()) return chain.status();
    chain_ = *std::move(chain);
  }
  // With NONE, too, the library looks, and remembers what it thinks.
  SSL_CTX_set_verify(
      ctx_.get(), options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_max_cert_list(ctx_.get(), kMaxServerChain);
  SetSessions();
  return absl::OkStatus();
}

void ClientContext::SetSessions() {
  SSL_CTX_set_session_cache_mode(
      ctx_.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_set_timeout(ctx_.get(), kSessionSeconds);
  SSL_CTX_set_session_psk_dhe_timeout(ctx_.get(), kSessionSeconds);
  SSL_CTX_sess_set_new_cb(ctx_.get(), OnSession);
}

int ClientContext::OnSession(SSL* ssl, SSL_SESSION* session) {
  auto* const self =
      static_cast<ClientContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  const auto* const name =
      static_cast<const std::string*>(SSL_get_ex_data(ssl, NameIndex()));
  if (self == nullptr || name == nullptr) return 0;
  self->sessions_.Add(*name, bssl::UniquePtr<SSL_SESSION>(session));
  return 1;
}

absl::StatusOr<bssl::UniquePtr<SSL>> ClientContext::NewConnection(
    const std::string& given, HandshakeEvents* events) {
  const std::string name = absl::AsciiStrToLower(absl::StripSuffix(given, "."));
  // The library would compare with nothing.
  if (name.empty()) return absl::InvalidArgumentError("server without a name");
  bssl::UniquePtr<SSL> ssl(SSL_new(ctx_.get()));
  auto kept = std::make_unique<std::string>(name);
  if (ssl == nullptr || !SSL_set_ex_data(ssl.get(), NameIndex(), kept.get()))
    return absl::ResourceExhaustedError("out of memory");
  kept.release();
  SetEvents(ssl.get(), events);
  SSL_set_connect_state(ssl.get());
  SSL_set_shed_handshake_config(ssl.get(), 1);
  if (!SetName(name, ssl.get()) ||
      (chain_.has_value() && !ShowChain(ssl.get(), *chain_)))
    return absl::InvalidArgumentError(TlsLibraryError());
  const bssl::UniquePtr<SSL_SESSION> known = sessions_.Take(name);
  if (known != nullptr) SSL_set_session(ssl.get(), known.get());
  return ssl;
}

std::string VerifyErrorText(long code) {
  switch (code) {
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return "self-signed certificate";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return "self-signed certificate in certificate chain";
    case X509_V_ERR_HOSTNAME_MISMATCH:
      return "hostname mismatch";
    default:
      return X509_verify_cert_error_string(code);
  }
}

}  // namespace holdfast
