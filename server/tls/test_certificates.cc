#include "server/tls/test_certificates.h"

#include <openssl/bio.h>
#include <openssl/ec_key.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace holdfast {
namespace {

// A test that cannot make its certificates has nothing to say.
void Must(bool ok) {
  if (!ok) abort();
}

bssl::UniquePtr<EVP_PKEY> MakeKey(TestKey kind) {
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  if (kind == TestKey::kRsa) {
    bssl::UniquePtr<RSA> rsa(RSA_new());
    bssl::UniquePtr<BIGNUM> e(BN_new());
    Must(BN_set_word(e.get(), RSA_F4));
    Must(RSA_generate_key_ex(rsa.get(), 2048, e.get(), nullptr));
    Must(EVP_PKEY_set1_RSA(key.get(), rsa.get()));
  } else if (kind == TestKey::kEcdsa) {
    bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
    Must(EC_KEY_generate_key(ec.get()));
    Must(EVP_PKEY_set1_EC_KEY(key.get(), ec.get()));
  } else {
    bssl::UniquePtr<EVP_PKEY_CTX> make(
        EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, nullptr));
    EVP_PKEY* made = nullptr;
    Must(EVP_PKEY_keygen_init(make.get()) &&
         EVP_PKEY_keygen(make.get(), &made));
    key.reset(made);
  }
  return key;
}

bssl::UniquePtr<X509> MakeCertificate(const std::string& common_name,
                                      long serial, EVP_PKEY* key,
                                      int from_day = -1, int to_day = 1) {
  bssl::UniquePtr<X509> x509(X509_new());
  Must(X509_set_version(x509.get(), 2));
  Must(ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), serial));
  constexpr long kDay = 24 * 3600;
  Must(X509_gmtime_adj(X509_get_notBefore(x509.get()), from_day * kDay) !=
       nullptr);
  Must(X509_gmtime_adj(X509_get_notAfter(x509.get()), to_day * kDay) !=
       nullptr);
  Must(X509_NAME_add_entry_by_NID(
      X509_get_subject_name(x509.get()), NID_commonName, MBSTRING_UTF8,
      reinterpret_cast<const uint8_t*>(common_name.data()),
      static_cast<int>(common_name.size()), -1, 0));
  Must(X509_set_pubkey(x509.get(), key));
  return x509;
}

void AddExtension(X509* x509, int nid, const std::string& value) {
  bssl::UniquePtr<X509_EXTENSION> extension(
      X509V3_EXT_nconf_nid(nullptr, nullptr, nid, value.c_str()));
  Must(extension != nullptr && X509_add_ext(x509, extension.get(), -1));
}

template <class Write>
std::string Pem(Write write) {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  Must(write(bio.get()));
  const uint8_t* data = nullptr;
  size_t length = 0;
  Must(BIO_mem_contents(bio.get(), &data, &length));
  return std::string(reinterpret_cast<const char*>(data), length);
}

}  // namespace

TestAuthority::TestAuthority(const std::string& name) { Begin(name, this); }

TestAuthority::TestAuthority(const std::string& name, TestAuthority* issuer) {
  Begin(name, issuer);
}

void TestAuthority::Begin(const std::string& name, TestAuthority* issuer) {
  key_ = MakeKey(TestKey::kEcdsa);
  x509_ = MakeCertificate(name, ++issuer->serial_, key_.get());
  AddExtension(x509_.get(), NID_basic_constraints, "critical,CA:TRUE");
  Must(X509_set_issuer_name(x509_.get(),
                            X509_get_subject_name(issuer->x509_.get())));
  Must(X509_sign(x509_.get(), issuer->key_.get(), EVP_sha256()));
  pem_ = Pem([&](BIO* bio) { return PEM_write_bio_X509(bio, x509_.get()); });
}

TestCertificate TestAuthority::Issue(const std::vector<std::string>& names,
                                     TestKey kind, bool with_alternatives) {
  TestCertificateSpec spec;
  spec.names = names;
  spec.kind = kind;
  spec.with_alternatives = with_alternatives;
  return Issue(spec);
}

TestCertificate TestAuthority::Issue(const TestCertificateSpec& spec) {
  bssl::UniquePtr<EVP_PKEY> key = MakeKey(spec.kind);
  bssl::UniquePtr<X509> x509 = MakeCertificate(
      spec.names.front(), ++serial_, key.get(), spec.from_day, spec.to_day);
  if (spec.with_alternatives) {
    std::vector<std::string> alternatives;
    for (const std::string& name : spec.names)
      alternatives.push_back(absl::StrCat("DNS:", name));
    for (const std::string& address : spec.addresses)
      alternatives.push_back(absl::StrCat("IP:", address));
    AddExtension(x509.get(), NID_subject_alt_name,
                 absl::StrJoin(alternatives, ","));
  }
  X509* const issuer = spec.self_signed ? x509.get() : x509_.get();
  EVP_PKEY* const signing = spec.self_signed ? key.get() : key_.get();
  Must(X509_set_issuer_name(x509.get(), X509_get_subject_name(issuer)));
  Must(X509_sign(x509.get(), signing, EVP_sha256()));
  TestCertificate out;
  out.certificate =
      Pem([&](BIO* bio) { return PEM_write_bio_X509(bio, x509.get()); });
  out.key = Pem([&](BIO* bio) {
    return PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0,
                                    nullptr, nullptr);
  });
  return out;
}

}  // namespace holdfast
