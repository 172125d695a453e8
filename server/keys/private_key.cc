#include "server/keys/private_key.h"

#include <openssl/bio.h>
#include <openssl/digest.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <string.h>

#include <utility>

namespace holdfast {
namespace {

constexpr unsigned kLeastRsaBits = 1024;
constexpr unsigned kMostRsaBits = 8192;

// Gives the library the passphrase; says that it was asked.
struct Passphrase {
  absl::string_view text;
  bool asked = false;

  static int Give(char* out, int size, int, void* self) {
    auto* const p = static_cast<Passphrase*>(self);
    p->asked = true;
    if (p->text.empty() || p->text.size() > static_cast<size_t>(size)) return 0;
    memcpy(out, p->text.data(), p->text.size());
    return static_cast<int>(p->text.size());
  }
};

absl::Status Check(const EVP_PKEY* key) {
  if (EVP_PKEY_id(key) == EVP_PKEY_RSA) {
    const unsigned bits = RSA_bits(EVP_PKEY_get0_RSA(key));
    if (bits < kLeastRsaBits || bits > kMostRsaBits)
      return absl::InvalidArgumentError("RSA key of a size not supported");
    return absl::OkStatus();
  }
  if (EVP_PKEY_id(key) != EVP_PKEY_EC)
    return absl::InvalidArgumentError("key is neither RSA nor ECDSA");
  switch (
      EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key)))) {
    case NID_X9_62_prime256v1:
    case NID_secp384r1:
    case NID_secp521r1:
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError("ECDSA key of a curve not supported");
  }
}

bool IsForTls12OrLater(uint16_t algorithm) {
  return algorithm != SSL_SIGN_RSA_PKCS1_SHA1 &&
         algorithm != SSL_SIGN_ECDSA_SHA1 &&
         algorithm != SSL_SIGN_RSA_PKCS1_MD5_SHA1;
}

}  // namespace

absl::StatusOr<PrivateKey> PrivateKey::Parse(absl::string_view pem,
                                             absl::string_view passphrase) {
  ERR_clear_error();
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), pem.size()));
  if (bio == nullptr) return absl::InvalidArgumentError(TlsLibraryError());
  Passphrase given{passphrase};
  PrivateKey out;
  out.key_.reset(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, Passphrase::Give, &given));
  if (out.key_ == nullptr) {
    const std::string why = TlsLibraryError();
    if (given.asked) return absl::PermissionDeniedError("key is encrypted");
    return absl::InvalidArgumentError(why);
  }
  const absl::Status status = Check(out.key_.get());
  if (!status.ok()) return status;
  out.id_ = KeyIdOf(out.key_.get());
  return out;
}

absl::StatusOr<std::string> PrivateKey::ToPem() const {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  const uint8_t* data = nullptr;
  size_t length = 0;
  if (bio == nullptr ||
      !PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0,
                                     nullptr, nullptr) ||
      !BIO_mem_contents(bio.get(), &data, &length))
    return absl::InternalError(TlsLibraryError());
  return std::string(reinterpret_cast<const char*>(data), length);
}

absl::StatusOr<std::string> PrivateKey::Sign(uint16_t algorithm,
                                             absl::string_view input) const {
  if (!IsForTls12OrLater(algorithm) ||
      SSL_get_signature_algorithm_key_type(algorithm) !=
          EVP_PKEY_id(key_.get()))
    return absl::InvalidArgumentError("algorithm does not fit the key");
  ERR_clear_error();
  bssl::ScopedEVP_MD_CTX context;
  EVP_PKEY_CTX* of_key = nullptr;
  bool ok = EVP_DigestSignInit(context.get(), &of_key,
                               SSL_get_signature_algorithm_digest(algorithm),
                               nullptr, key_.get());
  if (ok && SSL_is_signature_algorithm_rsa_pss(algorithm)) {
    constexpr int kSaltAsLongAsDigest = -1;
    ok = EVP_PKEY_CTX_set_rsa_padding(of_key, RSA_PKCS1_PSS_PADDING) &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(of_key, kSaltAsLongAsDigest);
  }
  std::string out(static_cast<size_t>(EVP_PKEY_size(key_.get())), '\0');
  size_t length = out.size();
  ok = ok && EVP_DigestSign(
                 context.get(), reinterpret_cast<uint8_t*>(&out[0]), &length,
                 reinterpret_cast<const uint8_t*>(input.data()), input.size());
  if (!ok) return absl::InternalError(TlsLibraryError());
  out.resize(length);
  return out;
}

}  // namespace holdfast
