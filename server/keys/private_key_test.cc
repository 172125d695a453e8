#include "server/keys/private_key.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "gtest/gtest.h"
#include "server/tls/test_certificates.h"

namespace holdfast {
namespace {

bssl::UniquePtr<EVP_PKEY> PublicKeyOf(const TestCertificate& certificate) {
  bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(certificate.certificate.data(),
                                           certificate.certificate.size()));
  bssl::UniquePtr<X509> x509(
      PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  return bssl::UniquePtr<EVP_PKEY>(X509_get_pubkey(x509.get()));
}

// As a client of TLS verifies.
bool Verifies(EVP_PKEY* key, uint16_t algorithm, const std::string& input,
              const std::string& signature) {
  bssl::ScopedEVP_MD_CTX context;
  EVP_PKEY_CTX* of_key = nullptr;
  if (!EVP_DigestVerifyInit(context.get(), &of_key,
                            SSL_get_signature_algorithm_digest(algorithm),
                            nullptr, key))
    return false;
  if (SSL_is_signature_algorithm_rsa_pss(algorithm)) {
    EVP_PKEY_CTX_set_rsa_padding(of_key, 6);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(of_key, -1);
  }
  return EVP_DigestVerify(
             context.get(), reinterpret_cast<const uint8_t*>(signature.data()),
             signature.size(), reinterpret_cast<const uint8_t*>(input.data()),
             input.size()) == 1;
}

TEST(PrivateKey, SignsWithWhatFits) {
  TestAuthority authority;
  const std::string input(130, ' ');
  for (const TestKey kind : {TestKey::kRsa, TestKey::kEcdsa}) {
    const TestCertificate certificate = authority.Issue({"x"}, kind);
    const auto key = PrivateKey::Parse(certificate.key);
    ASSERT_TRUE(key.ok()) << key.status();
    const auto public_key = PublicKeyOf(certificate);
    EXPECT_EQ(key->id(), KeyIdOf(public_key.get()));
    const bool rsa = kind == TestKey::kRsa;
    for (uint16_t algorithm :
         {SSL_SIGN_RSA_PKCS1_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA256,
          SSL_SIGN_RSA_PSS_RSAE_SHA512}) {
      const auto signature = key->Sign(algorithm, input);
      ASSERT_EQ(signature.ok(), rsa);
      if (rsa) {
        EXPECT_TRUE(Verifies(public_key.get(), algorithm, input, *signature));
      }
    }
    const auto signature = key->Sign(SSL_SIGN_ECDSA_SECP256R1_SHA256, input);
    ASSERT_EQ(signature.ok(), !rsa);
    if (!rsa) {
      EXPECT_TRUE(Verifies(public_key.get(), SSL_SIGN_ECDSA_SECP256R1_SHA256,
                           input, *signature));
    }
    for (uint16_t bad :
         {0, 0xffff, SSL_SIGN_RSA_PKCS1_SHA1, SSL_SIGN_ECDSA_SHA1,
          SSL_SIGN_RSA_PKCS1_MD5_SHA1, SSL_SIGN_ED25519})
      EXPECT_FALSE(key->Sign(bad, input).ok()) << bad;
  }
}

TEST(PrivateKey, WhatIsNoKeyForUs) {
  TestAuthority authority;
  EXPECT_FALSE(PrivateKey::Parse("").ok());
  EXPECT_FALSE(PrivateKey::Parse(authority.certificate()).ok());
  EXPECT_EQ(PrivateKey::Parse(authority.Issue({"x"}, TestKey::kEd25519).key)
                .status()
                .message(),
            "key is neither RSA nor ECDSA");
}

TEST(PrivateKey, APassphraseOpensIt) {
  TestAuthority authority;
  const TestCertificate plain = authority.Issue({"x"});
  bssl::UniquePtr<BIO> in(BIO_new_mem_buf(plain.key.data(), plain.key.size()));
  bssl::UniquePtr<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
  bssl::UniquePtr<BIO> out(BIO_new(BIO_s_mem()));
  char secret[] = "secret";
  ASSERT_TRUE(PEM_write_bio_PKCS8PrivateKey(
      out.get(), key.get(), EVP_aes_256_cbc(), secret, 6, nullptr, nullptr));
  const uint8_t* data = nullptr;
  size_t length = 0;
  ASSERT_TRUE(BIO_mem_contents(out.get(), &data, &length));
  const std::string pem(reinterpret_cast<const char*>(data), length);
  EXPECT_TRUE(absl::IsPermissionDenied(PrivateKey::Parse(pem).status()));
  EXPECT_TRUE(
      absl::IsPermissionDenied(PrivateKey::Parse(pem, "wrong").status()));
  const auto opened = PrivateKey::Parse(pem, "secret");
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->id(), PrivateKey::Parse(plain.key)->id());
  const auto text = opened->ToPem();
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(PrivateKey::Parse(*text)->id(), opened->id());
}

}  // namespace
}  // namespace holdfast
