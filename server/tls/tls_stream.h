// TLS on a Stream: what comes out is a Stream again.
//
// `SSL_` and BoringSSL's headers are used in this folder and in server/keys
// only.  Everything here is used on the loop's thread.
#ifndef HOLDFAST_SERVER_TLS_TLS_STREAM_H_
#define HOLDFAST_SERVER_TLS_TLS_STREAM_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/door/keys_messages.h"
#include "server/loop/event_loop.h"
#include "server/loop/stream.h"

namespace holdfast {

// Of an established connection, as Received fields and log lines have it.
struct TlsInfo {
  std::string version;      // "TLSv1.3"
  std::string cipher;       // "TLS_AES_256_GCM_SHA384", as OpenSSL names it
  int bits = 0;             // of the cipher
  std::string server_name;  // SNI, lower case; empty: none
  bool peer_certificate = false;  // one was shown
  // And its chain holds.  As client: a policy asked for it, and the certificate
  // is for the name, too.
  bool peer_verified = false;
  // As client: why it does not hold, in OpenSSL's words; empty: it does.
  std::string peer_error;
  std::string peer_subject;      // distinguished name, one line
  std::string peer_fingerprint;  // "SHA256:" and hexadecimal
  bool resumed = false;
};

// Asks `keys` for signatures.  Outlives the contexts that use it.
class Signer {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::string>)>;
  virtual ~Signer() = default;
  // Answered once, later (never inside the call) or not at all when this is
  // destroyed; `kUnavailable` if `keys` is not there.
  virtual void Sign(SignRequest request, Done done) = 0;
};

// One certificate chain in PEM, leaf first.
struct TlsCertificate {
  std::string name;   // of the pki, for messages
  std::string chain;  // PEM
};

struct TlsServerOptions {
  std::vector<TlsCertificate> certificates;  // the first is the default
  bool ask_client = false;      // for a certificate; done when `ca` is given
  bool require_client = false;  // a valid one, or the handshake fails
  std::string ca;         // PEM; what client certificates are verified with
  std::string ciphers;    // of TLS 1.2; empty: the library's
  std::string protocols;  // "" : TLS 1.2 and 1.3 (reference part 1, 1.14)
  // Tickets of one policy are not taken by another: put into each ticket's
  // session id context.
  std::string policy;
};

// Of one listener.
class TlsServerContext {
 public:
  virtual ~TlsServerContext() = default;
  // Replaces the ticket keys (see keys_messages.h).  Without any: no tickets.
  virtual void SetTicketKeys(const TicketKeys& keys) = 0;
};
absl::StatusOr<std::unique_ptr<TlsServerContext>> MakeTlsServerContext(
    const TlsServerOptions& options, Signer* signer);

// Begins a handshake as server on `plain`.  `done` is called once, never inside
// this call: with the encrypted stream (paused; its callbacks not yet set) and
// what is known of it, or with why it failed (kUnavailable: the peer went away,
// kDeadlineExceeded: `timeout` is over, kUnauthenticated: no valid client
// certificate, else the library's reason).  Dropping the result gives up.
// Bytes that came before the handshake must have been dropped by the caller
// (RFC 3207 section 4.2).
class TlsHandshake {
 public:
  virtual ~TlsHandshake() = default;
};
using TlsDone =
    absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<Stream>>, TlsInfo)>;
[[nodiscard]] std::unique_ptr<TlsHandshake> AcceptTls(
    EventLoop* loop, std::unique_ptr<Stream> plain, TlsServerContext* context,
    absl::Duration timeout, TlsDone done);

// ---- As client

struct TlsClientOptions {
  // PEM of the authorities.  Empty: none, which nothing verifies with.
  std::string ca;
  // Shown when the server asks for one, signed by the Signer.
  std::optional<TlsCertificate> certificate;
  std::string ciphers;    // as in TlsServerOptions
  std::string protocols;  // likewise
  // The server's certificate must be valid, and for the name.  False: any will
  // do; TlsInfo says what is wrong with it.
  bool verify = true;
};

// Of one policy; it holds sessions that can be resumed, by the server's name.
// A resumed session was judged by this policy, for this name.
class TlsClientContext {
 public:
  virtual ~TlsClientContext() = default;
};
// Errors: no authorities to verify with, `ciphers` or `protocols` that mean
// nothing, a certificate that cannot be read.
absl::StatusOr<std::unique_ptr<TlsClientContext>> MakeTlsClientContext(
    const TlsClientOptions& options, Signer* signer);

// Begins a handshake as client on `plain`, as AcceptTls does as server.
// `name`: what the certificate must be for, and SNI (RFC 6066 section 3): a
// host name in A-labels, or an IP address without brackets, which is no SNI.
// Errors: kUnauthenticated ("certificate verification failed: self-signed
// certificate", the words behind the colon being OpenSSL's; TlsInfo has what
// there is to say of the peer), kUnavailable (the peer went away),
// kDeadlineExceeded, else the library's reason.  `context`
// outlives the handshake; it may be gone before the stream.
[[nodiscard]] std::unique_ptr<TlsHandshake> ConnectTls(
    EventLoop* loop, std::unique_ptr<Stream> plain, TlsClientContext* context,
    const std::string& name, absl::Duration timeout, TlsDone done);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TLS_TLS_STREAM_H_
