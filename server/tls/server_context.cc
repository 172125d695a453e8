#include "server/tls/server_context.h"

#include <openssl/nid.h>
#include <openssl/pool.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/tls/client_hello.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {
namespace {

// Bounds what a client's certificates may cost us.
constexpr size_t kMaxClientChain = 32 << 10;
// A ticket outlives no key that could open it; keys last at least this long
// after their last use.
constexpr uint32_t kTicketSeconds = 12 * 3600;

bool Has(const std::vector<uint16_t>& list, uint16_t one) {
  return std::find(list.begin(), list.end(), one) != list.end();
}

// TLS 1.3 binds a curve to one scheme (RFC 8446 section 4.2.3).
uint16_t SchemeOf(int curve) {
  switch (curve) {
    case NID_X9_62_prime256v1:
      return SSL_SIGN_ECDSA_SECP256R1_SHA256;
    case NID_secp384r1:
      return SSL_SIGN_ECDSA_SECP384R1_SHA384;
    case NID_secp521r1:
      return SSL_SIGN_ECDSA_SECP521R1_SHA512;
    default:
      return 0;
  }
}

ServerContext* ContextOf(const SSL* ssl) {
  return static_cast<ServerContext*>(
      SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

ssl_select_cert_result_t SelectCertificate(const SSL_CLIENT_HELLO* hello) {
  return ShowChain(hello->ssl, ContextOf(hello->ssl)->Choose(*hello))
             ? ssl_select_cert_success
             : ssl_select_cert_error;
}

// The result stays in the session, for TlsInfo::peer_verified.
int VerifyClient(X509_STORE_CTX* store, void* require) {
  const int verified = X509_verify_cert(store);
  return *static_cast<const bool*>(require) ? verified : 1;
}

std::string Part(absl::string_view bytes) {
  return absl::StrCat(bytes.size(), ":", bytes);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TlsServerContext>> MakeTlsServerContext(
    const TlsServerOptions& options, Signer* signer) {
  absl::StatusOr<std::unique_ptr<ServerContext>> made =
      ServerContext::Make(options, signer);
  if (!made.ok()) return made.status();
  return std::unique_ptr<TlsServerContext>(*std::move(made));
}

absl::StatusOr<std::unique_ptr<ServerContext>> ServerContext::Make(
    const TlsServerOptions& options, Signer* signer) {
  std::unique_ptr<ServerContext> context(new ServerContext(signer));
  const absl::Status status = context->SetUp(options);
  if (!status.ok()) return status;
  return context;
}

absl::Status ServerContext::SetUp(const TlsServerOptions& options) {
  absl::StatusOr<bssl::UniquePtr<SSL_CTX>> ctx = NewContext();
  if (!ctx.ok()) return ctx.status();
  ctx_ = *std::move(ctx);
  SSL_CTX_set_app_data(ctx_.get(), this);
  SSL_CTX_set_options(ctx_.get(), SSL_OP_CIPHER_SERVER_PREFERENCE);
  const absl::StatusOr<TlsProtocols> versions =
      SetVersions(options.protocols, ctx_.get());
  if (!versions.ok()) return versions.status();
  versions_ = *versions;
  // RSA key exchange would need a key that decrypts; ours only signs.
  absl::Status status = SetCiphers(options.ciphers, ":!kRSA", ctx_.get());
  if (!status.ok()) return status;
  SortCiphers();
  status = SetChains(options.certificates);
  if (status.ok()) status = SetClientCheck(options);
  if (status.ok()) SetTickets(options);
  return status;
}

void ServerContext::SortCiphers() {
  for (const SSL_CIPHER* cipher : SSL_CTX_get_ciphers(ctx_.get())) {
    const uint16_t number = SSL_CIPHER_get_protocol_id(cipher);
    if (SSL_CIPHER_get_auth_nid(cipher) == NID_auth_ecdsa)
      ecdsa_ciphers_.insert(number);
    else if (SSL_CIPHER_get_auth_nid(cipher) == NID_auth_rsa)
      rsa_ciphers_.insert(number);
  }
}

absl::Status ServerContext::SetChains(
    const std::vector<TlsCertificate>& certificates) {
  if (certificates.empty()) return absl::InvalidArgumentError("no certificate");
  for (const TlsCertificate& one : certificates) {
    absl::StatusOr<CertificateChain> chain = ParseChain(one.name, one.chain);
    if (!chain.ok()) return chain.status();
    chains_.push_back(std::make_unique<CertificateChain>(*std::move(chain)));
  }
  SSL_CTX_set_select_certificate_cb(ctx_.get(), SelectCertificate);
  return SetSigningAlgorithms(ctx_.get());
}

absl::Status ServerContext::SetClientCheck(const TlsServerOptions& options) {
  require_client_ = options.require_client;
  if (!options.require_client && !options.ask_client) return absl::OkStatus();
  const absl::Status status = SetAuthorities(options.ca, ctx_.get());
  if (!status.ok()) return status;
  SSL_CTX_set_max_cert_list(ctx_.get(), kMaxClientChain);
  SSL_CTX_set_cert_verify_callback(ctx_.get(), VerifyClient, &require_client_);
  SSL_CTX_set_verify(
      ctx_.get(),
      SSL_VERIFY_PEER |
          (options.require_client ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
      nullptr);
  return absl::OkStatus();
}

void ServerContext::SetTickets(const TlsServerOptions& options) {
  SSL_CTX_set_session_cache_mode(ctx_.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_timeout(ctx_.get(), kTicketSeconds);
  SSL_CTX_set_session_psk_dhe_timeout(ctx_.get(), kTicketSeconds);
  // All that a session was judged by: a resumed one is not judged again.
  std::string policy = absl::StrCat(
      Part(options.policy), Part(options.ca), Part(options.ciphers),
      Part(options.protocols), options.ask_client, options.require_client);
  for (const auto& chain : chains_) absl::StrAppend(&policy, chain->key);
  const std::string digest = Sha256(policy);
  static_assert(SSL_MAX_SID_CTX_LENGTH == 32);
  SSL_CTX_set_session_id_context(
      ctx_.get(), reinterpret_cast<const uint8_t*>(digest.data()),
      digest.size());
  SSL_CTX_set_tlsext_ticket_key_cb(
      ctx_.get(), [](SSL* ssl, uint8_t* name, uint8_t* iv,
                     EVP_CIPHER_CTX* cipher, HMAC_CTX* hmac, int encrypt) {
        return ContextOf(ssl)->tickets_.Use(name, iv, cipher, hmac,
                                            encrypt != 0);
      });
}

void ServerContext::SetTicketKeys(const TicketKeys& keys) {
  // Of a wrong form: the old ones go on.
  tickets_.Set(keys).IgnoreError();
}

bssl::UniquePtr<SSL> ServerContext::NewConnection(
    HandshakeEvents* events) const {
  bssl::UniquePtr<SSL> ssl(SSL_new(ctx_.get()));
  if (ssl == nullptr) return nullptr;
  SetEvents(ssl.get(), events);
  SSL_set_accept_state(ssl.get());
  // What only a handshake needs is freed after it.
  SSL_set_shed_handshake_config(ssl.get(), 1);
  if (tickets_.empty()) SSL_set_options(ssl.get(), SSL_OP_NO_TICKET);
  return ssl;
}

const CertificateChain& ServerContext::Choose(
    const SSL_CLIENT_HELLO& raw) const {
  const ClientHello hello(raw);
  auto usable = [&](const CertificateChain& chain) {
    const bool ecdsa = chain.kind == CertificateChain::KeyKind::kEcdsa;
    const bool as13 = versions_.tls13 && hello.tls13;
    if (!as13) {
      const std::set<uint16_t>& ours = ecdsa ? ecdsa_ciphers_ : rsa_ciphers_;
      if (std::none_of(hello.ciphers.begin(), hello.ciphers.end(),
                       [&](uint16_t c) { return ours.count(c) != 0; }))
        return false;
    }
    const absl::Span<const uint16_t> ours = SigningAlgorithms();
    return std::any_of(ours.begin(), ours.end(), [&](uint16_t scheme) {
      const bool fits = (SSL_get_signature_algorithm_key_type(scheme) ==
                         EVP_PKEY_EC) == ecdsa &&
                        (!ecdsa || !as13 || scheme == SchemeOf(chain.curve));
      return fits && Has(hello.algorithms, scheme);
    });
  };
  std::vector<const CertificateChain*> candidates;
  for (const auto& chain : chains_) {
    if (!hello.server_name.empty() && chain->Covers(hello.server_name))
      candidates.push_back(chain.get());
  }
  if (candidates.empty()) {
    const CertificateChain& first = *chains_.front();
    for (const auto& chain : chains_) {
      if (chain == chains_.front() ||
          (!first.names.empty() && chain->Covers(first.names.front())))
        candidates.push_back(chain.get());
    }
  }
  for (const auto kind :
       {CertificateChain::KeyKind::kEcdsa, CertificateChain::KeyKind::kRsa}) {
    for (const CertificateChain* chain : candidates) {
      if (chain->kind == kind && usable(*chain)) return *chain;
    }
  }
  return *candidates.front();
}

}  // namespace holdfast
