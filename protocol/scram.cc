#include "protocol/scram.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "protocol/sasl_plain.h"
#include "protocol/secret.h"

namespace holdfast {
namespace {

constexpr absl::string_view kVerifierPrefix = "SCRAM-SHA-256$";

// Only what encodes back to itself: one text for one value.
std::optional<std::string> DecodeBase64(absl::string_view text) {
  std::string bytes;
  if (!absl::Base64Unescape(text, &bytes) ||
      absl::Base64Escape(bytes) != text) {
    return std::nullopt;
  }
  return bytes;
}

std::optional<uint32_t> ParseIterations(absl::string_view text) {
  uint32_t number = 0;
  if (text.empty() || text.size() > 8 || text[0] < '1' || text[0] > '9' ||
      !absl::SimpleAtoi(text, &number) || number > kMaxScramIterations) {
    return std::nullopt;
  }
  return number;
}

// Takes everything before `separator`, and it, off `*rest`.
std::optional<absl::string_view> TakeUntil(absl::string_view* rest,
                                           char separator) {
  const size_t end = rest->find(separator);
  if (end == absl::string_view::npos) return std::nullopt;
  const absl::string_view taken = rest->substr(0, end);
  rest->remove_prefix(end + 1);
  return taken;
}

// The value of the attribute `name` that `*rest` begins with, up to a comma.
std::optional<absl::string_view> TakeAttribute(absl::string_view* rest,
                                               char name) {
  if (rest->size() < 2 || (*rest)[0] != name || (*rest)[1] != '=') {
    return std::nullopt;
  }
  const size_t end = rest->find(',');
  const absl::string_view value = rest->substr(2, end - 2);
  rest->remove_prefix(end == absl::string_view::npos ? rest->size() : end + 1);
  return value;
}

bool IsNonce(absl::string_view text) {
  if (text.empty() || text.size() > kMaxScramNonce) return false;
  for (const char c : text) {
    if (c < 0x21 || c > 0x7e || c == ',') return false;
  }
  return true;
}

// "saslname": a comma is =2C, an equals sign =3D.
std::optional<std::string> DecodeName(absl::string_view text) {
  std::string name;
  while (!text.empty()) {
    if (text[0] != '=') {
      name.push_back(text[0]);
      text.remove_prefix(1);
    } else if (absl::StartsWith(text, "=2C")) {
      name.push_back(',');
      text.remove_prefix(3);
    } else if (absl::StartsWith(text, "=3D")) {
      name.push_back('=');
      text.remove_prefix(3);
    } else {
      return std::nullopt;
    }
  }
  if (name.empty() || name.size() > kMaxSaslUser || !IsSaslPrepared(name)) {
    return std::nullopt;
  }
  return name;
}

// Further attributes that nobody needs to know: "x=value,y=value".
bool AreExtensions(absl::string_view rest) {
  while (!rest.empty()) {
    if (rest.size() < 3 || !absl::ascii_isalpha(rest[0]) || rest[1] != '=' ||
        rest[2] == ',') {
      return false;
    }
    const size_t end = rest.find(',');
    if (end == absl::string_view::npos) return true;
    rest.remove_prefix(end + 1);
    if (rest.empty()) return false;
  }
  return true;
}

// How long the sequence is that begins here and what it may not fall below;
// 0 if none begins.
size_t Utf8Length(unsigned char c, uint32_t* least) {
  if (c < 0x80) return 1;
  if (c >= 0xc2 && c <= 0xdf) return *least = 0x80, 2;
  if (c >= 0xe0 && c <= 0xef) return *least = 0x800, 3;
  if (c >= 0xf0 && c <= 0xf4) return *least = 0x10000, 4;
  return 0;
}

}  // namespace

bool IsSaslPrepared(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7f) return false;
    uint32_t least = 0;
    const size_t length = Utf8Length(c, &least);
    if (length == 0 || i + length > text.size()) return false;
    uint32_t code = length == 1 ? c : c & (0x7f >> length);
    for (size_t k = 1; k < length; ++k) {
      const unsigned char next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      code = code << 6 | (next & 0x3f);
    }
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      return false;
    }
    // C.2.2: controls beyond ASCII.
    if (code >= 0x80 && code < 0xa0) return false;
    i += length;
  }
  return true;
}

std::string ScramVerifier::ToText() const {
  return absl::StrCat(
      kVerifierPrefix, iterations, ":", absl::Base64Escape(salt), "$",
      absl::Base64Escape(stored_key), ":", absl::Base64Escape(server_key));
}

bool LooksLikeScramVerifier(absl::string_view text) {
  return absl::StartsWith(text, kVerifierPrefix);
}

std::optional<ScramVerifier> ParseScramVerifier(absl::string_view text) {
  if (!LooksLikeScramVerifier(text)) return std::nullopt;
  text.remove_prefix(kVerifierPrefix.size());
  const auto iterations = TakeUntil(&text, ':');
  const auto salt = TakeUntil(&text, '$');
  const auto stored_key = TakeUntil(&text, ':');
  if (!iterations || !salt || !stored_key) return std::nullopt;
  const std::optional<uint32_t> count = ParseIterations(*iterations);
  std::optional<std::string> salt_bytes = DecodeBase64(*salt);
  std::optional<std::string> stored = DecodeBase64(*stored_key);
  std::optional<std::string> server = DecodeBase64(text);
  if (!count || !salt_bytes || salt_bytes->empty() ||
      salt_bytes->size() > kMaxScramSalt || !stored ||
      stored->size() != kSha256Bytes || !server ||
      server->size() != kSha256Bytes) {
    return std::nullopt;
  }
  ScramVerifier verifier;
  verifier.iterations = *count;
  verifier.salt = *std::move(salt_bytes);
  verifier.stored_key = *std::move(stored);
  verifier.server_key = *std::move(server);
  return verifier;
}

ScramVerifier MakeScramVerifier(const ScramHash& hash,
                                absl::string_view password,
                                absl::string_view salt, uint32_t iterations) {
  std::string salted = hash.pbkdf2(password, salt, iterations);
  std::string client_key = hash.hmac(salted, "Client Key");
  ScramVerifier verifier;
  verifier.iterations = iterations;
  verifier.salt = std::string(salt);
  verifier.stored_key = hash.sha256(client_key);
  verifier.server_key = hash.hmac(salted, "Server Key");
  Wipe(&salted);
  Wipe(&client_key);
  return verifier;
}

bool ScramPasswordFits(const ScramHash& hash, absl::string_view password,
                       const ScramVerifier& verifier) {
  ScramVerifier made =
      MakeScramVerifier(hash, password, verifier.salt, verifier.iterations);
  const bool fits = SecretsEqual(made.stored_key, verifier.stored_key);
  Wipe(&made.stored_key);
  Wipe(&made.server_key);
  return fits && IsSaslPrepared(password);
}

std::optional<ScramClientFirst> ParseScramClientFirst(
    absl::string_view message) {
  if (message.size() > kMaxSaslResponse) return std::nullopt;
  ScramClientFirst first;
  absl::string_view rest = message;
  // "y": the client could bind to the channel and believes that we can't, which
  // is so.
  if (!absl::StartsWith(rest, "n,") && !absl::StartsWith(rest, "y,")) {
    return std::nullopt;
  }
  rest.remove_prefix(2);
  const auto authzid = TakeUntil(&rest, ',');
  if (!authzid) return std::nullopt;
  if (!authzid->empty()) {
    if (!absl::StartsWith(*authzid, "a=")) return std::nullopt;
    std::optional<std::string> name = DecodeName(authzid->substr(2));
    if (!name) return std::nullopt;
    first.authzid = *std::move(name);
  }
  first.gs2_header =
      std::string(message.substr(0, message.size() - rest.size()));
  first.bare = std::string(rest);
  // "m=" would stand here: an extension that must be understood.
  const auto user = TakeAttribute(&rest, 'n');
  const auto nonce = user ? TakeAttribute(&rest, 'r') : std::nullopt;
  if (!nonce || !IsNonce(*nonce) || !AreExtensions(rest) ||
      first.bare.back() == ',') {
    return std::nullopt;
  }
  std::optional<std::string> name = DecodeName(*user);
  if (!name) return std::nullopt;
  first.user = *std::move(name);
  first.nonce = std::string(*nonce);
  return first;
}

std::optional<ScramClientFinal> ParseScramClientFinal(
    absl::string_view message) {
  if (message.size() > kMaxSaslResponse) return std::nullopt;
  // The proof is last.
  const size_t proof_at = message.rfind(",p=");
  if (proof_at == absl::string_view::npos) return std::nullopt;
  const std::optional<std::string> proof =
      DecodeBase64(message.substr(proof_at + 3));
  if (!proof || proof->size() != kSha256Bytes) return std::nullopt;
  ScramClientFinal last;
  last.proof = *proof;
  last.without_proof = std::string(message.substr(0, proof_at));
  absl::string_view rest = last.without_proof;
  const auto binding = TakeAttribute(&rest, 'c');
  const auto nonce = binding ? TakeAttribute(&rest, 'r') : std::nullopt;
  if (!nonce || !IsNonce(*nonce) || !AreExtensions(rest) ||
      last.without_proof.back() == ',') {
    return std::nullopt;
  }
  std::optional<std::string> header = DecodeBase64(*binding);
  if (!header) return std::nullopt;
  last.channel_binding = *std::move(header);
  last.nonce = std::string(*nonce);
  return last;
}

ScramExchange::ScramExchange(const ScramHash& hash, ScramClientFirst first,
                             ScramVerifier verifier,
                             absl::string_view server_nonce)
    : hash_(hash),
      first_(std::move(first)),
      verifier_(std::move(verifier)),
      nonce_(absl::StrCat(first_.nonce, server_nonce)),
      server_first_(absl::StrCat("r=", nonce_,
                                 ",s=", absl::Base64Escape(verifier_.salt),
                                 ",i=", verifier_.iterations)) {}

ScramExchange::Result ScramExchange::Finish(absl::string_view client_final,
                                            std::string* server_final) {
  std::optional<ScramClientFinal> last = ParseScramClientFinal(client_final);
  if (!last || last->channel_binding != first_.gs2_header ||
      last->nonce != nonce_) {
    return Result::kMalformed;
  }
  const std::string auth_message =
      absl::StrCat(first_.bare, ",", server_first_, ",", last->without_proof);
  // The proof is the client's key under the signature.
  std::string client_key = hash_.hmac(verifier_.stored_key, auth_message);
  for (size_t i = 0; i < client_key.size(); ++i) {
    client_key[i] = static_cast<char>(client_key[i] ^ last->proof[i]);
  }
  const bool fits =
      SecretsEqual(hash_.sha256(client_key), verifier_.stored_key);
  Wipe(&client_key);
  if (!fits) return Result::kWrong;
  *server_final = absl::StrCat(
      "v=", absl::Base64Escape(hash_.hmac(verifier_.server_key, auth_message)));
  return Result::kOk;
}

}  // namespace holdfast
