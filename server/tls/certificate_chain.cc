#include "server/tls/certificate_chain.h"

#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

// More than any chain in use; SMTP clients refuse much shorter ones.
constexpr size_t kMaxChain = 32;

std::vector<std::string> NamesOf(X509* leaf) {
  std::vector<std::string> names;
  bssl::UniquePtr<GENERAL_NAMES> alternatives(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr)));
  if (alternatives != nullptr) {
    for (const GENERAL_NAME* name : alternatives.get()) {
      if (name->type != GEN_DNS) continue;
      names.push_back(absl::AsciiStrToLower(absl::string_view(
          reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.ia5)),
          static_cast<size_t>(ASN1_STRING_length(name->d.ia5)))));
    }
    return names;
  }
  X509_NAME* const subject = X509_get_subject_name(leaf);
  char common[256];
  if (X509_NAME_get_text_by_NID(subject, NID_commonName, common,
                                sizeof common) > 0)
    names.push_back(absl::AsciiStrToLower(common));
  return names;
}

absl::Status SetKey(const EVP_PKEY* key, CertificateChain* chain) {
  switch (EVP_PKEY_id(key)) {
    case EVP_PKEY_RSA:
      chain->kind = CertificateChain::KeyKind::kRsa;
      break;
    case EVP_PKEY_EC:
      chain->kind = CertificateChain::KeyKind::kEcdsa;
      chain->curve =
          EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key)));
      break;
    default:
      return absl::InvalidArgumentError("key is neither RSA nor ECDSA");
  }
  chain->key = KeyIdOf(key);
  return absl::OkStatus();
}

bool IsCoveredBy(absl::string_view host, absl::string_view name) {
  if (host == name) return true;
  if (!absl::ConsumePrefix(&name, "*.")) return false;
  // A wild card is one label (RFC 6125 section 6.4.3).
  const size_t dot = host.find('.');
  return dot != absl::string_view::npos && dot > 0 &&
         host.substr(dot + 1) == name;
}

}  // namespace

bool CertificateChain::Covers(absl::string_view host) const {
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return IsCoveredBy(host, name);
  });
}

std::vector<CRYPTO_BUFFER*> CertificateChain::Pointers() const {
  std::vector<CRYPTO_BUFFER*> out;
  for (const auto& one : certificates) out.push_back(one.get());
  return out;
}

absl::StatusOr<std::vector<bssl::UniquePtr<X509>>> ParseCertificates(
    absl::string_view pem) {
  std::vector<bssl::UniquePtr<X509>> out;
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), pem.size()));
  ERR_clear_error();
  while (bio != nullptr) {
    bssl::UniquePtr<X509> one(
        PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (one == nullptr) break;
    out.push_back(std::move(one));
  }
  const uint32_t error = ERR_peek_last_error();
  const bool at_end = ERR_GET_LIB(error) == ERR_LIB_PEM &&
                      ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  if (!at_end) return absl::InvalidArgumentError(TlsLibraryError());
  ERR_clear_error();
  if (out.empty()) return absl::InvalidArgumentError("no certificate in it");
  return out;
}

absl::StatusOr<CertificateChain> ParseCertificateChain(absl::string_view pem) {
  absl::StatusOr<std::vector<bssl::UniquePtr<X509>>> parsed =
      ParseCertificates(pem);
  if (!parsed.ok()) return parsed.status();
  if (parsed->size() > kMaxChain)
    return absl::InvalidArgumentError("too many certificates in it");
  CertificateChain chain;
  for (const auto& x509 : *parsed) {
    uint8_t* der = nullptr;
    const int length = i2d_X509(x509.get(), &der);
    bssl::UniquePtr<uint8_t> owned(der);
    if (length <= 0) return absl::InvalidArgumentError(TlsLibraryError());
    chain.certificates.emplace_back(
        CRYPTO_BUFFER_new(der, static_cast<size_t>(length), nullptr));
  }
  bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(parsed->front().get()));
  if (key == nullptr) return absl::InvalidArgumentError(TlsLibraryError());
  const absl::Status status = SetKey(key.get(), &chain);
  if (!status.ok()) return status;
  chain.names = NamesOf(parsed->front().get());
  return chain;
}

}  // namespace holdfast
