// Whom a client believes, and what it says of the others.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/tls/client_context.h"
#include "server/tls/tls_test_bed.h"

namespace holdfast {
namespace {

using testing::StartsWith;

constexpr char kFailed[] = "certificate verification failed: ";

class TlsClientTest : public testing::Test {
 protected:
  TlsClientTest() { verifying_.ca = bed_.authority.certificate(); }

  // A server that shows `certificate`, and a client who wants `name` there.
  bool Works(const TestCertificate& certificate, const std::string& name) {
    server_ = bed_.Context(bed_.Showing({certificate}));
    client_ = bed_.Context(verifying_);
    return bed_.Exchange(server_.get(), client_.get(), name);
  }
  // Why not.
  std::string Refused(const TestCertificate& certificate,
                      const std::string& name) {
    EXPECT_FALSE(Works(certificate, name));
    EXPECT_EQ(bed_.ours.answers, 1);
    EXPECT_TRUE(absl::IsUnauthenticated(bed_.ours.status)) << bed_.ours.status;
    EXPECT_TRUE(bed_.ours.wire->dropped);
    EXPECT_FALSE(bed_.status.ok()) << "the server heard no alert";
    EXPECT_TRUE(bed_.ours.info.peer_certificate);
    EXPECT_FALSE(bed_.ours.info.peer_verified);
    EXPECT_EQ(bed_.ours.info.peer_fingerprint.size(), 7 + 64u);
    const std::string why(bed_.ours.status.message());
    EXPECT_EQ(why, kFailed + bed_.ours.info.peer_error);
    return bed_.ours.info.peer_error;
  }
  TestCertificate Issue(TestCertificateSpec spec) {
    return bed_.authority.Issue(spec);
  }

  TlsTestBed bed_;
  TlsClientOptions verifying_;
  std::unique_ptr<TlsServerContext> server_;
  std::unique_ptr<TlsClientContext> client_;
};

TEST_F(TlsClientTest, AValidCertificate) {
  ASSERT_TRUE(Works(bed_.authority.Issue({"mx.example.org"}), "mx.example.org"))
      << bed_.ours.status;
  const TlsInfo& info = bed_.ours.info;
  EXPECT_EQ(info.version, "TLSv1.3");
  EXPECT_EQ(info.cipher, bed_.info.cipher);
  EXPECT_TRUE(info.peer_certificate);
  EXPECT_TRUE(info.peer_verified);
  EXPECT_EQ(info.peer_error, "");
  EXPECT_EQ(info.peer_subject, "/CN=mx.example.org");
  EXPECT_THAT(info.peer_fingerprint, StartsWith("SHA256:"));
  EXPECT_FALSE(info.resumed);
}

TEST_F(TlsClientTest, AnySplitOfTheBytesWillDo) {
  const auto certificate = bed_.authority.Issue({"mx.example.org"});
  server_ = bed_.Context(bed_.Showing({certificate}));
  client_ = bed_.Context(verifying_);
  for (size_t piece : {1, 7, 300}) {
    bed_.Accept(server_.get());
    bed_.Connect(client_.get(), "mx.example.org");
    bed_.Talk(piece);
    ASSERT_TRUE(bed_.ours.stream != nullptr) << bed_.ours.status;
    bed_.ours.stream->Write("EHLO client.example\r\n");
    bed_.Talk(piece);
    EXPECT_EQ(bed_.got, "EHLO client.example\r\n");
  }
}

TEST_F(TlsClientTest, TheNameIsSaidAlways) {
  verifying_.verify = false;
  ASSERT_TRUE(Works(bed_.authority.Issue({"x"}), "MX.Example.org."));
  EXPECT_EQ(bed_.info.server_name, "mx.example.org");
  ASSERT_TRUE(Works(bed_.authority.Issue({"x"}), "192.0.2.25"));
  EXPECT_EQ(bed_.info.server_name, "");
}

TEST_F(TlsClientTest, WhatDoesNotHold) {
  const std::string mx = "mx.example.org";
  EXPECT_EQ(Refused(Issue({.names = {mx}, .self_signed = true}), mx),
            "self-signed certificate");
  EXPECT_EQ(Refused(Issue({.names = {mx}, .from_day = -3, .to_day = -1}), mx),
            "certificate has expired");
  EXPECT_EQ(Refused(Issue({.names = {mx}, .from_day = 1, .to_day = 3}), mx),
            "certificate is not yet valid");
  EXPECT_EQ(Refused(bed_.authority.Issue({"other.example.org"}), mx),
            "hostname mismatch");
  TestAuthority stranger("Another CA");
  EXPECT_EQ(Refused(stranger.Issue({mx}), mx),
            "unable to get local issuer certificate");
  // It shows its own authority with it.
  TestCertificate whole = stranger.Issue({mx});
  whole.certificate += stranger.certificate();
  EXPECT_EQ(Refused(whole, mx), "self-signed certificate in certificate chain");
}

TEST_F(TlsClientTest, IntermediateAuthorities) {
  TestAuthority between("Between", &bed_.authority);
  TestCertificate certificate = between.Issue({"mx.example.org"});
  EXPECT_EQ(Refused(certificate, "mx.example.org"),
            "unable to get local issuer certificate");
  certificate.certificate += between.certificate();
  EXPECT_TRUE(Works(certificate, "mx.example.org")) << bed_.ours.status;
}

TEST_F(TlsClientTest, WildCardsAreOneLabel) {
  const auto wild = bed_.authority.Issue({"*.example.org"});
  EXPECT_TRUE(Works(wild, "mx.example.org"));
  EXPECT_TRUE(Works(wild, "MX.EXAMPLE.ORG"));
  EXPECT_EQ(Refused(wild, "a.mx.example.org"), "hostname mismatch");
  EXPECT_EQ(Refused(wild, "example.org"), "hostname mismatch");
  EXPECT_EQ(
      Refused(bed_.authority.Issue({"mx*.example.org"}), "mx1.example.org"),
      "hostname mismatch");
  EXPECT_EQ(Refused(bed_.authority.Issue({"mx.*.org"}), "mx.example.org"),
            "hostname mismatch");
}

TEST_F(TlsClientTest, InternationalNamesAreALabels) {
  const auto idn = bed_.authority.Issue({"mx.xn--bcher-kva.example"});
  EXPECT_TRUE(Works(idn, "mx.xn--bcher-kva.example"));
  EXPECT_EQ(Refused(idn, "mx.xn--bcher-xyz.example"), "hostname mismatch");
  const auto wild = bed_.authority.Issue({"*.xn--bcher-kva.example"});
  EXPECT_TRUE(Works(wild, "mx.xn--bcher-kva.example"));
}

TEST_F(TlsClientTest, AddressLiterals) {
  const TestCertificate both =
      Issue({.names = {"mx.example.org"},
             .addresses = {"192.0.2.25", "2001:db8::25"}});
  EXPECT_TRUE(Works(both, "192.0.2.25"));
  EXPECT_TRUE(Works(both, "2001:DB8:0::25"));
  EXPECT_EQ(Refused(both, "192.0.2.26"), "IP address mismatch");
  // A name that looks like one is not one.
  EXPECT_EQ(Refused(bed_.authority.Issue({"192.0.2.25"}), "192.0.2.25"),
            "IP address mismatch");
}

TEST_F(TlsClientTest, TheCommonNameCountsWithoutAlternatives) {
  const auto plain =
      bed_.authority.Issue({"mx.example.org"}, TestKey::kEcdsa, false);
  EXPECT_TRUE(Works(plain, "mx.example.org"));
  TestCertificateSpec spec;
  spec.names = {"mx.example.org"};
  EXPECT_EQ(Refused(Issue(spec), "example.org"), "hostname mismatch");
}

TEST_F(TlsClientTest, WithoutAPolicyAnyCertificateWillDo) {
  verifying_.verify = false;
  EXPECT_TRUE(Works(Issue({.names = {"x.example"}, .self_signed = true}),
                    "mx.example.org"));
  EXPECT_FALSE(bed_.ours.info.peer_verified);
  EXPECT_TRUE(bed_.ours.info.peer_certificate);
  EXPECT_EQ(bed_.ours.info.peer_error, "self-signed certificate");
  // What holds is told, though nobody insists on it (REQUIRETLS asks).
  EXPECT_TRUE(
      Works(bed_.authority.Issue({"mx.example.org"}), "mx.example.org"));
  EXPECT_TRUE(bed_.ours.info.peer_verified);
  EXPECT_EQ(bed_.ours.info.peer_error, "");
  verifying_.ca.clear();
  EXPECT_TRUE(
      Works(bed_.authority.Issue({"mx.example.org"}), "mx.example.org"));
  EXPECT_FALSE(bed_.ours.info.peer_verified);
  EXPECT_EQ(bed_.ours.info.peer_error,
            "unable to get local issuer certificate");
}

TEST_F(TlsClientTest, WithoutANameNothingIsVerified) {
  EXPECT_FALSE(Works(bed_.authority.Issue({"mx.example.org"}), ""));
  EXPECT_EQ(bed_.ours.status,
            absl::InvalidArgumentError("server without a name"));
  EXPECT_FALSE(
      Works(bed_.authority.Issue({"mx.example.org"}), std::string(300, 'x')));
  EXPECT_FALSE(bed_.ours.status.ok());
}

TEST_F(TlsClientTest, TheChainIsBounded) {
  TestCertificate certificate = bed_.authority.Issue({"mx.example.org"});
  TestCertificate longer = certificate;
  for (int i = 0; i < 31; ++i) longer.certificate += certificate.certificate;
  EXPECT_TRUE(Works(longer, "mx.example.org")) << bed_.ours.status;
  // A certificate with thousands of names.
  TestCertificateSpec spec;
  for (int i = 0; i < 4000; ++i)
    spec.names.push_back("host" + std::to_string(i) + ".example.org");
  EXPECT_FALSE(Works(Issue(spec), "host1.example.org"));
  EXPECT_EQ(bed_.ours.status.message(), "excessive message size");
}

// ---- What the options mean

TEST_F(TlsClientTest, ProtocolsThatDoNotMeet) {
  TlsServerOptions options =
      bed_.Showing({bed_.authority.Issue({"mx.example.org"})});
  options.protocols = "tlsv1.2";
  server_ = bed_.Context(options);
  verifying_.protocols = "tlsv1.3";
  client_ = bed_.Context(verifying_);
  EXPECT_FALSE(bed_.Exchange(server_.get(), client_.get(), "mx.example.org"));
  EXPECT_EQ(bed_.ours.status.message(), "tlsv1 alert protocol version");
  verifying_.protocols = "";
  client_ = bed_.Context(verifying_);
  EXPECT_TRUE(bed_.Exchange(server_.get(), client_.get(), "mx.example.org"));
  EXPECT_EQ(bed_.ours.info.version, "TLSv1.2");
}

TEST_F(TlsClientTest, CiphersThatDoNotMeet) {
  TlsServerOptions options =
      bed_.Showing({bed_.authority.Issue({"mx.example.org"})});
  options.protocols = "tlsv1.2";
  options.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
  server_ = bed_.Context(options);
  verifying_.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
  client_ = bed_.Context(verifying_);
  EXPECT_FALSE(bed_.Exchange(server_.get(), client_.get(), "mx.example.org"));
  EXPECT_EQ(bed_.ours.status.message(), "handshake failure on client hello");
  verifying_.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
  client_ = bed_.Context(verifying_);
  EXPECT_TRUE(bed_.Exchange(server_.get(), client_.get(), "mx.example.org"));
  EXPECT_EQ(bed_.ours.info.cipher, "ECDHE-ECDSA-AES256-GCM-SHA384");
  EXPECT_EQ(bed_.ours.info.bits, 256);
}

TEST_F(TlsClientTest, OptionsThatMeanNothing) {
  auto error = [&](const TlsClientOptions& options) {
    return std::string(
        MakeTlsClientContext(options, &bed_.signer).status().message());
  };
  TlsClientOptions options;
  EXPECT_EQ(error(options), "ca: no certificate in it");
  options.verify = false;
  EXPECT_EQ(error(options), "");
  options.ciphers = "nonsense";
  EXPECT_EQ(error(options), "no ciphers for 'nonsense'");
  options.ciphers = "secure";
  options.protocols = "sslv3";
  EXPECT_EQ(error(options), "failed to parse protocols \"sslv3\"");
  options.protocols = "";
  options.certificate = TlsCertificate{"us", "no PEM"};
  EXPECT_EQ(error(options), "pki us: no certificate in it");
  options.certificate.reset();
  options.ca = "no PEM";
  EXPECT_EQ(error(options), "ca: no certificate in it");
  options.ca = bed_.authority.certificate() + bed_.authority.certificate();
  EXPECT_EQ(error(options), "") << "a bundle may name one twice";
}

TEST(VerifyErrorTextTest, OpenSslsWords) {
  EXPECT_EQ(VerifyErrorText(X509_V_ERR_CERT_HAS_EXPIRED),
            "certificate has expired");
  EXPECT_EQ(VerifyErrorText(X509_V_ERR_CERT_SIGNATURE_FAILURE),
            "certificate signature failure");
  EXPECT_EQ(VerifyErrorText(X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE),
            "unable to verify the first certificate");
  EXPECT_EQ(VerifyErrorText(X509_V_ERR_INVALID_PURPOSE),
            "unsupported certificate purpose");
}

}  // namespace
}  // namespace holdfast
