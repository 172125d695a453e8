#include "config/relay_text.h"

#include <memory>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

TableRef Named(const std::string& name) {
  return std::make_shared<Table>(name, Table::Kind::kMap, "static", "");
}

TEST(RelayText, AnMxRelayHasNoPort) {
  Action action;
  EXPECT_EQ(RelayText(&action, "example.org", false, ""),
            "[relay:example.org,smtp]");
  EXPECT_EQ(RelayText(&action, "bk.test", false, "mx.example.org"),
            "[relay:bk.test,smtp,backup=mx.example.org]");
  EXPECT_EQ(RelayText(nullptr, "example.org", false, ""),
            "[relay:example.org,smtp]");
  action.tls = Action::Tls::kRequired;
  EXPECT_EQ(RelayText(&action, "example.org", false, ""),
            "[relay:example.org,smtp+tls]");
}

TEST(RelayText, ASmarthostAlwaysHasOne) {
  Action action;
  EXPECT_EQ(RelayText(&action, "smtp://mx.test", true, ""),
            "[relay:mx.test,port=25,smtp,mx]");
  action.auth = Named("secrets");
  action.pki = "mx.example.org";
  action.src = Named("sources");
  action.helo_src = Named("names");
  action.helo = "helo.example.org";
  EXPECT_EQ(RelayText(&action, "smtps://lab@mx.tls.test:4650", true, ""),
            "[relay:mx.tls.test,port=4650,smtps,auth=secrets:lab,"
            "pki_name=mx.example.org,mx,sourcetable=sources,helotable=names,"
            "heloname=helo.example.org]");
}

TEST(RelayText, LmtpActions) {
  EXPECT_EQ(RelayText(nullptr, "lmtp://lmtp.test:24", false, ""),
            "[relay:lmtp.test,port=24,lmtp,mx]");
  EXPECT_EQ(RelayText(nullptr, "lmtp:/run/lmtp", false, ""),
            "[relay:/run/lmtp,lmtp,mx]");
}

TEST(RelayText, DomainOfWhatCannotBeParsed) {
  EXPECT_EQ(RelayDomain("nonsense://x", true), "nonsense://x");
  EXPECT_EQ(RelayDomain("smtps://l@mx.test:99", true), "mx.test");
  EXPECT_EQ(RelayDomain("example.org", false), "example.org");
}

}  // namespace
}  // namespace holdfast
