#include "server/tls/tls_test_bed.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/tls/certificate_chain.h"

namespace holdfast {
namespace {

class WireStream : public Stream {
 public:
  explicit WireStream(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
  ~WireStream() override {
    wire_->dropped = true;
    wire_->reading = false;
  }
  void SetCallbacks(Callbacks callbacks) override {
    wire_->callbacks = std::move(callbacks);
  }
  void PauseReading() override { wire_->reading = false; }
  void ResumeReading() override { wire_->reading = true; }
  void Write(absl::string_view bytes) override {
    wire_->from_server.append(bytes.data(), bytes.size());
  }
  size_t backlog() const override { return wire_->backlog; }
  void Shutdown() override { wire_->shut_down = true; }
  std::string LocalAddress() const override { return "192.0.2.25"; }

 private:
  std::shared_ptr<Wire> wire_;
};

}  // namespace

std::unique_ptr<Stream> MakeWireStream(std::shared_ptr<Wire> wire) {
  return std::make_unique<WireStream>(std::move(wire));
}

void Wire::Deliver(size_t piece) {
  while (reading && !to_server.empty()) {
    const std::string part = to_server.substr(0, piece);
    to_server.erase(0, part.size());
    callbacks.on_bytes(part);
  }
}

// ---- The signer

void TestSigner::Add(const TestCertificate& certificate) {
  absl::StatusOr<PrivateKey> key = PrivateKey::Parse(certificate.key);
  if (!key.ok()) abort();
  const std::string id = key->id();
  keys_.emplace(id, *std::move(key));
}

void TestSigner::Sign(SignRequest request, Done done) {
  seen.push_back(request);
  if (hold) {
    held_.emplace_back(std::move(request), std::move(done));
    return;
  }
  Answer(request, std::move(done));
}

void TestSigner::Answer(const SignRequest& request, Done done) {
  absl::StatusOr<std::string> signature = absl::UnavailableError("no keys");
  const auto found = keys_.find(request.key);
  if (!unavailable && found != keys_.end())
    signature = found->second.Sign(request.algorithm, request.input);
  loop_->Post(
      [signature = std::move(signature), done = std::move(done)]() mutable {
        done(std::move(signature));
      });
}

void TestSigner::Release() {
  for (auto& [request, done] : std::exchange(held_, {}))
    Answer(request, std::move(done));
}

// ---- The client

TestClient::TestClient(const Options& options, std::shared_ptr<Wire> wire)
    : wire_(std::move(wire)), ctx_(SSL_CTX_new(TLS_method())) {
  SSL_CTX_set_app_data(ctx_.get(), this);
  SSL_CTX_set_min_proto_version(ctx_.get(), options.min_version);
  SSL_CTX_set_max_proto_version(ctx_.get(), options.max_version);
  if (!options.ciphers.empty() &&
      !SSL_CTX_set_cipher_list(ctx_.get(), options.ciphers.c_str()))
    abort();
  if (!options.algorithms.empty() &&
      !SSL_CTX_set1_sigalgs_list(ctx_.get(), options.algorithms.c_str()))
    abort();
  SSL_CTX_set_session_cache_mode(ctx_.get(), SSL_SESS_CACHE_CLIENT);
  SSL_CTX_sess_set_new_cb(ctx_.get(), OnSession);
  ssl_.reset(SSL_new(ctx_.get()));
  BIO* const in = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(in, -1);
  SSL_set_bio(ssl_.get(), in, BIO_new(BIO_s_mem()));
  SSL_set_connect_state(ssl_.get());
  if (!options.server_name.empty())
    SSL_set_tlsext_host_name(ssl_.get(), options.server_name.c_str());
  if (options.session != nullptr) SSL_set_session(ssl_.get(), options.session);
  if (options.certificate != nullptr) {
    auto chain = ParseCertificates(options.certificate->certificate);
    bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(options.certificate->key.data(),
                                             options.certificate->key.size()));
    bssl::UniquePtr<EVP_PKEY> key(
        PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
    if (!SSL_use_certificate(ssl_.get(), chain->front().get()) ||
        !SSL_use_PrivateKey(ssl_.get(), key.get()))
      abort();
  }
}

int TestClient::OnSession(SSL* ssl, SSL_SESSION* session) {
  static_cast<TestClient*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)))
      ->session_.reset(session);
  return 1;
}

void TestClient::Exchange(bool in) {
  if (in) {
    BIO_write(SSL_get_rbio(ssl_.get()), wire_->from_server.data(),
              static_cast<int>(wire_->from_server.size()));
    wire_->from_server.clear();
    return;
  }
  const uint8_t* data = nullptr;
  size_t length = 0;
  BIO* const out = SSL_get_wbio(ssl_.get());
  if (!BIO_mem_contents(out, &data, &length)) abort();
  wire_->to_server.append(reinterpret_cast<const char*>(data), length);
  BIO_reset(out);
}

void TestClient::Step() {
  if (connected_ || failed_) return;
  ERR_clear_error();
  Exchange(true);
  const int result = SSL_do_handshake(ssl_.get());
  connected_ = result == 1;
  failed_ =
      !connected_ && SSL_get_error(ssl_.get(), result) != SSL_ERROR_WANT_READ;
  Exchange(false);
}

void TestClient::Write(absl::string_view text) {
  if (SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())) <= 0)
    abort();
  Exchange(false);
}

std::string TestClient::Read() {
  ERR_clear_error();
  Exchange(true);
  std::string out;
  char buffer[16 << 10];
  int n;
  while ((n = SSL_read(ssl_.get(), buffer, sizeof buffer)) > 0)
    out.append(buffer, static_cast<size_t>(n));
  if (SSL_get_error(ssl_.get(), n) == SSL_ERROR_SSL) failed_ = true;
  return out;
}

void TestClient::Close() {
  SSL_shutdown(ssl_.get());
  Exchange(false);
}

bool TestClient::heard_close() const {
  return (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
}

std::string TestClient::server_key() {
  bssl::UniquePtr<X509> x509(SSL_get_peer_certificate(ssl_.get()));
  if (x509 == nullptr) return "";
  bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(x509.get()));
  return KeyIdOf(key.get());
}

// ---- The bed

TlsTestBed::TlsTestBed() = default;

std::unique_ptr<TlsServerContext> TlsTestBed::Context(
    const TlsServerOptions& options) {
  auto made = MakeTlsServerContext(options, &signer);
  if (!made.ok()) abort();
  return *std::move(made);
}

TlsServerOptions TlsTestBed::Showing(
    const std::vector<TestCertificate>& certificates) {
  TlsServerOptions options;
  for (const TestCertificate& one : certificates) {
    signer.Add(one);
    options.certificates.push_back({"test", one.certificate});
  }
  return options;
}

TicketKeys TlsTestBed::MakeTicketKeys(const std::string& letters) {
  TicketKeys keys;
  for (char c : letters)
    keys.keys.push_back({std::string(16, c), std::string(48, c)});
  return keys;
}

void TlsTestSide::Reset() {
  handshake.reset();
  stream.reset();
  wire = std::make_shared<Wire>();
  answers = 0;
  status = absl::OkStatus();
  info = TlsInfo();
  got.clear();
  closed.clear();
}

TlsDone TlsTestSide::Done() {
  return [this](absl::StatusOr<std::unique_ptr<Stream>> result, TlsInfo what) {
    ++answers;
    info = std::move(what);
    status = result.status();
    handshake.reset();
    if (!result.ok()) return;
    stream = *std::move(result);
    Listen();
  };
}

void TlsTestSide::Listen() {
  Stream::Callbacks callbacks;
  callbacks.on_bytes = [this](absl::string_view bytes) {
    got.append(bytes.data(), bytes.size());
  };
  callbacks.on_closed = [this](absl::Status why) { closed.push_back(why); };
  stream->SetCallbacks(std::move(callbacks));
  stream->ResumeReading();
}

void TlsTestBed::Accept(TlsServerContext* context) {
  Reset();
  handshake = AcceptTls(&loop, MakeWireStream(wire), context, absl::Seconds(60),
                        Done());
}

void TlsTestBed::Connect(const TestClient::Options& options) {
  client = std::make_unique<TestClient>(options, wire);
}

void TlsTestBed::Connect(TlsClientContext* context, const std::string& name) {
  client.reset();
  ours.Reset();
  ours.handshake = ConnectTls(&loop, MakeWireStream(ours.wire), context, name,
                              absl::Seconds(60), ours.Done());
}

void TlsTestBed::Talk(size_t piece) {
  for (int i = 0; i < 20; ++i) {
    loop.RunReady();
    if (client != nullptr) {
      client->Step();
    } else if (ours.wire != nullptr) {
      wire->to_server += std::exchange(ours.wire->from_server, "");
      ours.wire->to_server += std::exchange(wire->from_server, "");
      ours.wire->Deliver(piece);
    }
    wire->Deliver(piece);
    loop.RunReady();
  }
}

bool TlsTestBed::Exchange(TlsServerContext* context,
                          const TestClient::Options& options) {
  Accept(context);
  Connect(options);
  Talk();
  if (!client->connected() || stream == nullptr) return false;
  client->Write("ping");
  Talk();
  stream->Write("pong");
  return got == "ping" && client->Read() == "pong";
}

std::unique_ptr<TlsClientContext> TlsTestBed::Context(
    const TlsClientOptions& options) {
  auto made = MakeTlsClientContext(options, &signer);
  if (!made.ok()) abort();
  return *std::move(made);
}

bool TlsTestBed::Exchange(TlsServerContext* context,
                          TlsClientContext* client_context,
                          const std::string& name) {
  Accept(context);
  Connect(client_context, name);
  Talk();
  if (ours.stream == nullptr || stream == nullptr) return false;
  ours.stream->Write("ping");
  Talk();
  stream->Write("pong");
  Talk();
  return got == "ping" && ours.got == "pong";
}

}  // namespace holdfast
