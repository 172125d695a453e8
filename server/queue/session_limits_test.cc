#include "server/queue/session_limits.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

class SessionLimitsTest : public ::testing::Test {
 protected:
  SessionLimitsTest() {
    config_.mta_limits.max_conn_per_connector = 20;
    config_.mta_domain_limits["slow.test"] = config_.mta_limits;
    config_.mta_domain_limits["slow.test"].max_conn_per_domain = 2;
    config_.mta_domain_limits["rcpt.test"] = config_.mta_limits;
    config_.mta_domain_limits["rcpt.test"].max_conn_per_relay = 3;
  }
  size_t To(const std::string& domain) {
    return MaxSessionsTo(config_, action_, domain);
  }
  static TableRef HostTable(const std::vector<std::string>& urls) {
    auto table =
        std::make_shared<Table>("hosts", Table::Kind::kList, "static", "");
    for (const std::string& url : urls) table->Add(url, "");
    return table;
  }

  Config config_;
  Action action_;
};

TEST_F(SessionLimitsTest, ByTheRecipientsDomainWhereMxAreLookedUp) {
  EXPECT_EQ(To("any.test"), 20u);
  EXPECT_EQ(To("Slow.test"), 2u);
  EXPECT_EQ(To("rcpt.test"), 3u);
}

TEST_F(SessionLimitsTest, ByTheSmarthostsNameWhereThereIsOne) {
  action_.host = HostTable({"smtp+tls://label@slow.test:587"});
  EXPECT_EQ(To("rcpt.test"), 2u);
  action_.host = HostTable({"other.test"});
  EXPECT_EQ(To("rcpt.test"), 20u);
}

TEST_F(SessionLimitsTest, SeveralSmarthostsAddUp) {
  action_.host = HostTable({"smtp://slow.test weight=3", "smtp://b.test"});
  EXPECT_EQ(To("rcpt.test"), 22u);
  action_.host = HostTable({"smtp://slow.test", "nonsense://b.test"});
  EXPECT_EQ(To("rcpt.test"), 2u);
}

TEST_F(SessionLimitsTest, NeverNone) {
  action_.host = HostTable({});
  EXPECT_EQ(To("rcpt.test"), 1u);
  action_.host = HostTable({"nonsense://b.test"});
  EXPECT_EQ(To("rcpt.test"), 1u);
  config_.mta_limits.max_conn_per_relay = 0;
  action_.host = nullptr;
  EXPECT_EQ(To("any.test"), 1u);
}

TEST_F(SessionLimitsTest, AHugeTableIsNotReadThrough) {
  std::vector<std::string> urls;
  for (size_t i = 0; i < 10 * kMaxCountedHosts; ++i) {
    urls.push_back("smtp://h" + std::to_string(i) + ".test");
  }
  action_.host = HostTable(urls);
  EXPECT_EQ(To("rcpt.test"), 20 * kMaxCountedHosts);
}

TEST_F(SessionLimitsTest, WhatAProgramNamesIsNotKnownYet) {
  const auto program =
      std::make_shared<Table>("pt", Table::Kind::kDynamic, "ldap", "");
  action_.host = program;
  EXPECT_EQ(To("any.test"), 20u);
  EXPECT_EQ(To("rcpt.test"), 3u);
  EXPECT_EQ(To("smtp://slow.test"), 2u);
  action_.host = nullptr;
  action_.domain = program;
  EXPECT_EQ(To("any.test"), 20u);
}

TEST_F(SessionLimitsTest, ADomainMapNamesTheSmarthost) {
  auto map = std::make_shared<Table>("map", Table::Kind::kMap, "static", "");
  map->Add("rcpt.test", "smtp://slow.test");
  action_.domain = map;
  EXPECT_EQ(To("rcpt.test"), 2u);
  EXPECT_EQ(To("unknown.test"), 1u);
}

}  // namespace
}  // namespace holdfast
