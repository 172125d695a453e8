// A server's handshake and a client in one process, for tests: no sockets, no
// clock, and the wire between them in the test's hands.
#ifndef HOLDFAST_SERVER_TLS_TLS_TEST_BED_H_
#define HOLDFAST_SERVER_TLS_TLS_TEST_BED_H_

#include <openssl/ssl.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/keys/private_key.h"
#include "server/loop/fake_event_loop.h"
#include "server/tls/test_certificates.h"
#include "server/tls/tls_stream.h"

namespace holdfast {

// The plain stream, seen from outside.
struct Wire {
  std::string to_server;    // not yet delivered
  std::string from_server;  // not yet taken
  Stream::Callbacks callbacks;
  bool reading = false;
  bool shut_down = false;
  bool dropped = false;
  size_t backlog = 0;  // what the stream says

  // Gives the server what is there, at most `piece` at once, as long as it
  // reads.
  void Deliver(size_t piece = SIZE_MAX);
};
std::unique_ptr<Stream> MakeWireStream(std::shared_ptr<Wire> wire);

// `keys`, as a test wants it.
class TestSigner : public Signer {
 public:
  explicit TestSigner(EventLoop* loop) : loop_(loop) {}
  void Add(const TestCertificate& certificate);
  void Sign(SignRequest request, Done done) override;
  // With `hold`: answers those that wait.
  void Release();

  bool hold = false;
  bool unavailable = false;
  std::vector<SignRequest> seen;

 private:
  void Answer(const SignRequest& request, Done done);

  EventLoop* const loop_;
  std::map<std::string, PrivateKey> keys_;
  std::vector<std::pair<SignRequest, Done>> held_;
};

class TestClient {
 public:
  struct Options {
    std::string server_name;
    uint16_t min_version = TLS1_2_VERSION, max_version = TLS1_3_VERSION;
    std::string ciphers;     // of TLS 1.2
    std::string algorithms;  // as SSL_CTX_set1_sigalgs_list(); empty: all
    const TestCertificate* certificate = nullptr;
    SSL_SESSION* session = nullptr;
  };
  TestClient(const Options& options, std::shared_ptr<Wire> wire);

  // Takes what came and moves on; what it says is on the wire then.
  void Step();
  void Write(absl::string_view text);
  // A read of what has come in so far, decrypted.
  std::string Read();
  // Says close_notify.
  void Close();

  bool connected() const { return connected_; }
  bool failed() const { return failed_; }
  bool heard_close() const;
  SSL* ssl() { return ssl_.get(); }
  // Newest ticket; null: none came.
  SSL_SESSION* session() { return session_.get(); }
  // SHA-256 of the server's key.
  std::string server_key();

 private:
  static int OnSession(SSL* ssl, SSL_SESSION* session);
  void Exchange(bool in);

  std::shared_ptr<Wire> wire_;
  bssl::UniquePtr<SSL_CTX> ctx_;
  bssl::UniquePtr<SSL> ssl_;
  bssl::UniquePtr<SSL_SESSION> session_;
  bool connected_ = false;
  bool failed_ = false;
};

// One side of a connection that is ours: its wire, what became of its
// handshake, and what its stream has told.
struct TlsTestSide {
  // Everything is as at the beginning, with a new wire.
  void Reset();
  // For AcceptTls() and ConnectTls(); the stream is then listened to.
  TlsDone Done();

  std::shared_ptr<Wire> wire;
  std::unique_ptr<TlsHandshake> handshake;
  int answers = 0;
  std::unique_ptr<Stream> stream;
  absl::Status status;
  TlsInfo info;
  std::string got;
  std::vector<absl::Status> closed;

 private:
  void Listen();
};

// One server, and a client at a time.
class TlsTestBed : public TlsTestSide {
 public:
  TlsTestBed();

  std::unique_ptr<TlsServerContext> Context(const TlsServerOptions& options);
  // One that shows these, whose keys the signer has.
  TlsServerOptions Showing(const std::vector<TestCertificate>& certificates);
  static TicketKeys MakeTicketKeys(const std::string& letters);

  void Accept(TlsServerContext* context);
  void Connect(const TestClient::Options& options = {});
  // Both speak until neither has anything to say.
  void Talk(size_t piece = SIZE_MAX);
  // Accept, Connect, Talk; a word each way.  Whether that worked.
  bool Exchange(TlsServerContext* context,
                const TestClient::Options& options = {});

  // ---- A client that is ours
  std::unique_ptr<TlsClientContext> Context(const TlsClientOptions& options);
  void Connect(TlsClientContext* context, const std::string& name);
  bool Exchange(TlsServerContext* context, TlsClientContext* client_context,
                const std::string& name);

  FakeEventLoop loop;
  TestAuthority authority;
  TestSigner signer{&loop};
  std::unique_ptr<TestClient> client;
  TlsTestSide ours;  // the client's
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_TLS_TEST_BED_H_
