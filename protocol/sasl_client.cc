#include "protocol/sasl_client.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/scram_client.h"

namespace holdfast {
namespace {

absl::Status Unexpected() {
  return absl::InvalidArgumentError("unexpected challenge");
}

class PlainClient : public SaslClient {
 public:
  PlainClient(const Secret& user, const Secret& password)
      : message_(absl::StrCat(absl::string_view("\0", 1), user.text(),
                              absl::string_view("\0", 1), password.text())) {}
  const char* mechanism() const override { return "PLAIN"; }
  std::optional<Secret> First() override { return std::move(message_); }
  absl::StatusOr<Secret> Answer(absl::string_view) override {
    return Unexpected();
  }

 private:
  Secret message_;
};

// Whatever the challenges say ("Username:", "Password:"): the first wants the
// name, the second the password.
class LoginClient : public SaslClient {
 public:
  LoginClient(Secret user, Secret password)
      : user_(std::move(user)), password_(std::move(password)) {}
  const char* mechanism() const override { return "LOGIN"; }
  std::optional<Secret> First() override { return std::nullopt; }
  absl::StatusOr<Secret> Answer(absl::string_view) override {
    if (++asked_ == 1) return std::move(user_);
    if (asked_ == 2) return std::move(password_);
    return Unexpected();
  }

 private:
  Secret user_, password_;
  int asked_ = 0;
};

class CramMd5Client : public SaslClient {
 public:
  CramMd5Client(Secret user, Secret password, const SaslCrypto* crypto)
      : user_(std::move(user)),
        password_(std::move(password)),
        crypto_(*crypto) {}
  const char* mechanism() const override { return "CRAM-MD5"; }
  std::optional<Secret> First() override { return std::nullopt; }
  absl::StatusOr<Secret> Answer(absl::string_view challenge) override {
    // Without a challenge the answer would fit everywhere.
    if (std::exchange(asked_, true) || challenge.empty()) return Unexpected();
    const std::string digest = crypto_.hmac_md5(password_.text(), challenge);
    return Secret(
        absl::StrCat(user_.text(), " ", absl::BytesToHexString(digest)));
  }

 private:
  const Secret user_, password_;
  const SaslCrypto& crypto_;
  bool asked_ = false;
};

class Xoauth2Client : public SaslClient {
 public:
  // `bearer`: with its prefix.
  Xoauth2Client(const Secret& user, const Secret& bearer)
      : message_(absl::StrCat("user=", user.text(), "\1auth=", bearer.text(),
                              "\1\1")) {}
  const char* mechanism() const override { return "XOAUTH2"; }
  std::optional<Secret> First() override { return std::move(message_); }
  // The challenge says what is wrong with the token; behind an empty line
  // comes the 5xx.
  absl::StatusOr<Secret> Answer(absl::string_view) override {
    if (std::exchange(failed_, true)) return Unexpected();
    return Secret();
  }
  std::string Complaint() const override {
    return failed_ ? "accepted after an error" : "";
  }

 private:
  Secret message_;
  bool failed_ = false;
};

bool Offers(const std::vector<std::string>& offered, absl::string_view word) {
  return absl::c_any_of(offered, [word](const std::string& o) {
    return absl::EqualsIgnoreCase(o, word);
  });
}

// A control character would end a field of some mechanism early.
bool AreUsable(absl::string_view user, absl::string_view secret) {
  const auto control = [](char c) {
    return absl::ascii_iscntrl(static_cast<unsigned char>(c));
  };
  return !user.empty() && !secret.empty() && absl::c_none_of(user, control) &&
         absl::c_none_of(secret, control);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SaslClient>> MakeSaslClient(
    const std::vector<std::string>& offered, ClientCredentials credentials,
    const SaslCrypto* crypto) {
  Secret user(std::move(credentials.user));
  Secret secret(std::move(credentials.secret));
  if (user.text().size() + secret.text().size() > kMaxCredentialBytes)
    return absl::InvalidArgumentError("Credentials too large");
  if (!AreUsable(user.text(), secret.text()))
    return absl::InvalidArgumentError("Invalid credentials");
  std::unique_ptr<SaslClient> client;
  if (absl::StartsWith(secret.text(), kBearerPrefix)) {
    // A token is no password: nothing else may get it.
    if (Offers(offered, "XOAUTH2"))
      client = std::make_unique<Xoauth2Client>(user, secret);
  } else if (crypto != nullptr && Offers(offered, kScramMechanism) &&
             IsSaslPrepared(user.text()) && IsSaslPrepared(secret.text())) {
    client = MakeScramClient(std::move(user), std::move(secret), crypto);
  } else if (Offers(offered, "PLAIN")) {
    client = std::make_unique<PlainClient>(user, secret);
  } else if (Offers(offered, "LOGIN")) {
    client = std::make_unique<LoginClient>(std::move(user), std::move(secret));
  } else if (crypto != nullptr && Offers(offered, "CRAM-MD5")) {
    client = std::make_unique<CramMd5Client>(std::move(user), std::move(secret),
                                             crypto);
  }
  if (client == nullptr) return absl::NotFoundError("no supported AUTH method");
  return client;
}

}  // namespace holdfast
