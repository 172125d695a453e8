#include "config/tls_use.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using System = TlsUse::System;

class TlsUseTest : public testing::Test {
 protected:
  TlsUseTest() {
    for (const char* name : {"mx", "client"}) config_.pkis[name].name = name;
    for (const char* name : {"partners", "*"}) config_.cas[name].name = name;
  }
  Action& Relay(const std::string& name) {
    Action& action = config_.actions[name];
    action.name = name;
    action.method = ActionMethod::kRelay;
    return action;
  }
  System OfRelays() { return TlsOfRelays(config_).system; }

  Config config_;
  const TableRef table_ =
      std::make_shared<Table>("hops", Table::Kind::kList, "static", "");
};

TEST_F(TlsUseTest, EachSideHasItsOwn) {
  Listener listener;
  listener.pki = {"mx", "unknown"};
  listener.ca = "partners";
  listener.tls_verify = true;
  config_.listeners.push_back(listener);
  Action& action = Relay("out");
  action.pki = "client";
  action.ca = "*";
  action.tls = Action::Tls::kRequired;
  const TlsUse in = TlsOfListeners(config_), out = TlsOfRelays(config_);
  EXPECT_THAT(in.pkis, ElementsAre("mx"));
  EXPECT_THAT(in.cas, ElementsAre("partners"));
  EXPECT_EQ(in.system, System::kNo);
  EXPECT_THAT(out.pkis, ElementsAre("client"));
  EXPECT_THAT(out.cas, ElementsAre("*"));
  EXPECT_EQ(out.system, System::kNo);
  config_.listeners[0].ca.clear();
  EXPECT_EQ(TlsOfListeners(config_).system, System::kYes);
}

TEST_F(TlsUseTest, WhoVerifiesWithTheSystemsAuthorities) {
  Relay("mx").ca = "partners";
  EXPECT_EQ(OfRelays(), System::kNo);
  config_.actions["mx"].ca.clear();
  EXPECT_EQ(OfRelays(), System::kIfThere);
  Action& smart = Relay("smart");
  smart.host = table_;
  EXPECT_EQ(OfRelays(), System::kPerhaps);
  smart.tls = Action::Tls::kNoVerify;
  EXPECT_EQ(OfRelays(), System::kIfThere);
  smart.tls = Action::Tls::kRequired;
  EXPECT_EQ(OfRelays(), System::kYes);
  smart.ca = "partners";
  EXPECT_EQ(OfRelays(), System::kIfThere);
  Relay("mapped").domain = table_;
  EXPECT_EQ(OfRelays(), System::kPerhaps);
}

TEST_F(TlsUseTest, OnlyRelaysCount) {
  Action& local = Relay("local");
  local.method = ActionMethod::kMaildir;
  local.pki = "client";
  EXPECT_THAT(TlsOfRelays(config_).pkis, IsEmpty());
}

}  // namespace
}  // namespace holdfast
