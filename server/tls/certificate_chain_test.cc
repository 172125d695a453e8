#include "server/tls/certificate_chain.h"

#include <openssl/nid.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/tls/test_certificates.h"

namespace holdfast {
namespace {

using testing::ElementsAre;

TEST(CertificateChain, NamesAndKey) {
  TestAuthority authority;
  const TestCertificate leaf =
      authority.Issue({"MX.example.org", "*.Example.net"});
  const auto chain = ParseCertificateChain(
      leaf.key + "text\n" + leaf.certificate + authority.certificate());
  ASSERT_TRUE(chain.ok()) << chain.status();
  EXPECT_EQ(chain->certificates.size(), 2u);
  EXPECT_THAT(chain->names, ElementsAre("mx.example.org", "*.example.net"));
  EXPECT_EQ(chain->kind, CertificateChain::KeyKind::kEcdsa);
  EXPECT_EQ(chain->curve, NID_X9_62_prime256v1);
  EXPECT_EQ(chain->key.size(), 32u);
}

TEST(CertificateChain, TheCommonNameStandsInForNoNames) {
  TestAuthority authority;
  const auto chain = ParseCertificateChain(
      authority.Issue({"CN.example"}, TestKey::kRsa, false).certificate);
  ASSERT_TRUE(chain.ok());
  EXPECT_THAT(chain->names, ElementsAre("cn.example"));
  EXPECT_EQ(chain->kind, CertificateChain::KeyKind::kRsa);
}

TEST(CertificateChain, Covers) {
  CertificateChain chain;
  chain.names = {"a.example", "*.b.example"};
  EXPECT_TRUE(chain.Covers("a.example"));
  EXPECT_TRUE(chain.Covers("x.b.example"));
  for (const char* other : {"", ".", "x.a.example", "b.example", ".b.example",
                            "x.y.b.example", "xb.example", "a.example."})
    EXPECT_FALSE(chain.Covers(other)) << other;
}

TEST(CertificateChain, WhatIsNone) {
  EXPECT_EQ(ParseCertificateChain("").status().message(),
            "no certificate in it");
  TestAuthority authority;
  EXPECT_FALSE(ParseCertificateChain(
                   authority.certificate() +
                   "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----")
                   .ok());
  std::string many;
  for (int i = 0; i < 33; ++i) many += authority.certificate();
  EXPECT_EQ(ParseCertificateChain(many).status().message(),
            "too many certificates in it");
}

}  // namespace
}  // namespace holdfast
