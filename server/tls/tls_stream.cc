#include "server/tls/tls_stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/tls/server_context.h"
#include "server/tls/tls_connection.h"

namespace holdfast {
namespace {

constexpr size_t kMaxSubject = 256;

void DescribePeer(SSL* ssl, TlsInfo* info) {
  const STACK_OF(CRYPTO_BUFFER)* const chain = SSL_get0_peer_certificates(ssl);
  if (chain == nullptr || sk_CRYPTO_BUFFER_num(chain) == 0) return;
  const CRYPTO_BUFFER* const leaf = sk_CRYPTO_BUFFER_value(chain, 0);
  info->peer_certificate = true;
  info->peer_verified = SSL_get_verify_result(ssl) == X509_V_OK;
  info->peer_fingerprint = absl::StrCat(
      "SHA256:", absl::BytesToHexString(Sha256(absl::string_view(
                     reinterpret_cast<const char*>(CRYPTO_BUFFER_data(leaf)),
                     CRYPTO_BUFFER_len(leaf)))));
  bssl::UniquePtr<X509> x509(SSL_get_peer_certificate(ssl));
  if (x509 == nullptr) return;
  char subject[kMaxSubject];
  if (X509_NAME_oneline(X509_get_subject_name(x509.get()), subject,
                        sizeof subject) != nullptr)
    info->peer_subject = VisEncode(subject);
}

TlsInfo Describe(SSL* ssl) {
  TlsInfo info;
  info.version = SSL_get_version(ssl);
  const SSL_CIPHER* const cipher = SSL_get_current_cipher(ssl);
  // OpenSSL's names: for TLS 1.3 those of the standard.
  info.cipher = SSL_version(ssl) == TLS1_3_VERSION
                    ? SSL_CIPHER_standard_name(cipher)
                    : SSL_CIPHER_get_name(cipher);
  info.bits = SSL_CIPHER_get_bits(cipher, nullptr);
  const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name != nullptr) info.server_name = absl::AsciiStrToLower(name);
  info.resumed = SSL_session_reused(ssl) != 0;
  DescribePeer(ssl, &info);
  return info;
}

// Why the library gave up.
absl::Status FailureOf(int error) {
  if (error == SSL_ERROR_SYSCALL || error == SSL_ERROR_ZERO_RETURN)
    return absl::UnavailableError("connection closed");
  const uint32_t code = ERR_peek_last_error();
  const int reason = ERR_GET_REASON(code);
  const bool of_client = ERR_GET_LIB(code) == ERR_LIB_SSL &&
                         (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE ||
                          reason == SSL_R_CERTIFICATE_VERIFY_FAILED);
  const std::string text = TlsLibraryError();
  if (of_client) return absl::UnauthenticatedError(text);
  return absl::InvalidArgumentError(text);
}

class ServerHandshake : public TlsHandshake,
                        public TlsConnection::Handshaker,
                        public ServerHandshakeEvents {
 public:
  ServerHandshake(EventLoop* loop, std::unique_ptr<Stream> plain,
                  ServerContext* context, absl::Duration timeout, TlsDone done)
      : loop_(loop), context_(context), done_(std::move(done)) {
    bssl::UniquePtr<SSL> ssl = context->NewConnection(this);
    if (ssl == nullptr) {
      timer_ = loop_->RunAfter(absl::ZeroDuration(), [this] {
        End(absl::ResourceExhaustedError("out of memory"));
      });
      return;
    }
    connection_ = std::make_unique<TlsConnection>(loop, std::move(plain),
                                                  std::move(ssl), this);
    timer_ = loop_->RunAfter(timeout, [this] {
      End(absl::DeadlineExceededError("handshake timeout"));
    });
    connection_->ReadPlain(true);
  }

  // ---- TlsConnection::Handshaker

  // May destroy this.
  void Advance() override {
    if (signing_) return;
    const int result = connection_->StepHandshake();
    if (result == 1) return Succeed();
    const int error = SSL_get_error(connection_->ssl(), result);
    switch (error) {
      case SSL_ERROR_WANT_READ:
        return connection_->ReadPlain(true);
      case SSL_ERROR_WANT_PRIVATE_KEY_OPERATION:
        // The client has nothing to say before it has the signature.
        return connection_->ReadPlain(false);
      default:
        if (sign_error_.ok()) return End(FailureOf(error));
        connection_->SendInternalError();
        return End(sign_error_);
    }
  }

  void OnPlainClosed(const absl::Status& why) override {
    End(absl::UnavailableError(why.ok() ? "connection closed" : why.message()));
  }

  // ---- ServerHandshakeEvents

  void OnChain(const CertificateChain* chain) override { chain_ = chain; }

  void BeginSigning(uint16_t algorithm, absl::string_view input) override {
    signing_ = true;
    signature_.reset();
    SignRequest request;
    request.key = chain_->key;
    request.algorithm = algorithm;
    request.input = std::string(input);
    context_->signer()->Sign(std::move(request),
                             [this, alive = std::weak_ptr<bool>(alive_)](
                                 absl::StatusOr<std::string> signature) {
                               if (!alive.expired())
                                 OnSigned(std::move(signature));
                             });
  }

  const absl::StatusOr<std::string>* signature() const override {
    return signature_.has_value() ? &*signature_ : nullptr;
  }

 private:
  void OnSigned(absl::StatusOr<std::string> signature) {
    if (!signature.ok()) sign_error_ = signature.status();
    signature_ = std::move(signature);
    signing_ = false;
    Advance();
  }

  void Succeed() {
    TlsInfo info = Describe(connection_->ssl());
    ServerContext::Forget(connection_->ssl());
    connection_->Open();
    if (SSL_version(connection_->ssl()) == TLS1_3_VERSION)
      connection_->SendTicketsSoon();
    timer_.reset();
    alive_.reset();
    TlsDone done = std::move(done_);
    done(std::unique_ptr<Stream>(std::move(connection_)), std::move(info));
  }

  void End(absl::Status why) {
    timer_.reset();
    alive_.reset();
    // Closes the plain stream, after an alert if there was one to send.
    const std::unique_ptr<TlsConnection> over = std::move(connection_);
    TlsDone done = std::move(done_);
    done(std::move(why), TlsInfo());
  }

  EventLoop* const loop_;
  ServerContext* const context_;
  TlsDone done_;
  std::unique_ptr<TlsConnection> connection_;  // null when done
  const CertificateChain* chain_ = nullptr;
  bool signing_ = false;
  std::optional<absl::StatusOr<std::string>> signature_;
  absl::Status sign_error_;
  EventLoop::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::unique_ptr<TlsHandshake> AcceptTls(EventLoop* loop,
                                        std::unique_ptr<Stream> plain,
                                        TlsServerContext* context,
                                        absl::Duration timeout, TlsDone done) {
  return std::make_unique<ServerHandshake>(loop, std::move(plain),
                                           static_cast<ServerContext*>(context),
                                           timeout, std::move(done));
}

}  // namespace holdfast
