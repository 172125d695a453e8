#include "server/tls/relay_tls.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/tls/tls_test_bed.h"

namespace holdfast {
namespace {

class RelayTlsTest : public testing::Test {
 protected:
  RelayTlsTest() : mine_(bed_.authority.Issue({"client.example.org"})) {
    bed_.signer.Add(mine_);
    config_.pkis["us"].cert = "/us.crt";
    config_.cas["partners"].cert = "/ca.crt";
    files_ = {{"/us.crt", mine_.certificate, false, ""},
              {"/ca.crt", bed_.authority.certificate(), false, ""},
              {kSystemAuthorities, stranger_.certificate(), false, ""}};
    action_.position = {"smtpd.conf", 7};
    server_options_ = bed_.Showing({bed_.authority.Issue({"mx.example.org"})});
    server_options_.ask_client = true;
    server_options_.ca = bed_.authority.certificate();
    server_ = bed_.Context(server_options_);
  }
  std::string Error(bool verify = true) {
    RelayTls tls(config_, files_, &bed_.signer);
    return std::string(tls.For(action_, verify).status().message());
  }
  bool Works(bool verify) {
    tls_ = std::make_unique<RelayTls>(config_, files_, &bed_.signer);
    const auto context = tls_->For(action_, verify);
    EXPECT_TRUE(context.ok()) << context.status();
    return context.ok() &&
           bed_.Exchange(server_.get(), *context, "mx.example.org");
  }

  TlsTestBed bed_;
  TestAuthority stranger_{"The system's"};
  TestCertificate mine_;
  Config config_;
  std::vector<Start::File> files_;
  Action action_;
  TlsServerOptions server_options_;
  std::unique_ptr<TlsServerContext> server_;
  std::unique_ptr<RelayTls> tls_;
};

TEST_F(RelayTlsTest, WhoIsBelieved) {
  EXPECT_FALSE(Works(true));
  EXPECT_EQ(bed_.ours.status.message(),
            "certificate verification failed: unable to get local issuer "
            "certificate");
  EXPECT_TRUE(Works(false));
  EXPECT_FALSE(bed_.ours.info.peer_verified);
  action_.ca = "partners";
  EXPECT_TRUE(Works(true));
  EXPECT_TRUE(bed_.ours.info.peer_verified);
  files_[2].contents = bed_.authority.certificate();
  action_.ca.clear();
  EXPECT_TRUE(Works(true));
}

// RFC 8689: a message may want what the action does not insist on.
TEST_F(RelayTlsTest, OpportunisticTlsKnowsWhetherTheNameIsProven) {
  files_[2].contents = bed_.authority.certificate();
  EXPECT_TRUE(Works(false));
  EXPECT_TRUE(bed_.ours.info.peer_verified);
  action_.tls = Action::Tls::kNoVerify;
  EXPECT_TRUE(Works(false));
  EXPECT_FALSE(bed_.ours.info.peer_verified);
  // Without the system's list, or with one that is broken, all goes on.
  action_.tls = Action::Tls::kOpportunistic;
  files_[2].contents = "-----BEGIN CERTIFICATE-----\njunk\n";
  EXPECT_TRUE(Works(false));
  EXPECT_FALSE(bed_.ours.info.peer_verified);
  files_.pop_back();
  EXPECT_TRUE(Works(false));
  EXPECT_FALSE(bed_.ours.info.peer_verified);
}

TEST_F(RelayTlsTest, TheCertificateOfThePki) {
  action_.pki = "us";
  EXPECT_TRUE(Works(false)) << bed_.ours.status;
  EXPECT_TRUE(bed_.info.peer_verified);
  EXPECT_EQ(bed_.info.peer_subject, "/CN=client.example.org");
}

TEST_F(RelayTlsTest, CiphersOfTheActionOrOfAll) {
  action_.protocols = "tlsv1.2";
  config_.smtp_ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
  EXPECT_TRUE(Works(false));
  EXPECT_EQ(bed_.ours.info.cipher, "ECDHE-ECDSA-AES256-GCM-SHA384");
  EXPECT_EQ(bed_.ours.info.version, "TLSv1.2");
  action_.ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305";
  EXPECT_TRUE(Works(false));
  EXPECT_EQ(bed_.ours.info.cipher, "ECDHE-ECDSA-CHACHA20-POLY1305");
}

TEST_F(RelayTlsTest, OnePolicyOneContext) {
  RelayTls tls(config_, files_, &bed_.signer);
  Action other = action_;
  other.name = "other";
  std::vector<TlsClientContext*> contexts = {*tls.For(action_, true)};
  EXPECT_EQ(*tls.For(other, true), contexts[0]);
  auto add = [&](const Action& action, bool verify) {
    contexts.push_back(*tls.For(action, verify));
  };
  add(action_, false);
  other.pki = "us";
  add(other, true);
  other.pki.clear();
  other.ca = "partners";
  add(other, true);
  other.ca.clear();
  other.ciphers = "secure";
  add(other, true);
  other.ciphers.clear();
  other.protocols = "secure";
  add(other, true);
  for (size_t i = 0; i < contexts.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_NE(contexts[i], contexts[j]);
  }
}

TEST_F(RelayTlsTest, WhatIsWrong) {
  EXPECT_EQ(Error(), "");
  files_.pop_back();
  EXPECT_EQ(Error(), "smtpd.conf:7: ca: no certificate in it");
  EXPECT_EQ(Error(false), "");
  action_.ca = "nobody";
  EXPECT_EQ(Error(), "smtpd.conf:7: client ca \"nobody\" not found");
  action_.ca = "partners";
  action_.pki = "nobody";
  EXPECT_EQ(Error(), "smtpd.conf:7: client pki \"nobody\" not found");
  action_.pki.clear();
  action_.ciphers = "nonsense";
  EXPECT_EQ(Error(), "smtpd.conf:7: no ciphers for 'nonsense'");
}

}  // namespace
}  // namespace holdfast
