#include "server/tls/session_cache.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/tls/tls_test_bed.h"

namespace holdfast {
namespace {

class SessionCacheTest : public testing::Test {
 protected:
  // What a client gets from a server with this certificate.
  bssl::UniquePtr<SSL_SESSION> Session(uint16_t version,
                                       const TestCertificateSpec& spec) {
    auto context = bed_.Context(bed_.Showing({bed_.authority.Issue(spec)}));
    context->SetTicketKeys(TlsTestBed::MakeTicketKeys("a"));
    TestClient::Options client;
    client.max_version = version;
    EXPECT_TRUE(bed_.Exchange(context.get(), client)) << bed_.status;
    EXPECT_NE(bed_.client->session(), nullptr);
    return bssl::UpRef(bed_.client->session());
  }
  bssl::UniquePtr<SSL_SESSION> Session(uint16_t version) {
    return Session(version, {.names = {"mx.example.org"}});
  }

  TlsTestBed bed_;
  SessionCache cache_;
};

TEST_F(SessionCacheTest, OneOfTls13ServesOnceAnOldOneOften) {
  EXPECT_EQ(cache_.Take("mx"), nullptr);
  cache_.Add("mx", Session(TLS1_3_VERSION));
  EXPECT_NE(cache_.Take("mx"), nullptr);
  EXPECT_EQ(cache_.Take("mx"), nullptr);
  cache_.Add("mx", Session(TLS1_2_VERSION));
  EXPECT_NE(cache_.Take("mx"), nullptr);
  EXPECT_NE(cache_.Take("mx"), nullptr);
  EXPECT_EQ(cache_.Take("other"), nullptr);
}

TEST_F(SessionCacheTest, TheNewestComesFirst) {
  bssl::UniquePtr<SSL_SESSION> first = Session(TLS1_3_VERSION),
                               second = Session(TLS1_3_VERSION);
  cache_.Add("mx", bssl::UpRef(first));
  cache_.Add("mx", bssl::UpRef(second));
  EXPECT_EQ(cache_.Take("mx"), second);
  EXPECT_EQ(cache_.Take("mx"), first);
  EXPECT_EQ(cache_.size(), 0u);
}

TEST_F(SessionCacheTest, OneNameHasItsShareOnly) {
  bssl::UniquePtr<SSL_SESSION> session = Session(TLS1_3_VERSION);
  cache_.Add("other", bssl::UpRef(session));
  for (size_t i = 0; i < SessionCache::kMaxSessionsOfName + 5; ++i)
    cache_.Add("mx", bssl::UpRef(session));
  EXPECT_EQ(cache_.size(), SessionCache::kMaxSessionsOfName + 1);
  EXPECT_NE(cache_.Take("other"), nullptr);
}

TEST_F(SessionCacheTest, TheOldestGo) {
  bssl::UniquePtr<SSL_SESSION> session = Session(TLS1_2_VERSION);
  for (size_t i = 0; i < SessionCache::kMaxSessions + 10; ++i)
    cache_.Add(absl::StrCat("mx", i), bssl::UpRef(session));
  EXPECT_EQ(cache_.size(), SessionCache::kMaxSessions);
  EXPECT_EQ(cache_.Take("mx9"), nullptr);
  EXPECT_NE(cache_.Take("mx10"), nullptr);
}

TEST_F(SessionCacheTest, NoneOutlivesItsCertificate) {
  cache_.Add("mx", Session(TLS1_2_VERSION, {.names = {"mx.example.org"},
                                            .from_day = -3,
                                            .to_day = -1}));
  EXPECT_EQ(cache_.size(), 1u);
  EXPECT_EQ(cache_.Take("mx"), nullptr);
  EXPECT_EQ(cache_.size(), 0u);
}

TEST_F(SessionCacheTest, ALongChainIsNotKept) {
  TestCertificateSpec spec;
  for (size_t i = 0; i < SessionCache::kMaxChain / 20; ++i)
    spec.names.push_back(absl::StrCat("host-", i, ".example.org"));
  cache_.Add("mx", Session(TLS1_3_VERSION, spec));
  EXPECT_EQ(cache_.size(), 0u);
}

}  // namespace
}  // namespace holdfast
