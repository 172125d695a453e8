#include "server/tls/tls_stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "protocol/vis.h"
#include "server/tls/client_context.h"
#include "server/tls/server_context.h"
#include "server/tls/tls_connection.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {
namespace {

constexpr size_t kMaxSubject = 256;

void DescribePeer(SSL* ssl, TlsInfo* info) {
  const STACK_OF(CRYPTO_BUFFER)* const chain = SSL_get0_peer_certificates(ssl);
  if (chain == nullptr || sk_CRYPTO_BUFFER_num(chain) == 0) return;
  const CRYPTO_BUFFER* const leaf = sk_CRYPTO_BUFFER_value(chain, 0);
  info->peer_certificate = true;
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

TlsInfo DescribeSession(SSL* ssl) {
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

// Ends in one answer, whichever side we are.
class Handshake : public TlsHandshake,
                  public TlsConnection::Handshaker,
                  public HandshakeEvents {
 public:
  Handshake(EventLoop* loop, Signer* signer, TlsDone done)
      : loop_(loop), signer_(signer), done_(std::move(done)) {}

  // `ssl`: or why there is none.  Once.
  void Begin(std::unique_ptr<Stream> plain,
             absl::StatusOr<bssl::UniquePtr<SSL>> ssl, absl::Duration timeout) {
    if (!ssl.ok()) {
      timer_ = loop_->RunAfter(absl::ZeroDuration(),
                               [this, why = ssl.status()] { End(why); });
      return;
    }
    connection_ = std::make_unique<TlsConnection>(loop_, std::move(plain),
                                                  *std::move(ssl), this);
    timer_ = loop_->RunAfter(timeout, [this] {
      End(absl::DeadlineExceededError("handshake timeout"));
    });
    Start();
  }

  // ---- TlsConnection::Handshaker

  // May destroy this.
  void Advance() override {
    if (signing_) return;
    const int result = connection_->StepHandshake();
    if (result == 1) return Succeed();
    const int error = SSL_get_error(ssl(), result);
    switch (error) {
      case SSL_ERROR_WANT_READ:
        return connection_->ReadPlain(true);
      case SSL_ERROR_WANT_PRIVATE_KEY_OPERATION:
        // The peer has nothing to say before it has the signature.
        return connection_->ReadPlain(false);
      default:
        if (sign_error_.ok()) return Fail(error);
        connection_->SendInternalError();
        return End(sign_error_);
    }
  }

  void OnPlainClosed(const absl::Status& why) override {
    End(absl::UnavailableError(why.ok() ? "connection closed" : why.message()));
  }

  // ---- HandshakeEvents

  void OnChain(const CertificateChain* chain) override { chain_ = chain; }

  void BeginSigning(uint16_t algorithm, absl::string_view input) override {
    signing_ = true;
    signature_.reset();
    SignRequest request;
    request.key = chain_->key;
    request.algorithm = algorithm;
    request.input = std::string(input);
    signer_->Sign(std::move(request),
                  [this, alive = std::weak_ptr<bool>(alive_)](
                      absl::StatusOr<std::string> signature) {
                    if (!alive.expired()) OnSigned(std::move(signature));
                  });
  }

  const absl::StatusOr<std::string>* signature() const override {
    return signature_.has_value() ? &*signature_ : nullptr;
  }

 protected:
  // Who speaks first?
  virtual void Start() = 0;
  virtual TlsInfo Describe() = 0;
  // The connection has been opened.
  virtual void OnOpen() = 0;
  // If the library's reason is the peer's certificate: what to answer, with
  // what is known of the peer; else OK.
  virtual absl::Status CertificateFailure(int reason, const std::string& text,
                                          TlsInfo* info) = 0;

  EventLoop* loop() const { return loop_; }
  TlsConnection* connection() const { return connection_.get(); }
  SSL* ssl() const { return connection_->ssl(); }
  std::weak_ptr<bool> alive() const { return alive_; }

 private:
  void OnSigned(absl::StatusOr<std::string> signature) {
    if (!signature.ok()) sign_error_ = signature.status();
    signature_ = std::move(signature);
    signing_ = false;
    Advance();
  }

  // The library gave up.
  void Fail(int error) {
    if (error == SSL_ERROR_SYSCALL || error == SSL_ERROR_ZERO_RETURN)
      return End(absl::UnavailableError("connection closed"));
    const uint32_t code = ERR_peek_last_error();
    const std::string text = TlsLibraryError();
    if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
      TlsInfo info;
      const absl::Status why =
          CertificateFailure(ERR_GET_REASON(code), text, &info);
      if (!why.ok()) return End(why, std::move(info));
    }
    End(absl::InvalidArgumentError(text));
  }

  void Succeed() {
    TlsInfo info = Describe();
    SetEvents(ssl(), nullptr);
    connection_->Open();
    OnOpen();
    timer_.reset();
    alive_.reset();
    TlsDone done = std::move(done_);
    done(std::unique_ptr<Stream>(std::move(connection_)), std::move(info));
  }

  void End(absl::Status why, TlsInfo info = TlsInfo()) {
    timer_.reset();
    alive_.reset();
    // Closes the plain stream, after an alert if there was one to send.
    const std::unique_ptr<TlsConnection> over = std::move(connection_);
    TlsDone done = std::move(done_);
    done(std::move(why), std::move(info));
  }

  EventLoop* const loop_;
  Signer* const signer_;
  TlsDone done_;
  std::unique_ptr<TlsConnection> connection_;  // null when done
  const CertificateChain* chain_ = nullptr;
  bool signing_ = false;
  std::optional<absl::StatusOr<std::string>> signature_;
  absl::Status sign_error_;
  EventLoop::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

class ServerHandshake : public Handshake {
 public:
  using Handshake::Handshake;

 private:
  void Start() override { connection()->ReadPlain(true); }

  TlsInfo Describe() override {
    TlsInfo info = DescribeSession(ssl());
    info.peer_verified =
        info.peer_certificate && SSL_get_verify_result(ssl()) == X509_V_OK;
    return info;
  }

  void OnOpen() override {
    if (SSL_version(ssl()) == TLS1_3_VERSION) connection()->SendTicketsSoon();
  }

  absl::Status CertificateFailure(int reason, const std::string& text,
                                  TlsInfo*) override {
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE ||
        reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
      return absl::UnauthenticatedError(text);
    return absl::OkStatus();
  }
};

class ClientHandshake : public Handshake {
 public:
  // `judges`: there are authorities to judge the certificate by.
  ClientHandshake(EventLoop* loop, Signer* signer, bool judges, TlsDone done)
      : Handshake(loop, signer, std::move(done)), judges_(judges) {}

 private:
  void Start() override {
    loop()->AtTurnEnd([this, alive = alive()] {
      if (!alive.expired()) Advance();
    });
  }

  TlsInfo Describe() override {
    TlsInfo info = DescribeSession(ssl());
    const long result = SSL_get_verify_result(ssl());
    info.peer_verified =
        judges_ && info.peer_certificate && result == X509_V_OK;
    if (result != X509_V_OK) info.peer_error = VerifyErrorText(result);
    return info;
  }

  void OnOpen() override {}

  absl::Status CertificateFailure(int reason, const std::string&,
                                  TlsInfo* info) override {
    if (reason != SSL_R_CERTIFICATE_VERIFY_FAILED) return absl::OkStatus();
    DescribePeer(ssl(), info);
    info->peer_error = VerifyErrorText(SSL_get_verify_result(ssl()));
    return absl::UnauthenticatedError(
        absl::StrCat("certificate verification failed: ", info->peer_error));
  }

  const bool judges_;
};

}  // namespace

std::unique_ptr<TlsHandshake> AcceptTls(EventLoop* loop,
                                        std::unique_ptr<Stream> plain,
                                        TlsServerContext* context,
                                        absl::Duration timeout, TlsDone done) {
  auto* const server = static_cast<ServerContext*>(context);
  auto handshake = std::make_unique<ServerHandshake>(loop, server->signer(),
                                                     std::move(done));
  bssl::UniquePtr<SSL> ssl = server->NewConnection(handshake.get());
  if (ssl == nullptr) {
    handshake->Begin(std::move(plain),
                     absl::ResourceExhaustedError("out of memory"), timeout);
  } else {
    handshake->Begin(std::move(plain), std::move(ssl), timeout);
  }
  return handshake;
}

std::unique_ptr<TlsHandshake> ConnectTls(EventLoop* loop,
                                         std::unique_ptr<Stream> plain,
                                         TlsClientContext* context,
                                         const std::string& name,
                                         absl::Duration timeout, TlsDone done) {
  auto* const client = static_cast<ClientContext*>(context);
  auto handshake = std::make_unique<ClientHandshake>(
      loop, client->signer(), client->judges(), std::move(done));
  handshake->Begin(std::move(plain),
                   client->NewConnection(name, handshake.get()), timeout);
  return handshake;
}

}  // namespace holdfast
