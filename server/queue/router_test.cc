#include "server/queue/router.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace holdfast {
namespace {

using Answer = SlotAnswer::Result;
using Event = SlotReport::Event;
using ::testing::ElementsAre;

constexpr WorkerId kWorker{1};
constexpr WorkerId kOther{2};

class RouterTest : public ::testing::Test {
 protected:
  SlotRequest Request(std::vector<SlotRequest::Host> hosts,
                      std::string domain = "example.net",
                      std::string source = "") {
    SlotRequest r;
    r.question = 9;
    r.target.action = "out";
    r.target.domain = domain;
    r.domain = domain;
    r.source = source;
    r.hosts = std::move(hosts);
    return r;
  }
  SlotAnswer Ask(const SlotRequest& r, WorkerId worker = kWorker) {
    const SlotAnswer a = router_.Ask(worker, r, now_);
    EXPECT_EQ(a.question, 9u);
    return a;
  }
  // A slot that must be granted.
  uint64_t Get(const SlotRequest& r, WorkerId worker = kWorker) {
    const SlotAnswer a = Ask(r, worker);
    EXPECT_EQ(a.result, Answer::kGranted);
    return a.slot;
  }
  void Tell(uint64_t slot, Event event, WorkerId worker = kWorker) {
    SlotReport report;
    report.slot = slot;
    report.event = event;
    EXPECT_TRUE(router_.Report(worker, report, now_));
  }
  // Opens one connection and proves its route.
  uint64_t Prove(const SlotRequest& r) {
    const uint64_t slot = Get(r);
    Tell(slot, Event::kReady);
    return slot;
  }

  Config config_;
  std::vector<std::string> log_;
  Router router_{&config_,
                 [this](const std::string& line) { log_.push_back(line); }};
  absl::Duration now_ = absl::Seconds(1000);
};

const SlotRequest::Host kA{"192.0.2.1", "a.test", 10};
const SlotRequest::Host kB{"192.0.2.2", "b.test", 10};
const SlotRequest::Host kC{"192.0.2.3", "c.test", 20};

TEST_F(RouterTest, OneConnectionUntilTheRouteIsProven) {
  const SlotRequest r = Request({kA});
  const uint64_t first = Get(r);
  const SlotAnswer second = Ask(r);
  EXPECT_EQ(second.result, Answer::kLater);
  EXPECT_EQ(second.delay, Router::kProvingDelay);
  now_ += absl::Seconds(2);
  EXPECT_EQ(Ask(r).delay, absl::Milliseconds(500));
  now_ += absl::Seconds(200);
  EXPECT_EQ(Ask(r).delay, Router::kLimitDelay);
  Tell(first, Event::kReady);
  EXPECT_EQ(Ask(r).result, Answer::kGranted);
  EXPECT_EQ(Ask(r).result, Answer::kGranted);
}

TEST_F(RouterTest, FewestConnectionsWithinALevelFirstOnTies) {
  const SlotRequest r = Request({kA, kB, kC});
  SlotAnswer a = Ask(r);
  EXPECT_EQ(a.host, 0u);
  Tell(a.slot, Event::kReady);
  a = Ask(r);
  EXPECT_EQ(a.host, 1u);
  Tell(a.slot, Event::kReady);
  EXPECT_EQ(Ask(r).host, 0u);
}

TEST_F(RouterTest, NextLevelOnlyWhenNothingMerelyWaits) {
  const SlotRequest r = Request({kA, kC});
  const uint64_t first = Get(r);
  EXPECT_EQ(Ask(r).result, Answer::kLater) << "A is being proven";
  Tell(first, Event::kFailed);
  const SlotAnswer a = Ask(r);
  EXPECT_EQ(a.result, Answer::kGranted);
  EXPECT_EQ(a.host, 1u) << "A is disabled, so C";
  Tell(a.slot, Event::kFailed);
  EXPECT_EQ(Ask(r).result, Answer::kNoRoute);
}

TEST_F(RouterTest, PenaltyDisablesAndTimeEnables) {
  const SlotRequest r = Request({{"192.0.2.9", "h9.test", 0}});
  Tell(Get(r), Event::kFailed);
  EXPECT_THAT(
      log_,
      ElementsAre(
          "smtp-out: Disabling route [] <-> 192.0.2.9 (h9.test) for 15s"));
  EXPECT_EQ(router_.NextWake(), now_ + absl::Seconds(15));
  now_ += absl::Milliseconds(14999);
  EXPECT_EQ(Ask(r).result, Answer::kNoRoute);
  now_ += absl::Milliseconds(1);
  EXPECT_EQ(Ask(r).result, Answer::kGranted);
  EXPECT_EQ(log_.back(), "smtp-out: Enabling route [] <-> 192.0.2.9 (h9.test)");
  EXPECT_EQ(router_.NextWake(), absl::InfiniteDuration());
}

TEST_F(RouterTest, AnOperatorEnablesAtOnce) {
  const SlotRequest r = Request({{"192.0.2.9", "h9.test", 0}});
  Tell(Get(r), Event::kFailed);
  EXPECT_EQ(Ask(r).result, Answer::kNoRoute);
  router_.EnableAll();
  EXPECT_EQ(log_.back(),
            "smtp-out: Enabling route [] <-> 192.0.2.9 (h9.test) per admin "
            "request");
  EXPECT_EQ(router_.NextWake(), absl::InfiniteDuration());
  // The penalty is gone, too: 15 s again, not a minute.
  Tell(Get(r), Event::kFailed);
  EXPECT_EQ(router_.NextWake(), now_ + absl::Seconds(15));
}

TEST_F(RouterTest, RouteTextsOfInet6AndSources) {
  const SlotRequest r =
      Request({{"2001:db8::1", "", 0}}, "example.net", "2001:db8::7");
  Tell(Get(r), Event::kFailed);
  EXPECT_THAT(log_, ElementsAre("smtp-out: Disabling route [2001:db8::7] <-> "
                                "[2001:db8::1] (2001:db8::1) for 15s"));
}

TEST_F(RouterTest, AProvenRouteIsNotDisabledByLaterErrors) {
  const SlotRequest r = Request({kA});
  const uint64_t first = Prove(r);
  Tell(Get(r), Event::kFailed);
  Tell(first, Event::kFailed);
  EXPECT_TRUE(log_.empty());
  EXPECT_EQ(Ask(r).result, Answer::kGranted);
}

TEST_F(RouterTest, ProofEndsWithDisuse) {
  const SlotRequest r = Request({kA});
  Tell(Prove(r), Event::kClosed);
  now_ += Router::kProofLife + absl::Seconds(1);
  Get(r);
  EXPECT_EQ(Ask(r).delay, Router::kProvingDelay);
}

// Each limit by itself: how many are granted before kLater.
struct LimitCase {
  const char* name;
  uint32_t MtaLimits::*limit;
};

TEST_F(RouterTest, EveryLimitHolds) {
  const std::vector<LimitCase> cases = {
      {"host", &MtaLimits::max_conn_per_host},
      {"route", &MtaLimits::max_conn_per_route},
      {"source", &MtaLimits::max_conn_per_source},
      {"connector", &MtaLimits::max_conn_per_connector},
      {"relay", &MtaLimits::max_conn_per_relay},
      {"domain", &MtaLimits::max_conn_per_domain},
  };
  for (const LimitCase& c : cases) {
    SCOPED_TRACE(c.name);
    Config config;
    config.mta_limits.*c.limit = 3;
    Router router(&config, [](const std::string&) {});
    const SlotRequest r = Request({kA});
    std::vector<uint64_t> slots;
    for (int i = 0; i < 3; ++i) {
      const SlotAnswer a = router.Ask(kWorker, r, now_);
      ASSERT_EQ(a.result, Answer::kGranted);
      slots.push_back(a.slot);
      router.Report(kWorker, {a.slot, Event::kReady, ""}, now_);
    }
    const SlotAnswer a = router.Ask(kWorker, r, now_);
    EXPECT_EQ(a.result, Answer::kLater);
    EXPECT_EQ(a.delay, Router::kLimitDelay);
    router.Report(kWorker, {slots[1], Event::kClosed, ""}, now_);
    EXPECT_EQ(router.Ask(kWorker, r, now_).result, Answer::kGranted);
  }
}

TEST_F(RouterTest, EveryDelayHolds) {
  const std::vector<LimitCase> cases = {
      {"host", &MtaLimits::conn_delay_host},
      {"route", &MtaLimits::conn_delay_route},
      {"source", &MtaLimits::conn_delay_source},
      {"connector", &MtaLimits::conn_delay_connector},
      {"relay", &MtaLimits::conn_delay_relay},
      {"domain", &MtaLimits::conn_delay_domain},
  };
  for (const LimitCase& c : cases) {
    SCOPED_TRACE(c.name);
    Config config;
    config.mta_limits.*c.limit = 7;
    Router router(&config, [](const std::string&) {});
    const SlotRequest r = Request({kA});
    const SlotAnswer first = router.Ask(kWorker, r, now_);
    ASSERT_EQ(first.result, Answer::kGranted);
    router.Report(kWorker, {first.slot, Event::kReady, ""}, now_);
    const SlotAnswer early =
        router.Ask(kWorker, r, now_ + absl::Milliseconds(2500));
    EXPECT_EQ(early.result, Answer::kLater);
    EXPECT_EQ(early.delay, absl::Milliseconds(4500));
    EXPECT_EQ(router.Ask(kWorker, r, now_ + absl::Seconds(7)).result,
              Answer::kGranted);
  }
}

TEST_F(RouterTest, ReconnectDelayCountsFromTheDisconnect) {
  config_.mta_limits.reconn_delay_route = 3;
  const SlotRequest r = Request({kA});
  const uint64_t slot = Prove(r);
  now_ += absl::Seconds(100);
  Tell(slot, Event::kClosed);
  now_ += absl::Seconds(1);
  EXPECT_EQ(Ask(r).delay, absl::Seconds(2));
  now_ += absl::Seconds(2);
  EXPECT_EQ(Ask(r).result, Answer::kGranted);
}

TEST_F(RouterTest, ADomainHasItsOwnSet) {
  config_.mta_limits.max_conn_per_domain = 50;
  MtaLimits one;
  one.max_conn_per_domain = 1;
  config_.mta_domain_limits["slow.test"] = one;
  const SlotRequest slow = Request({kA}, "slow.test");
  Prove(slow);
  EXPECT_EQ(Ask(slow).delay, Router::kLimitDelay);
  EXPECT_EQ(Ask(Request({kA}, "fast.test")).result, Answer::kGranted);
}

TEST_F(RouterTest, HostsAreSharedBetweenDomains) {
  config_.mta_limits.max_conn_per_host = 2;
  Prove(Request({kA}, "one.test"));
  Prove(Request({kA}, "two.test"));
  EXPECT_EQ(Ask(Request({kA}, "three.test")).result, Answer::kLater);
  EXPECT_EQ(Ask(Request({kB}, "three.test")).result, Answer::kGranted);
}

TEST_F(RouterTest, FamilyOfSourceAndOfTheLimitSet) {
  const SlotRequest::Host v6{"2001:db8::1", "six.test", 10};
  EXPECT_EQ(Ask(Request({v6, kA}, "x.test", "192.0.2.77")).host, 1u);
  EXPECT_EQ(Ask(Request({v6}, "x.test", "192.0.2.77")).result,
            Answer::kNoRoute);
  config_.mta_limits.family = MtaLimits::Family::kInet6;
  EXPECT_EQ(Ask(Request({kB}, "y.test")).result, Answer::kNoRoute);
  EXPECT_EQ(Ask(Request({kB, v6}, "y.test")).host, 1u);
}

TEST_F(RouterTest, SlotsOfADeadWorkerAreFree) {
  config_.mta_limits.max_conn_per_host = 1;
  const SlotRequest r = Request({kA});
  Prove(r);
  EXPECT_EQ(Ask(r, kOther).result, Answer::kLater);
  router_.DropWorker(kWorker, now_);
  EXPECT_EQ(router_.slots(), 0u);
  EXPECT_EQ(Ask(r, kOther).result, Answer::kGranted);
}

TEST_F(RouterTest, AWorkerCannotReportAnothersSlot) {
  const uint64_t slot = Get(Request({kA}));
  EXPECT_FALSE(router_.Report(kOther, {slot, Event::kFailed, ""}, now_));
  EXPECT_FALSE(router_.Report(kWorker, {slot + 1, Event::kClosed, ""}, now_));
  EXPECT_EQ(router_.slots(), 1u);
  Tell(slot, Event::kClosed);
  EXPECT_FALSE(router_.Report(kWorker, {slot, Event::kClosed, ""}, now_));
}

TEST_F(RouterTest, NoHostsNoRoute) {
  EXPECT_EQ(Ask(Request({})).result, Answer::kNoRoute);
}

TEST_F(RouterTest, WhatIsUnusedIsForgottenButLimitsStay) {
  config_.mta_limits.max_conn_per_source = 1000000;
  const uint64_t kept = Prove(Request({{"192.0.2.250", "kept", 0}}, "kept"));
  for (int i = 0; i < 20000; ++i) {
    const std::string address = absl::StrCat("10.0.", i / 250, ".", i % 250);
    Tell(Get(Request({{address, "h", 0}}, absl::StrCat("d", i))),
         Event::kClosed);
    now_ += absl::Seconds(1);
  }
  EXPECT_LE(router_.routes(), Router::kMaxRemembered + 1);
  // The one in use is still counted.
  Tell(kept, Event::kClosed);
  EXPECT_EQ(router_.slots(), 0u);
}

}  // namespace
}  // namespace holdfast
