#include "server/queue/next_hops.h"

#include <memory>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using Entries = std::vector<std::pair<std::string, std::string>>;

std::shared_ptr<Table> MakeTable(Table::Kind kind, const Entries& entries) {
  auto table = std::make_shared<Table>("hubs", kind, "static", "");
  for (const auto& [key, value] : entries) table->Add(key, value);
  return table;
}

class NextHopsTest : public ::testing::Test {
 protected:
  Action& Out() {
    Action& action = config_.actions["out"];
    action.name = "out";
    action.method = ActionMethod::kRelay;
    return action;
  }
  void UseHosts(std::vector<std::string> urls) {
    Entries entries;
    for (std::string& url : urls) entries.emplace_back(std::move(url), "");
    Out().host = MakeTable(Table::Kind::kList, entries);
  }
  std::string Next(const std::string& domain = "example.net") {
    NextHops::Batch batch;
    batch.domain = domain;
    batch.backup_name = "mx.example.org";
    const auto target = hops_.TargetOf(Out(), batch, now_);
    if (!target.ok()) return std::string(target.status().message());
    EXPECT_EQ(target->action, "out");
    EXPECT_EQ(target->backup_name, "mx.example.org");
    EXPECT_EQ(target->smarthost, Out().host != nullptr || Out().domain);
    return target->domain;
  }

  Config config_;
  NextHops hops_{&config_, nullptr};
  absl::Duration now_ = absl::Seconds(100);
};

TEST_F(NextHopsTest, WithoutAHostTheMxOfTheDomain) {
  EXPECT_EQ(Next("example.com"), "example.com");
}

TEST_F(NextHopsTest, UrlsComeWithoutTheirWeights) {
  UseHosts({"smtp://a.test:26 weight=3"});
  EXPECT_EQ(Next(), "smtp://a.test:26");
}

TEST_F(NextHopsTest, FailOver) {
  UseHosts({"smtp://a.test", "smtp://b.test"});
  EXPECT_TRUE(hops_.OnFailed("out", "smtp://a.test", now_));
  EXPECT_EQ(Next(), "smtp://b.test");
  EXPECT_EQ(Next(), "smtp://b.test");
  EXPECT_FALSE(hops_.OnFailed("out", "smtp://b.test", now_));
  hops_.OnWorks("out", "smtp://a.test");
  EXPECT_EQ(Next(), "smtp://a.test");
  EXPECT_FALSE(hops_.OnFailed("gone", "smtp://a.test", now_));
  hops_.OnWorks("gone", "x");
  hops_.OnUntried("gone", "x");
}

TEST_F(NextHopsTest, AUrlThatCannotBeUsedIsPassedOver) {
  UseHosts({"nonsense://a", "smtp://b.test", "smtps://me@c.test"});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Next(), "smtp://b.test");
  EXPECT_FALSE(hops_.OnFailed("out", "smtp://b.test", now_));
}

TEST_F(NextHopsTest, ErrorLines) {
  UseHosts({});
  EXPECT_EQ(Next(), "Cannot retrieve smarthost");
  UseHosts({"nonsense://a"});
  EXPECT_EQ(Next(), "Cannot parse smarthost");
  UseHosts({"smtps://me@a.test"});
  EXPECT_EQ(Next(), "No auth table for relaying");
  Out().auth = MakeTable(Table::Kind::kMap, {{"me", "user:secret"}});
  EXPECT_EQ(Next(), "smtps://me@a.test");
  Out().tls = Action::Tls::kRequired;
  UseHosts({"smtp+notls://a.test"});
  EXPECT_EQ(Next(), "TLS required for relaying");
  UseHosts({"lmtp://a.test:24"});
  EXPECT_EQ(Next(), "TLS required for relaying");
  UseHosts({"smtp://a.test"});
  EXPECT_EQ(Next(), "smtp://a.test");
}

TEST_F(NextHopsTest, DomainTable) {
  Out().domain = MakeTable(Table::Kind::kMap, {{"example.net", "smtp://n.test"},
                                               {"example.org", "wrong://x"}});
  EXPECT_EQ(Next("Example.NET"), "smtp://n.test");
  EXPECT_EQ(Next("example.org"), "Cannot parse smarthost");
  EXPECT_EQ(Next("example.com"), "Cannot retrieve smarthost");
}

TEST_F(NextHopsTest, TablesChangeAtAnyTime) {
  UseHosts({"smtp://a.test"});
  EXPECT_EQ(Next(), "smtp://a.test");
  TableContents::Builder builder(TableContents::Kind::kList);
  builder.Add("smtp://z.test", "");
  std::const_pointer_cast<Table>(Out().host)->Replace(builder.Finish());
  EXPECT_EQ(Next(), "smtp://z.test");
}

}  // namespace
}  // namespace holdfast
