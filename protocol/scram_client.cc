#include "protocol/scram_client.h"

#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "protocol/base64.h"

namespace holdfast {
namespace {

constexpr size_t kNonceBytes = 24;
// "n,,": no channel binding, acting as oneself; and the same in base64.
constexpr char kHeader[] = "n,,";
constexpr char kHeaderBase64[] = "biws";
constexpr char kBadChallenge[] = "malformed challenge";

// What the server says first: "r=nonce,s=salt,i=count".
struct ServerFirst {
  std::string nonce, salt;
  uint32_t iterations = 0;
};

// The value of the attribute `name` that `*rest` begins with, up to a comma.
std::optional<absl::string_view> TakeAttribute(absl::string_view* rest,
                                               char name) {
  if (rest->size() < 2 || (*rest)[0] != name || (*rest)[1] != '=')
    return std::nullopt;
  const size_t end = rest->find(',');
  const absl::string_view value =
      rest->substr(2, end == absl::string_view::npos ? end : end - 2);
  rest->remove_prefix(end == absl::string_view::npos ? rest->size() : end + 1);
  return value;
}

// A mandatory extension ("m=") is not understood, others are ignored.
std::optional<ServerFirst> ParseServerFirst(absl::string_view message) {
  const auto nonce = TakeAttribute(&message, 'r');
  const auto salt = nonce ? TakeAttribute(&message, 's') : std::nullopt;
  const auto count = salt ? TakeAttribute(&message, 'i') : std::nullopt;
  if (!count || nonce->size() > kMaxScramNonce) return std::nullopt;
  std::optional<std::string> octets = DecodeBase64(*salt);
  ServerFirst first;
  if (!octets || octets->empty() || octets->size() > kMaxScramSalt ||
      count->empty() || count->front() < '1' || count->front() > '9' ||
      !absl::SimpleAtoi(*count, &first.iterations))
    return std::nullopt;
  first.nonce = std::string(*nonce);
  first.salt = *std::move(octets);
  return first;
}

class ScramClient : public SaslClient {
 public:
  ScramClient(Secret user, Secret password, const SaslCrypto* crypto)
      : user_(std::move(user)),
        password_(std::move(password)),
        crypto_(*crypto) {}

  const char* mechanism() const override { return kScramMechanism; }

  std::optional<Secret> First() override {
    nonce_ = absl::Base64Escape(crypto_.random(kNonceBytes));
    // "saslname": a comma and an equals sign are written otherwise.
    bare_ = absl::StrCat(
        "n=", absl::StrReplaceAll(user_.text(), {{"=", "=3D"}, {",", "=2C"}}),
        ",r=", nonce_);
    return Secret(absl::StrCat(kHeader, bare_));
  }

  absl::StatusOr<Secret> Answer(absl::string_view challenge) override {
    switch (std::exchange(step_, Step::kEnd)) {
      case Step::kFirst:
        return Prove(challenge);
      case Step::kProof:
        return CheckServer(challenge);
      case Step::kEnd:
        break;
    }
    return absl::InvalidArgumentError(kBadChallenge);
  }

  std::string Complaint() const override {
    return server_known_ ? ""
                         : "the server has not proven that it knows the "
                           "password";
  }

 private:
  // What is waited for.
  enum class Step { kFirst, kProof, kEnd };

  absl::StatusOr<Secret> Prove(absl::string_view challenge) {
    const std::optional<ServerFirst> first = ParseServerFirst(challenge);
    // Its nonce is ours and then some.
    if (!first || first->nonce.size() <= nonce_.size() ||
        !absl::StartsWith(first->nonce, nonce_))
      return absl::InvalidArgumentError(kBadChallenge);
    if (first->iterations < kMinScramClientIterations ||
        first->iterations > kMaxScramClientIterations)
      return absl::InvalidArgumentError("iteration count out of bounds");
    const std::string last =
        absl::StrCat("c=", kHeaderBase64, ",r=", first->nonce);
    const std::string auth_message =
        absl::StrCat(bare_, ",", challenge, ",", last);
    const ScramHash& hash = crypto_.scram;
    const Secret salted(
        hash.pbkdf2(password_.text(), first->salt, first->iterations));
    const Secret client_key(hash.hmac(salted.text(), "Client Key"));
    const Secret server_key(hash.hmac(salted.text(), "Server Key"));
    std::string proof = hash.hmac(hash.sha256(client_key.text()), auth_message);
    for (size_t i = 0; i < proof.size(); ++i)
      proof[i] = static_cast<char>(proof[i] ^ client_key.text()[i]);
    signature_ = hash.hmac(server_key.text(), auth_message);
    step_ = Step::kProof;
    return Secret(absl::StrCat(last, ",p=", absl::Base64Escape(proof)));
  }

  absl::StatusOr<Secret> CheckServer(absl::string_view challenge) {
    const auto value = TakeAttribute(&challenge, 'v');
    const auto signature = value ? DecodeBase64(*value) : std::nullopt;
    if (!signature || !SecretsEqual(*signature, signature_))
      return absl::UnauthenticatedError(
          "the server does not know the password");
    server_known_ = true;
    return Secret();
  }

  const Secret user_, password_;
  const SaslCrypto& crypto_;
  Step step_ = Step::kFirst;
  std::string nonce_, bare_;
  std::string signature_;  // that the server must show
  bool server_known_ = false;
};

}  // namespace

std::unique_ptr<SaslClient> MakeScramClient(Secret user, Secret password,
                                            const SaslCrypto* crypto) {
  return std::make_unique<ScramClient>(std::move(user), std::move(password),
                                       crypto);
}

}  // namespace holdfast
