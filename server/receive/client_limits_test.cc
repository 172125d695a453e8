#include "server/receive/client_limits.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

const absl::Time kNoon = absl::FromUnixSeconds(1790000000 / 60 * 60);

class ClientLimitsTest : public testing::Test {
 protected:
  using Visit = std::unique_ptr<ClientLimits::Visit>;
  ClientLimitsTest() {
    limits_.max_sessions_per_source = 2;
    limits_.max_sessions_per_network = 3;
    limits_.max_connects_per_source = 5;
    limits_.max_mails_per_source = 4;
  }
  // The limit that acts on one that comes now; `*visit` stays otherwise.
  LimitVerdict Come(const std::string& address, Visit* visit = nullptr) {
    LimitVerdict verdict;
    Visit made = all_.Admit(*IpAddress::Parse(address), now_, &verdict);
    EXPECT_EQ(made != nullptr, verdict.allowed());
    if (visit != nullptr) *visit = std::move(made);
    return verdict;
  }

  absl::StatusOr<OwnedFd> memory_ = ClientTable::MakeMemory(1, 99);
  std::unique_ptr<ClientTable> table_ = *ClientTable::Map(memory_->get(), 0);
  SmtpLimits limits_;
  absl::Time now_ = kNoon;
  ClientLimits all_{&limits_, table_.get()};
};

TEST_F(ClientLimitsTest, SessionsOfASource) {
  Visit a, b, c;
  EXPECT_TRUE(Come("192.0.2.1", &a).allowed());
  EXPECT_TRUE(Come("192.0.2.1", &b).allowed());
  const LimitVerdict third = Come("192.0.2.1");
  EXPECT_EQ(third.limit, ClientLimit::kSessionsOfSource);
  EXPECT_FALSE(third.hard);
  a.reset();
  EXPECT_TRUE(Come("192.0.2.1", &c).allowed());
}

TEST_F(ClientLimitsTest, SessionsOfANetwork) {
  Visit a, b, c, d;
  EXPECT_TRUE(Come("2001:db8:1:1::1", &a).allowed());
  EXPECT_TRUE(Come("2001:db8:1:2::1", &b).allowed());
  EXPECT_TRUE(Come("2001:db8:1:3::1", &c).allowed());
  EXPECT_EQ(Come("2001:db8:1:4::1").limit, ClientLimit::kSessionsOfNetwork);
  EXPECT_TRUE(Come("2001:db8:2:1::1", &d).allowed());
}

TEST_F(ClientLimitsTest, ConnectsSoftBeforeHard) {
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Come("192.0.2.1").allowed());
  for (int i = 0; i < 5; ++i) {
    const LimitVerdict verdict = Come("192.0.2.1");
    EXPECT_EQ(verdict.limit, ClientLimit::kConnectsOfSource);
    EXPECT_FALSE(verdict.hard);
  }
  EXPECT_TRUE(Come("192.0.2.1").hard);
  EXPECT_TRUE(Come("192.0.2.2").allowed());
  now_ += absl::Minutes(2);
  EXPECT_TRUE(Come("192.0.2.1").allowed());
}

TEST_F(ClientLimitsTest, MailsSoftBeforeHard) {
  Visit visit;
  Come("192.0.2.1", &visit);
  ASSERT_NE(visit, nullptr);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(visit->OnMail(now_).allowed());
  for (int i = 0; i < 4; ++i) {
    const LimitVerdict verdict = visit->OnMail(now_);
    EXPECT_EQ(verdict.limit, ClientLimit::kMailsOfSource);
    EXPECT_FALSE(verdict.hard);
  }
  EXPECT_TRUE(visit->OnMail(now_).hard);
  now_ += absl::Minutes(2);
  EXPECT_TRUE(visit->OnMail(now_).allowed());
}

TEST_F(ClientLimitsTest, ZeroIsNoLimit) {
  limits_ = SmtpLimits();
  limits_.max_sessions_per_source = 0;
  limits_.max_sessions_per_network = 0;
  limits_.max_connects_per_source = 0;
  std::vector<Visit> all(1000);
  for (Visit& visit : all) {
    EXPECT_TRUE(Come("192.0.2.1", &visit).allowed());
    ASSERT_NE(visit, nullptr);
    EXPECT_TRUE(visit->OnMail(now_).allowed());
  }
}

TEST_F(ClientLimitsTest, LoopbackIsNotCounted) {
  std::vector<Visit> all(100);
  for (Visit& visit : all) EXPECT_TRUE(Come("127.0.0.1", &visit).allowed());
  for (Visit& visit : all) EXPECT_TRUE(Come("::1", &visit).allowed());
}

TEST_F(ClientLimitsTest, NothingIsCountedWithoutATable) {
  ClientLimits none(&limits_, nullptr);
  LimitVerdict verdict;
  std::vector<Visit> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(none.Admit(*IpAddress::Parse("192.0.2.1"), now_, &verdict));
    ASSERT_NE(all.back(), nullptr);
    EXPECT_TRUE(all.back()->OnMail(now_).allowed());
  }
}

// Sources without a place are judged by their network.
TEST_F(ClientLimitsTest, AFullTableCountsByNetwork) {
  limits_.max_sessions_per_network = 0;
  limits_.max_sessions_per_source = 0;
  std::vector<ClientTable::Place> taken;
  for (uint64_t key = 1; key < 4 * kClientSources; ++key) {
    const auto place = table_->Find(ClientScope::kSource, key, now_);
    if (!place) continue;
    table_->Open(*place);
    taken.push_back(*place);
  }
  ASSERT_EQ(taken.size(), kClientSources);
  const uint32_t most = limits_.max_connects_per_source * kNetworkShare;
  for (uint32_t i = 0; i < most; ++i)
    EXPECT_TRUE(Come("192.0.2." + std::to_string(i + 1)).allowed());
  EXPECT_EQ(Come("192.0.2.200").limit, ClientLimit::kConnectsOfSource);
  EXPECT_TRUE(Come("192.0.3.1").allowed());
}

}  // namespace
}  // namespace holdfast
