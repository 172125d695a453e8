// SASL as a client has it (RFC 4422), for AUTH of SMTP (RFC 4954): PLAIN
// (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195), SCRAM-SHA-256 (RFC 7677) and XOAUTH2
// (as Google and Microsoft have it).  Pure: cryptography and randomness come in
// through SaslCrypto.
//
// The server is not trusted: a challenge has a bounded length, and no count of
// its makes us compute for long.
#ifndef HOLDFAST_PROTOCOL_SASL_CLIENT_H_
#define HOLDFAST_PROTOCOL_SASL_CLIENT_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/scram.h"
#include "protocol/secret.h"

namespace holdfast {

// A line of AUTH, in base64 and with CRLF, has so many octets (RFC 4954 section
// 4), and a command with an initial response so many (RFC 5321 section
// 4.5.3.1.4).
inline constexpr size_t kMaxAuthLineBytes = 12288;
inline constexpr size_t kMaxCommandLineBytes = 512;
// Of user and secret together.
inline constexpr size_t kMaxCredentialBytes = 8192;

// What a secret that is a token begins with (RFC 6750).
inline constexpr char kBearerPrefix[] = "Bearer ";

// From whoever has a library for it (storage/crypto/key_derivation.h).
struct SaslCrypto {
  ScramHash scram;
  // 16 octets (RFC 2104).
  std::string (*hmac_md5)(absl::string_view key, absl::string_view text);
  // So many random octets, for nonces.
  std::string (*random)(size_t bytes);
};

struct ClientCredentials {
  std::string user;
  std::string secret;  // a password, or "Bearer " and a token
};

// One exchange by one mechanism.
class SaslClient {
 public:
  virtual ~SaslClient() = default;
  // As AUTH has it.
  virtual const char* mechanism() const = 0;
  // What the client says without being asked; nullopt: the server begins.
  virtual std::optional<Secret> First() = 0;
  // The answer to a challenge; both without base64.  An error cancels the
  // exchange: its text says why, without secrets.
  virtual absl::StatusOr<Secret> Answer(absl::string_view challenge) = 0;
  // Empty: the server's 2xx may be believed.  Else why not: it has not shown
  // that it knows the secret.
  virtual std::string Complaint() const { return ""; }
};

// The best of the mechanisms offered: XOAUTH2 if and only if the secret is a
// token; else SCRAM-SHA-256, PLAIN, LOGIN, CRAM-MD5 in this order.  CRAM-MD5
// is last because its server must keep the password.  The credentials are
// wiped.  `crypto` must outlive what is returned; null: those that need none.
// kNotFound "no supported AUTH method", kInvalidArgument "Credentials too
// large" or a text of that kind: they can't be sent.
absl::StatusOr<std::unique_ptr<SaslClient>> MakeSaslClient(
    const std::vector<std::string>& offered, ClientCredentials credentials,
    const SaslCrypto* crypto);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SASL_CLIENT_H_
