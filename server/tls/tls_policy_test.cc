// What a listener's options mean: certificates, versions, ciphers, clients'
// certificates, tickets.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/tls/tls_test_bed.h"

namespace holdfast {
namespace {

using testing::StartsWith;

class TlsPolicyTest : public testing::Test {
 protected:
  std::string KeyOf(const TestCertificate& certificate) {
    return PrivateKey::Parse(certificate.key)->id();
  }
  // The key of the certificate that this client is shown.
  std::string Shown(TlsServerContext* context, TestClient::Options client) {
    EXPECT_TRUE(bed_.Exchange(context, client)) << bed_.status;
    return bed_.client->server_key();
  }
  std::string ErrorOf(const TlsServerOptions& options) {
    return std::string(
        MakeTlsServerContext(options, &bed_.signer).status().message());
  }

  TlsTestBed bed_;
};

TestClient::Options For(const std::string& name) {
  TestClient::Options options;
  options.server_name = name;
  return options;
}

TEST_F(TlsPolicyTest, TheNameInTheCertificateDecides) {
  const auto first = bed_.authority.Issue({"mx.example.org", "mail.example"});
  const auto second = bed_.authority.Issue({"other.example.net"});
  const auto wild = bed_.authority.Issue({"*.wild.example"});
  const auto plain =
      bed_.authority.Issue({"cn.example"}, TestKey::kEcdsa, false);
  auto context = bed_.Context(bed_.Showing({first, second, wild, plain}));
  EXPECT_EQ(Shown(context.get(), For("")), KeyOf(first));
  EXPECT_EQ(Shown(context.get(), For("nobody.example")), KeyOf(first));
  EXPECT_EQ(Shown(context.get(), For("mail.example")), KeyOf(first));
  EXPECT_EQ(Shown(context.get(), For("OTHER.example.NET")), KeyOf(second));
  EXPECT_EQ(Shown(context.get(), For("a.wild.example")), KeyOf(wild));
  EXPECT_EQ(Shown(context.get(), For("a.b.wild.example")), KeyOf(first));
  EXPECT_EQ(Shown(context.get(), For("wild.example")), KeyOf(first));
  EXPECT_EQ(Shown(context.get(), For("cn.example")), KeyOf(plain));
}

TEST_F(TlsPolicyTest, TheClientChoosesTheKindOfKey) {
  const auto rsa = bed_.authority.Issue({"mx.example.org"}, TestKey::kRsa);
  const auto ecdsa = bed_.authority.Issue({"mx.example.org"});
  auto context = bed_.Context(bed_.Showing({rsa, ecdsa}));
  for (const char* name : {"", "mx.example.org"}) {
    for (uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      TestClient::Options client = For(name);
      client.max_version = version;
      EXPECT_EQ(Shown(context.get(), client), KeyOf(ecdsa));
      client.algorithms = "RSA-PSS+SHA256:RSA+SHA256";
      EXPECT_EQ(Shown(context.get(), client), KeyOf(rsa));
      client.algorithms = "ECDSA+SHA256";
      EXPECT_EQ(Shown(context.get(), client), KeyOf(ecdsa));
    }
  }
  TestClient::Options old;
  old.max_version = TLS1_2_VERSION;
  old.ciphers = "ECDHE-RSA-AES128-GCM-SHA256";
  EXPECT_EQ(Shown(context.get(), old), KeyOf(rsa));
  EXPECT_EQ(bed_.info.cipher, "ECDHE-RSA-AES128-GCM-SHA256");
}

TEST_F(TlsPolicyTest, NoCertificateForTheClient) {
  const auto rsa = bed_.authority.Issue({"mx.example.org"}, TestKey::kRsa);
  auto context = bed_.Context(bed_.Showing({rsa}));
  TestClient::Options client;
  client.algorithms = "ECDSA+SHA256";
  EXPECT_FALSE(bed_.Exchange(context.get(), client));
  EXPECT_EQ(bed_.answers, 1);
  EXPECT_FALSE(bed_.status.ok());
}

TEST_F(TlsPolicyTest, Protocols) {
  TlsServerOptions options =
      bed_.Showing({bed_.authority.Issue({"mx.example.org"})});
  options.protocols = "tlsv1.3";
  auto only13 = bed_.Context(options);
  options.protocols = "tlsv1.2";
  auto only12 = bed_.Context(options);
  TestClient::Options old;
  old.max_version = TLS1_2_VERSION;
  EXPECT_TRUE(bed_.Exchange(only13.get()));
  EXPECT_FALSE(bed_.Exchange(only13.get(), old));
  EXPECT_TRUE(bed_.Exchange(only12.get()));
  EXPECT_EQ(bed_.info.version, "TLSv1.2");
  options.protocols = "sslv3";
  EXPECT_EQ(ErrorOf(options), "failed to parse protocols \"sslv3\"");
}

TEST_F(TlsPolicyTest, Ciphers) {
  TlsServerOptions options =
      bed_.Showing({bed_.authority.Issue({"mx.example.org"}, TestKey::kRsa)});
  options.ciphers = "ECDHE-RSA-CHACHA20-POLY1305";
  auto context = bed_.Context(options);
  TestClient::Options client;
  client.max_version = TLS1_2_VERSION;
  EXPECT_TRUE(bed_.Exchange(context.get(), client));
  EXPECT_EQ(bed_.info.cipher, "ECDHE-RSA-CHACHA20-POLY1305");
  client.ciphers = "ECDHE-RSA-AES128-GCM-SHA256";
  EXPECT_FALSE(bed_.Exchange(context.get(), client));
  // `keys` signs and never decrypts.
  options.ciphers = "AES128-SHA";
  EXPECT_EQ(ErrorOf(options), "no ciphers for 'AES128-SHA'");
  options.ciphers = "nonsense";
  EXPECT_EQ(ErrorOf(options), "no ciphers for 'nonsense'");
  for (const char* good : {"", "secure", "default", "compat", "legacy", "all",
                           "insecure", "HIGH:!aNULL:!MD5"}) {
    options.ciphers = good;
    EXPECT_EQ(ErrorOf(options), "") << good;
  }
}

TEST_F(TlsPolicyTest, RsaKeyExchangeIsNotOffered) {
  TlsServerOptions options =
      bed_.Showing({bed_.authority.Issue({"mx.example.org"}, TestKey::kRsa)});
  options.ciphers = "insecure";
  auto context = bed_.Context(options);
  TestClient::Options client;
  client.max_version = TLS1_2_VERSION;
  client.ciphers = "kRSA";
  EXPECT_FALSE(bed_.Exchange(context.get(), client));
}

// ---- Clients' certificates

TEST_F(TlsPolicyTest, ACertificateIsDemanded) {
  TlsServerOptions options =
      bed_.Showing({bed_.authority.Issue({"mx.example.org"})});
  options.require_client = true;
  options.ca = bed_.authority.certificate();
  auto context = bed_.Context(options);
  const auto good = bed_.authority.Issue({"client.example"});
  TestAuthority stranger;
  const auto bad = stranger.Issue({"client.example"});
  for (uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TestClient::Options client;
    client.max_version = version;
    EXPECT_FALSE(bed_.Exchange(context.get(), client));
    EXPECT_TRUE(absl::IsUnauthenticated(bed_.status)) << bed_.status;
    client.certificate = &bad;
    EXPECT_FALSE(bed_.Exchange(context.get(), client));
    EXPECT_TRUE(absl::IsUnauthenticated(bed_.status)) << bed_.status;
    client.certificate = &good;
    EXPECT_TRUE(bed_.Exchange(context.get(), client)) << bed_.status;
    EXPECT_TRUE(bed_.info.peer_certificate);
    EXPECT_TRUE(bed_.info.peer_verified);
    EXPECT_EQ(bed_.info.peer_subject, "/CN=client.example");
    EXPECT_THAT(bed_.info.peer_fingerprint, StartsWith("SHA256:"));
    EXPECT_EQ(bed_.info.peer_fingerprint.size(), 7 + 64u);
  }
}

TEST_F(TlsPolicyTest, ACertificateIsAskedFor) {
  TlsServerOptions options =
      bed_.Showing({bed_.authority.Issue({"mx.example.org"})});
  options.ask_client = true;
  options.ca = bed_.authority.certificate();
  auto context = bed_.Context(options);
  EXPECT_TRUE(bed_.Exchange(context.get()));
  EXPECT_FALSE(bed_.info.peer_certificate);
  const auto good = bed_.authority.Issue({"client.example"});
  TestClient::Options client;
  client.certificate = &good;
  EXPECT_TRUE(bed_.Exchange(context.get(), client));
  EXPECT_TRUE(bed_.info.peer_verified);
  // Many mail servers show what nobody can verify; mail comes all the same.
  TestAuthority stranger;
  const auto unknown = stranger.Issue({"client\nexample"});
  client.certificate = &unknown;
  EXPECT_TRUE(bed_.Exchange(context.get(), client));
  EXPECT_TRUE(bed_.info.peer_certificate);
  EXPECT_FALSE(bed_.info.peer_verified);
  EXPECT_EQ(bed_.info.peer_subject.find('\n'), std::string::npos);
}

TEST_F(TlsPolicyTest, WhatTheFilesLack) {
  TlsServerOptions options;
  EXPECT_EQ(ErrorOf(options), "no certificate");
  options.certificates = {{"mx", "no PEM"}};
  EXPECT_EQ(ErrorOf(options), "pki mx: no certificate in it");
  options.certificates = {
      {"mx", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}};
  EXPECT_THAT(ErrorOf(options), StartsWith("pki mx: "));
  options.certificates = {
      {"mx", bed_.authority.Issue({"x"}, TestKey::kEd25519).certificate}};
  EXPECT_EQ(ErrorOf(options), "pki mx: key is neither RSA nor ECDSA");
  options = bed_.Showing({bed_.authority.Issue({"mx.example.org"})});
  options.require_client = true;
  EXPECT_EQ(ErrorOf(options), "ca: no certificate in it");
}

// ---- Tickets

class TicketTest : public TlsPolicyTest {
 protected:
  TicketTest()
      : certificate_(bed_.authority.Issue({"mx.example.org"})),
        options_(bed_.Showing({certificate_})) {}

  std::unique_ptr<TlsServerContext> With(const TlsServerOptions& options,
                                         const std::string& keys) {
    auto context = bed_.Context(options);
    context->SetTicketKeys(TlsTestBed::MakeTicketKeys(keys));
    return context;
  }
  // A client comes with a ticket of `from` to `to`.
  bool Resumes(TlsServerContext* from, TlsServerContext* to, uint16_t version) {
    TestClient::Options client;
    client.max_version = version;
    EXPECT_TRUE(bed_.Exchange(from, client));
    EXPECT_FALSE(bed_.info.resumed);
    const std::unique_ptr<TestClient> first = std::move(bed_.client);
    if (first->session() == nullptr) return false;
    client.session = first->session();
    EXPECT_TRUE(bed_.Exchange(to, client)) << bed_.status;
    return bed_.info.resumed;
  }

  TestCertificate certificate_;
  TlsServerOptions options_;
};

TEST_F(TicketTest, AllWorkersKnowATicket) {
  auto one = With(options_, "abc"), other = With(options_, "abc");
  for (uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    EXPECT_TRUE(Resumes(one.get(), one.get(), version));
    EXPECT_TRUE(Resumes(one.get(), other.get(), version));
  }
}

TEST_F(TicketTest, AResumedHandshakeNeedsNoSignature) {
  auto context = With(options_, "a");
  EXPECT_TRUE(Resumes(context.get(), context.get(), TLS1_3_VERSION));
  EXPECT_EQ(bed_.signer.seen.size(), 1u);
}

TEST_F(TicketTest, KeysChange) {
  for (uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    auto now = With(options_, "bac");     // b current, a previous, c next
    auto before = With(options_, "a.b");  // the worker that has not yet heard
    auto later = With(options_, "cbd");
    auto much_later = With(options_, "dce");
    EXPECT_TRUE(Resumes(before.get(), now.get(), version));
    EXPECT_TRUE(Resumes(now.get(), before.get(), version));
    EXPECT_TRUE(Resumes(now.get(), later.get(), version));
    EXPECT_FALSE(Resumes(now.get(), much_later.get(), version));
  }
}

TEST_F(TicketTest, WithoutKeysThereAreNone) {
  auto none = bed_.Context(options_);
  auto some = With(options_, "a");
  for (uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TestClient::Options client;
    client.max_version = version;
    EXPECT_TRUE(bed_.Exchange(none.get(), client));
    SSL_SESSION* const session = bed_.client->session();
    EXPECT_TRUE(session == nullptr || !SSL_SESSION_has_ticket(session));
  }
  EXPECT_FALSE(Resumes(some.get(), none.get(), TLS1_3_VERSION));
  EXPECT_FALSE(Resumes(some.get(), none.get(), TLS1_2_VERSION));
}

TEST_F(TicketTest, KeysOfAWrongFormAreNotTaken) {
  auto context = With(options_, "a");
  TicketKeys bad = TlsTestBed::MakeTicketKeys("b");
  bad.keys[0].secret.pop_back();
  context->SetTicketKeys(bad);
  auto same = With(options_, "a");
  EXPECT_TRUE(Resumes(context.get(), same.get(), TLS1_3_VERSION));
}

TEST_F(TicketTest, AnotherPolicyTakesNone) {
  auto mine = With(options_, "a");
  std::vector<TlsServerOptions> others(5, options_);
  others[0].policy = "submission";
  others[1].ask_client = true;
  others[1].ca = bed_.authority.certificate();
  others[2].ciphers = "secure";
  others[3].protocols = "secure";
  others[4] = bed_.Showing({bed_.authority.Issue({"mx.example.org"})});
  for (const TlsServerOptions& options : others) {
    auto other = With(options, "a");
    for (uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      EXPECT_FALSE(Resumes(mine.get(), other.get(), version));
      EXPECT_FALSE(Resumes(other.get(), mine.get(), version));
    }
  }
}

TEST_F(TicketTest, AResumedClientIsStillWhoItWas) {
  options_.require_client = true;
  options_.ca = bed_.authority.certificate();
  auto context = With(options_, "a");
  const auto good = bed_.authority.Issue({"client.example"});
  for (uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TestClient::Options client;
    client.max_version = version;
    client.certificate = &good;
    EXPECT_TRUE(bed_.Exchange(context.get(), client));
    const std::string fingerprint = bed_.info.peer_fingerprint;
    const std::unique_ptr<TestClient> first = std::move(bed_.client);
    client.session = first->session();
    EXPECT_TRUE(bed_.Exchange(context.get(), client));
    EXPECT_TRUE(bed_.info.resumed);
    EXPECT_TRUE(bed_.info.peer_verified);
    EXPECT_EQ(bed_.info.peer_fingerprint, fingerprint);
    EXPECT_EQ(bed_.info.peer_subject, "/CN=client.example");
  }
}

}  // namespace
}  // namespace holdfast
