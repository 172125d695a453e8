#include "server/tls/tls_context.h"

#include <string.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/tls/tls_library.h"

namespace holdfast {
namespace {

constexpr uint16_t kSigning[] = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384,
    SSL_SIGN_ECDSA_SECP521R1_SHA512, SSL_SIGN_RSA_PSS_RSAE_SHA256,
    SSL_SIGN_RSA_PSS_RSAE_SHA384,    SSL_SIGN_RSA_PSS_RSAE_SHA512,
    SSL_SIGN_RSA_PKCS1_SHA256,       SSL_SIGN_RSA_PKCS1_SHA384,
    SSL_SIGN_RSA_PKCS1_SHA512,
};

HandshakeEvents* EventsOf(const SSL* ssl) {
  return static_cast<HandshakeEvents*>(SSL_get_app_data(ssl));
}

// ---- The private key that is elsewhere

ssl_private_key_result_t Sign(SSL* ssl, uint8_t*, size_t*, size_t,
                              uint16_t algorithm, const uint8_t* in,
                              size_t length) {
  EventsOf(ssl)->BeginSigning(
      algorithm, absl::string_view(reinterpret_cast<const char*>(in), length));
  return ssl_private_key_retry;
}

// Only RSA key exchange decrypts, and as server that is never offered.
ssl_private_key_result_t Decrypt(SSL*, uint8_t*, size_t*, size_t,
                                 const uint8_t*, size_t) {
  return ssl_private_key_failure;
}

ssl_private_key_result_t Complete(SSL* ssl, uint8_t* out, size_t* out_length,
                                  size_t max_out) {
  const absl::StatusOr<std::string>* const got = EventsOf(ssl)->signature();
  if (got == nullptr) return ssl_private_key_retry;
  if (!got->ok() || (*got)->size() > max_out) return ssl_private_key_failure;
  memcpy(out, (*got)->data(), (*got)->size());
  *out_length = (*got)->size();
  return ssl_private_key_success;
}

const SSL_PRIVATE_KEY_METHOD kRemoteKey = {Sign, Decrypt, Complete};

}  // namespace

absl::StatusOr<bssl::UniquePtr<SSL_CTX>> NewContext() {
  bssl::UniquePtr<SSL_CTX> ctx(SSL_CTX_new(TLS_method()));
  if (ctx == nullptr) return absl::ResourceExhaustedError(TlsLibraryError());
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return ctx;
}

absl::StatusOr<TlsProtocols> SetVersions(const std::string& protocols,
                                         SSL_CTX* ctx) {
  absl::StatusOr<TlsProtocols> versions = ParseTlsProtocols(protocols);
  if (!versions.ok()) return versions;
  if (!SSL_CTX_set_min_proto_version(
          ctx, versions->tls12 ? TLS1_2_VERSION : TLS1_3_VERSION) ||
      !SSL_CTX_set_max_proto_version(
          ctx, versions->tls13 ? TLS1_3_VERSION : TLS1_2_VERSION))
    return absl::InternalError(TlsLibraryError());
  return versions;
}

absl::Status SetCiphers(const std::string& ciphers, absl::string_view and_not,
                        SSL_CTX* ctx) {
  const std::string list = absl::StrCat(TlsCipherList(ciphers), and_not);
  if (SSL_CTX_set_cipher_list(ctx, list.c_str())) return absl::OkStatus();
  TlsLibraryError();
  return absl::InvalidArgumentError(
      absl::StrCat("no ciphers for '", ciphers, "'"));
}

absl::Status SetAuthorities(const std::string& pem, SSL_CTX* ctx) {
  absl::StatusOr<std::vector<bssl::UniquePtr<X509>>> authorities =
      ParseCertificates(pem);
  if (!authorities.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("ca: ", authorities.status().message()));
  }
  X509_STORE* const store = SSL_CTX_get_cert_store(ctx);
  for (const auto& one : *authorities) {
    if (!X509_STORE_add_cert(store, one.get()))
      return absl::InvalidArgumentError(TlsLibraryError());
  }
  return absl::OkStatus();
}

absl::StatusOr<CertificateChain> ParseChain(const std::string& pki,
                                            const std::string& pem) {
  absl::StatusOr<CertificateChain> chain = ParseCertificateChain(pem);
  if (chain.ok()) return chain;
  return absl::InvalidArgumentError(
      absl::StrCat("pki ", pki, ": ", chain.status().message()));
}

absl::Span<const uint16_t> SigningAlgorithms() { return kSigning; }

absl::Status SetSigningAlgorithms(SSL_CTX* ctx) {
  if (SSL_CTX_set_signing_algorithm_prefs(ctx, kSigning, std::size(kSigning)))
    return absl::OkStatus();
  return absl::InternalError(TlsLibraryError());
}

void SetEvents(SSL* ssl, HandshakeEvents* events) {
  SSL_set_app_data(ssl, events);
}

bool ShowChain(SSL* ssl, const CertificateChain& chain) {
  EventsOf(ssl)->OnChain(&chain);
  const std::vector<CRYPTO_BUFFER*> certificates = chain.Pointers();
  return SSL_set_chain_and_key(ssl, certificates.data(), certificates.size(),
                               nullptr, &kRemoteKey) != 0;
}

}  // namespace holdfast
