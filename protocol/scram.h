// SCRAM-SHA-256 as a server has it (RFC 5802, RFC 7677), without channel
// binding, and the verifier that a table holds instead of a password (the
// storage format of RFC 5803, section 3):
//
//   SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
//
// with salt and keys in base64.
//
// Names and passwords are prepared as SASLprep (RFC 4013) has it for ASCII:
// control characters are refused.  What is not ASCII is compared as it was
// sent, without normalisation (NFKC), so client and `smtpctl encrypt` must have
// written it alike.
#ifndef HOLDFAST_PROTOCOL_SCRAM_H_
#define HOLDFAST_PROTOCOL_SCRAM_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

inline constexpr char kScramMechanism[] = "SCRAM-SHA-256";
// What MakeScramVerifier() is given by `smtpctl encrypt -s`; RFC 7677 asks for
// 4096 at least, and clients on small machines must compute this too.
inline constexpr uint32_t kScramIterations = 15000;
inline constexpr size_t kScramSaltBytes = 16;
// Of a table's verifier: more is not taken.
inline constexpr uint32_t kMaxScramIterations = 10'000'000;
inline constexpr size_t kMaxScramSalt = 255;
inline constexpr size_t kMaxScramNonce = 512;

inline constexpr size_t kSha256Bytes = 32;

// The cryptography, from whoever has a library for it
// (storage/crypto/key_derivation.h).  Each gives 32 octets.
struct ScramHash {
  std::string (*sha256)(absl::string_view text);
  std::string (*hmac)(absl::string_view key, absl::string_view text);
  // PBKDF2 with HMAC-SHA-256: "Hi()".
  std::string (*pbkdf2)(absl::string_view password, absl::string_view salt,
                        uint32_t iterations);
};

struct ScramVerifier {
  uint32_t iterations = 0;
  std::string salt;        // octets
  std::string stored_key;  // 32 octets
  std::string server_key;  // 32 octets

  std::string ToText() const;
  friend bool operator==(const ScramVerifier&, const ScramVerifier&) = default;
};

// Whether the text claims to be a verifier.
bool LooksLikeScramVerifier(absl::string_view text);
// nullopt: it is none that can be used.
std::optional<ScramVerifier> ParseScramVerifier(absl::string_view text);

// False: no password or name that SASLprep allows (a control character, or
// octets that are no UTF-8).
bool IsSaslPrepared(absl::string_view text);

// Computes for a while; `password` must be prepared.
ScramVerifier MakeScramVerifier(const ScramHash& hash,
                                absl::string_view password,
                                absl::string_view salt, uint32_t iterations);
// Whether the password is that of the verifier; computes as long for a wrong
// one.
bool ScramPasswordFits(const ScramHash& hash, absl::string_view password,
                       const ScramVerifier& verifier);

// What the client says first: "n,,n=user,r=nonce".
struct ScramClientFirst {
  std::string gs2_header;  // "n,,", as it came
  std::string authzid;     // empty: none
  std::string user;
  std::string nonce;
  std::string bare;  // behind the header, as it came
};
// nullopt: malformed, or it asks for something that is not offered (channel
// binding, a mandatory extension).
std::optional<ScramClientFirst> ParseScramClientFirst(
    absl::string_view message);

// "c=biws,r=nonce,p=proof"
struct ScramClientFinal {
  std::string channel_binding;  // decoded: the header again
  std::string nonce;
  std::string proof;          // 32 octets
  std::string without_proof;  // as it came
};
std::optional<ScramClientFinal> ParseScramClientFinal(
    absl::string_view message);

// The server's side of one exchange, from its answer to the client's first
// message on.
class ScramExchange {
 public:
  // `server_nonce` is random: 18 octets at least, printable, without a comma.
  ScramExchange(const ScramHash& hash, ScramClientFirst first,
                ScramVerifier verifier, absl::string_view server_nonce);

  const std::string& server_first() const { return server_first_; }
  const std::string& user() const { return first_.user; }

  enum class Result { kOk, kWrong, kMalformed };
  // kOk: `*server_final` is what proves to the client that this server knows
  // the verifier.
  Result Finish(absl::string_view client_final, std::string* server_final);

 private:
  ScramHash hash_;
  ScramClientFirst first_;
  ScramVerifier verifier_;
  std::string nonce_;
  std::string server_first_;
};

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_SCRAM_H_
