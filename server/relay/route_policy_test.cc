#include "server/relay/route_policy.h"

#include <memory>
#include <string>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

class RoutePolicyTest : public ::testing::Test {
 protected:
  RoutePolicyTest() {
    action_.name = "out";
    action_.method = ActionMethod::kRelay;
  }

  static RelayTarget Url(const std::string& url) {
    RelayTarget target;
    target.action = "out";
    target.domain = url;
    target.smarthost = true;
    return target;
  }
  static RelayTarget Domain(const std::string& domain) {
    RelayTarget target = Url(domain);
    target.smarthost = false;
    return target;
  }

  // "smtp+tls verify port=25 host=mx.test label=lab", or why not.
  std::string Policy(const RelayTarget& target) {
    const auto made = MakeRoutePolicy(target, &action_);
    if (const auto* refusal = std::get_if<RouteRefusal>(&made)) {
      log_ = refusal->log;
      return refusal->text;
    }
    const auto& p = std::get<RoutePolicy>(made);
    std::string text = RelayProtocolName(p.protocol);
    if (p.verify) text += " verify";
    text += " port=" + std::to_string(p.port);
    if (!p.host.empty()) text += " host=" + p.host;
    if (!p.unix_path.empty()) text += " path=" + p.unix_path;
    if (!p.label.empty()) text += " label=" + p.label;
    return text;
  }

  void Auth() {
    action_.auth =
        std::make_shared<Table>("secrets", Table::Kind::kMap, "static", "");
  }

  Action action_;
  std::string log_;
};

TEST_F(RoutePolicyTest, EverySchemeOfAUrl) {
  EXPECT_EQ(Policy(Url("mx.test")), "smtp port=25 host=mx.test");
  EXPECT_EQ(Policy(Url("smtp://mx.test:26")), "smtp port=26 host=mx.test");
  EXPECT_EQ(Policy(Url("smtp+tls://mx.test")),
            "smtp+tls verify port=25 host=mx.test");
  EXPECT_EQ(Policy(Url("smtp+notls://mx.test")),
            "smtp+notls port=25 host=mx.test");
  EXPECT_EQ(Policy(Url("SMTPS://mx.test")),
            "smtps verify port=465 host=mx.test");
  EXPECT_EQ(Policy(Url("lmtp://mx.test:24")), "lmtp port=24 host=mx.test");
  EXPECT_EQ(Policy(Domain("mx.test")), "smtp port=25");
}

TEST_F(RoutePolicyTest, WhatLmtpActionsDeliverTo) {
  action_.method = ActionMethod::kLmtp;
  EXPECT_EQ(Policy(Domain("lmtp:/run/Lmtp")), "lmtp port=25 path=/run/Lmtp");
  EXPECT_EQ(Policy(Domain("lmtp://[::1]:24")), "lmtp port=24 host=[::1]");
  // Paths are not names: their case counts.
  EXPECT_NE(TargetKey(Domain("lmtp:/run/Lmtp"), &action_),
            TargetKey(Domain("lmtp:/run/lmtp"), &action_));
  EXPECT_EQ(TargetKey(Domain("A.test"), &action_),
            TargetKey(Domain("a.test"), &action_));
}

TEST_F(RoutePolicyTest, TheOptionTls) {
  action_.tls = Action::Tls::kRequired;
  EXPECT_EQ(Policy(Domain("a.test")), "smtp+tls verify port=25");
  EXPECT_EQ(Policy(Url("smtp://mx.test")),
            "smtp+tls verify port=25 host=mx.test");
  EXPECT_EQ(Policy(Url("smtps://mx.test")),
            "smtps verify port=465 host=mx.test");
  action_.tls = Action::Tls::kNoVerify;
  EXPECT_EQ(Policy(Domain("a.test")), "smtp+tls port=25");
  EXPECT_EQ(Policy(Url("smtp+tls://mx.test")), "smtp+tls port=25 host=mx.test");
  EXPECT_EQ(Policy(Url("smtps://mx.test")), "smtps port=465 host=mx.test");
}

TEST_F(RoutePolicyTest, OneUrlDoesNotChangeTheNext) {
  EXPECT_EQ(Policy(Url("smtps://mx.test")),
            "smtps verify port=465 host=mx.test");
  EXPECT_EQ(Policy(Url("smtp://mx.test")), "smtp port=25 host=mx.test");
}

TEST_F(RoutePolicyTest, WhatCannotBe) {
  EXPECT_EQ(Policy(Url("http://mx.test")), "Cannot parse smarthost");
  EXPECT_EQ(log_, "warn: Failed to parse smarthost http://mx.test");
  EXPECT_EQ(Policy(Url("smtps://lab@mx.test")), "No auth table for relaying");
  EXPECT_EQ(log_,
            "warn: No auth table on action \"out\" for relay "
            "smtps://lab@mx.test");
  Auth();
  EXPECT_EQ(Policy(Url("smtps://lab@mx.test")),
            "smtps verify port=465 host=mx.test label=lab");
  for (const Action::Tls tls :
       {Action::Tls::kRequired, Action::Tls::kNoVerify}) {
    action_.tls = tls;
    for (const char* url : {"smtp+notls://mx.test", "lmtp://mx.test:24"}) {
      EXPECT_EQ(Policy(Url(url)), "TLS required for relaying");
      EXPECT_EQ(log_, "warn: TLS required for action \"out\"");
    }
  }
}

TEST_F(RoutePolicyTest, NoControlCharactersInLogs) {
  Policy(Url("http://mx\r\n.test"));
  EXPECT_EQ(log_, "warn: Failed to parse smarthost http://mx\\r\\n.test");
}

}  // namespace
}  // namespace holdfast
