// What operators see of the router and may do to it; and that it stays small.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/queue/router.h"

namespace holdfast {
namespace {

using Answer = SlotAnswer::Result;
using Event = SlotReport::Event;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr WorkerId kWorker{1};
constexpr WorkerId kOther{2};
const SlotRequest::Host kA{"192.0.2.1", "a.test", 10};
const SlotRequest::Host kSix{"2001:db8::1", "six.test", 10};

class RouterActsTest : public ::testing::Test {
 protected:
  RouterActsTest() {
    Add("out", Action::Tls::kOpportunistic);
    Add("strict", Action::Tls::kRequired);
    Add("loose", Action::Tls::kNoVerify);
  }
  void Add(const std::string& name, Action::Tls tls) {
    Action& action = config_.actions[name];
    action.name = name;
    action.method = ActionMethod::kRelay;
    action.tls = tls;
  }
  RelayTarget Target(const std::string& domain,
                     const std::string& action = "out") {
    RelayTarget t;
    t.action = action;
    t.domain = domain;
    return t;
  }
  SlotRequest Request(std::vector<SlotRequest::Host> hosts,
                      std::string domain = "example.net",
                      std::string source = "", std::string action = "out") {
    SlotRequest r;
    r.target = Target(domain, action);
    r.domain = domain;
    r.source = source;
    r.hosts = std::move(hosts);
    return r;
  }
  SlotAnswer Ask(const SlotRequest& r) { return router_.Ask(kWorker, r, now_); }
  uint64_t Get(const SlotRequest& r) {
    const SlotAnswer a = Ask(r);
    EXPECT_EQ(a.result, Answer::kGranted) << a.failure;
    return a.slot;
  }
  void Tell(uint64_t slot, Event event, const std::string& ptr = "") {
    EXPECT_TRUE(router_.Report(kWorker, {slot, event, ptr}, now_));
  }

  Config config_;
  std::vector<std::string> log_;
  Router router_{&config_,
                 [this](const std::string& line) { log_.push_back(line); }};
  absl::Duration now_ = absl::Seconds(1000);
};

TEST_F(RouterActsTest, HostsAreNamedOnceDnsHasSaidIt) {
  const uint64_t slot = Get(Request({kA}));
  EXPECT_THAT(router_.HostLines(now_),
              ElementsAre("192.0.2.1 (null) refcount=1 nconn=1 lastconn=0s\n"));
  Tell(slot, Event::kReady, "mail.a.test");
  now_ += absl::Seconds(65);
  Tell(Get(Request({kSix})), Event::kClosed);
  EXPECT_THAT(
      router_.HostLines(now_),
      ElementsAre("192.0.2.1 mail.a.test refcount=1 nconn=1 lastconn=1m5s\n",
                  "2001:db8::1 2001:db8::1 refcount=1 nconn=0 lastconn=0s\n"));
}

TEST_F(RouterActsTest, RoutesHaveNumbersAndFlags) {
  const uint64_t one = Get(Request({kA}));
  EXPECT_THAT(router_.RouteLines(now_),
              ElementsAre("1. [] <-> 192.0.2.1 (a.test) N--- nconn=1 nerror=0 "
                          "penalty=0 timeout=-\n"));
  Tell(one, Event::kReady, "localhost");
  const uint64_t two = Get(Request({kSix}, "x.test", "2001:db8::7"));
  Tell(two, Event::kFailed);
  EXPECT_THAT(router_.RouteLines(now_),
              ElementsAre("1. [] <-> 192.0.2.1 (localhost) ---- nconn=1 "
                          "nerror=0 penalty=0 timeout=-\n",
                          "2. [2001:db8::7] <-> [2001:db8::1] (six.test) ND"
                          "Q- nconn=0 nerror=0 penalty=1 timeout=15s\n"));
  Tell(one, Event::kClosed);
  EXPECT_EQ(router_.RouteLines(now_).at(0),
            "1. [] <-> 192.0.2.1 (localhost) --QK nconn=0 nerror=0 penalty=0 "
            "timeout=5m\n");
}

TEST_F(RouterActsTest, RelaysWithTheirConnectors) {
  router_.AddTasks({kWorker, BatchId(1)}, Target("bk.test"), 3, 5);
  EXPECT_THAT(router_.RelayLinesOfAll(now_),
              ElementsAre("[relay:bk.test,smtp] refcount=1 ntask=3 nconn=0 "
                          "lastconn=- timeout=- wait=MX\n"));
  const SlotRequest r = Request({kA}, "bk.test");
  const uint64_t slot = Get(r);
  EXPECT_THAT(router_.RelayLinesOfAll(now_),
              ElementsAre("[relay:bk.test,smtp] refcount=2 ntask=3 nconn=1 "
                          "lastconn=0s timeout=- wait=\n"
                          "  connector [] refcount=0 nconn=1 lastconn=0s "
                          "timeout=- flags=\n"));
  Tell(slot, Event::kReady);
  config_.mta_limits.max_conn_per_relay = 1;
  EXPECT_EQ(Ask(r).result, Answer::kLater);
  EXPECT_THAT(router_.RelayLinesOfAll(now_),
              ElementsAre("[relay:bk.test,smtp] refcount=2 ntask=3 nconn=1 "
                          "lastconn=0s timeout=1s wait=connector\n"
                          "  connector [] refcount=0 nconn=1 lastconn=0s "
                          "timeout=1s flags=WAIT,LIMIT_RELAY\n"));
  router_.EndTasks({kWorker, BatchId(1)});
  Tell(slot, Event::kClosed);
  EXPECT_THAT(router_.RelayLinesOfAll(now_), IsEmpty());
}

TEST_F(RouterActsTest, EveryLimitHasItsFlag) {
  const struct {
    uint32_t MtaLimits::*limit;
    const char* flag;
  } cases[] = {
      {&MtaLimits::max_conn_per_host, "LIMIT_HOST"},
      {&MtaLimits::max_conn_per_route, "LIMIT_ROUTE"},
      {&MtaLimits::max_conn_per_source, "LIMIT_SOURCE"},
      {&MtaLimits::max_conn_per_connector, "LIMIT_CONN"},
      {&MtaLimits::max_conn_per_domain, "LIMIT_DOMAIN"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.flag);
    Config config = config_;
    config.mta_limits.*c.limit = 1;
    Router router(&config, [](const std::string&) {});
    const SlotAnswer a = router.Ask(kWorker, Request({kA}), now_);
    ASSERT_EQ(a.result, Answer::kGranted);
    router.Report(kWorker, {a.slot, Event::kReady, ""}, now_);
    EXPECT_EQ(router.Ask(kWorker, Request({kA}), now_).result, Answer::kLater);
    EXPECT_THAT(
        router.RelayLinesOfAll(now_).at(0),
        ::testing::HasSubstr(absl::StrCat("flags=WAIT,", c.flag, "\n")));
  }
}

TEST_F(RouterActsTest, OnHoldFromHiwatToLowat) {
  config_.mta_limits.task_hiwat = 10;
  config_.mta_limits.task_lowat = 4;
  for (uint64_t i = 1; i <= 3; ++i) {
    router_.AddTasks({kWorker, BatchId(i)}, Target("h.test"), 4, 4);
  }
  EXPECT_THAT(router_.RelayLinesOfAll(now_).at(0),
              ::testing::HasSubstr(" ntask=12 "));
  EXPECT_THAT(router_.RelayLinesOfAll(now_).at(0),
              ::testing::HasSubstr("wait=MXONHOLD\n"));
  router_.EndTasks({kWorker, BatchId(1)});
  EXPECT_THAT(router_.RelayLinesOfAll(now_).at(0),
              ::testing::HasSubstr("ONHOLD"));
  router_.EndTasks({kWorker, BatchId(3)});
  router_.EndTasks({kWorker, BatchId(3)});  // told again
  EXPECT_THAT(router_.RelayLinesOfAll(now_).at(0),
              ::testing::HasSubstr(" ntask=4 nconn=0 lastconn=- timeout=- "
                                   "wait=MX\n"));
}

TEST_F(RouterActsTest, ActionsWithOtherPoliciesNeverShareARelay) {
  for (const std::string action : {"out", "strict", "loose"}) {
    const std::string address = absl::StrCat("192.0.2.", action.size());
    Get(Request({{address, "h", 0}}, "one.test", "", action));
  }
  EXPECT_EQ(router_.relays(), 3u);
  EXPECT_EQ(router_.RelayLinesOfAll(now_).size(), 3u);
  // What counts by relay counts for each of them.
  config_.mta_limits.max_conn_per_relay = 1;
  EXPECT_EQ(Ask(Request({kA}, "one.test", "", "strict")).result,
            Answer::kLater);
}

TEST_F(RouterActsTest, EqualPoliciesShareOne) {
  Add("twin", Action::Tls::kOpportunistic);
  Get(Request({kA}, "One.test"));
  Get(Request({kSix}, "one.test", "", "twin"));
  EXPECT_EQ(router_.relays(), 1u);
}

TEST_F(RouterActsTest, ARouteByItsNumber) {
  Tell(Get(Request({kA})), Event::kFailed);
  EXPECT_FALSE(router_.EnableRoute(2));
  EXPECT_TRUE(router_.EnableRoute(1));
  EXPECT_EQ(log_.back(),
            "smtp-out: Enabling route [] <-> 192.0.2.1 (a.test) per admin "
            "request");
  EXPECT_EQ(router_.NextWake(), absl::InfiniteDuration());

  EXPECT_TRUE(router_.DisableRoute(1));
  EXPECT_FALSE(router_.DisableRoute(7));
  EXPECT_EQ(router_.RouteLines(now_).at(0),
            "1. [] <-> 192.0.2.1 (a.test) ND-- nconn=0 nerror=0 penalty=0 "
            "timeout=-\n");
  now_ += absl::Hours(24);
  router_.EnableAll();
  const SlotAnswer refused = Ask(Request({kA}));
  EXPECT_EQ(refused.result, Answer::kNoRoute) << "until it is enabled";
  EXPECT_EQ(refused.failure, "No valid route to destination");
  EXPECT_TRUE(router_.EnableRoute(1));
  EXPECT_EQ(Ask(Request({kA})).result, Answer::kGranted);
}

TEST_F(RouterActsTest, ARestingRouteMayBeDisabledForGood) {
  Tell(Get(Request({kA})), Event::kFailed);
  EXPECT_TRUE(router_.DisableRoute(1));
  EXPECT_EQ(router_.NextWake(), absl::InfiniteDuration());
}

TEST_F(RouterActsTest, BlocksArePairsOfSourceAndDomain) {
  EXPECT_TRUE(router_.Block("192.0.2.77", "Example.NET"));
  EXPECT_TRUE(router_.Block("", "other.test"));
  EXPECT_THAT(router_.BlockLines(),
              ElementsAre("[] -> other.test\n", "192.0.2.77 -> example.net\n"));
  const SlotAnswer blocked = Ask(Request({kA}, "example.net", "192.0.2.77"));
  EXPECT_EQ(blocked.result, Answer::kNoRoute);
  EXPECT_EQ(blocked.failure, "All routes to destination blocked");
  EXPECT_EQ(Ask(Request({kA}, "OTHER.test")).failure, blocked.failure);
  EXPECT_EQ(Ask(Request({kA}, "example.net")).result, Answer::kGranted);
  router_.Unblock("192.0.2.77", "EXAMPLE.net");
  router_.Unblock("192.0.2.99", "nobody");
  EXPECT_NE(Ask(Request({kA}, "example.net", "192.0.2.77")).result,
            Answer::kNoRoute);
}

TEST_F(RouterActsTest, BlocksAreBounded) {
  for (size_t i = 0; i < Router::kMaxBlocks; ++i) {
    EXPECT_TRUE(router_.Block("", absl::StrCat("d", i)));
  }
  EXPECT_FALSE(router_.Block("", "one.more"));
}

TEST_F(RouterActsTest, WhyThereIsNoRoute) {
  EXPECT_EQ(Ask(Request({})).failure, "No MX found for destination");
  EXPECT_EQ(Ask(Request({kSix}, "x", "192.0.2.77")).failure,
            "Address family mismatch on destination MXs");
  Tell(Get(Request({kA})), Event::kFailed);
  EXPECT_EQ(Ask(Request({kA})).failure, "Network error on destination MXs");
}

TEST_F(RouterActsTest, UnixSocketsAreRoutesByTheirPath) {
  const SlotRequest::Host socket{"", "/run/lmtp", 0};
  Get(Request({socket}, "/run/lmtp"));
  EXPECT_EQ(router_.RouteLines(now_).at(0),
            "1. [] <-> /run/lmtp (/run/lmtp) N--- nconn=1 nerror=0 penalty=0 "
            "timeout=-\n");
}

TEST_F(RouterActsTest, CountsForStatistics) {
  router_.AddTasks({kWorker, BatchId(1)}, Target("example.net"), 3, 5);
  Tell(Get(Request({kA})), Event::kReady);
  const RouterCounts c = router_.Counts();
  EXPECT_EQ(c.relays, 1u);
  EXPECT_EQ(c.connectors, 1u);
  EXPECT_EQ(c.domains, 1u);
  EXPECT_EQ(c.sources, 1u);
  EXPECT_EQ(c.hosts, 1u);
  EXPECT_EQ(c.routes, 1u);
  EXPECT_EQ(c.sessions, 1u);
  EXPECT_EQ(c.tasks, 3u);
  EXPECT_EQ(c.envelopes, 5u);
  EXPECT_EQ(c.running, 1u);
}

TEST_F(RouterActsTest, AWorkerTakesItsTasksAlong) {
  router_.AddTasks({kWorker, BatchId(1)}, Target("example.net"), 3, 5);
  router_.AddTasks({kOther, BatchId(2)}, Target("example.net"), 1, 1);
  router_.DropWorker(kWorker, now_);
  EXPECT_EQ(router_.Counts().tasks, 1u);
}

// Who answers for domains may name addresses without end, none of which
// answers.
TEST_F(RouterActsTest, RoutesThatRestAreBounded) {
  for (int i = 0; i < 30000; ++i) {
    const std::string address =
        absl::StrCat("10.", i / 62500, ".", i / 250 % 250, ".", i % 250);
    Tell(Get(Request({{address, "h", 0}}, absl::StrCat("d", i))),
         Event::kFailed);
    now_ += absl::Milliseconds(1);
  }
  now_ += absl::Seconds(2);
  Ask(Request({kA}));
  EXPECT_LE(router_.routes(), Router::kMaxRemembered + 1);
  EXPECT_LE(router_.hosts(), Router::kMaxRemembered + 1);
  EXPECT_LE(router_.relays(), Router::kMaxRemembered + 1);
}

TEST_F(RouterActsTest, QuestionsAloneCostNoMemory) {
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(Ask(Request({}, absl::StrCat("d", i))).result, Answer::kNoRoute);
  }
  EXPECT_EQ(router_.relays(), 0u);
}

TEST_F(RouterActsTest, WhatIsTooLongToBeANameIsNotRemembered) {
  const std::string text(Router::kMaxText + 1, 'x');
  std::vector<SlotRequest> requests(6, Request({kA}));
  requests[0].domain = text;
  requests[1].source = text;
  requests[2].target.domain = text;
  requests[3].target.backup_name = text;
  requests[4].hosts.front().address = text;
  requests[5].hosts.front().name = text;
  for (const SlotRequest& r : requests) {
    const SlotAnswer answer = Ask(r);
    EXPECT_EQ(answer.result, Answer::kNoRoute);
    EXPECT_EQ(answer.failure, "No valid route to destination");
  }
  EXPECT_EQ(router_.hosts() + router_.relays() + router_.routes(), 0u);
  Tell(Get(Request({kA})), Event::kReady, text);
  EXPECT_LT(router_.HostLines(now_).front().size(), text.size() + 100);
}

TEST_F(RouterActsTest, SlotsAreBounded) {
  config_.mta_limits.max_conn_per_source = 1000000;
  for (size_t i = 0; i < Router::kMaxSlots; ++i) {
    const std::string address =
        absl::StrCat("10.", i / 62500, ".", i / 250 % 250, ".", i % 250);
    Get(Request({{address, "h", 0}}, absl::StrCat("d", i)));
  }
  EXPECT_EQ(Ask(Request({kA}, "more")).result, Answer::kLater);
  EXPECT_EQ(router_.slots(), Router::kMaxSlots);
}

TEST_F(RouterActsTest, LongDelaysOutliveDisuse) {
  config_.mta_limits.conn_delay_host = 3600;
  Router router(&config_, [](const std::string&) {});
  const SlotAnswer a = router.Ask(kWorker, Request({kA}), now_);
  router.Report(kWorker, {a.slot, Event::kClosed, ""}, now_);
  now_ += absl::Minutes(50);
  router.Ask(kWorker, Request({kSix}, "y"), now_);
  const SlotAnswer again = router.Ask(kWorker, Request({kA}, "z"), now_);
  EXPECT_EQ(again.result, Answer::kLater);
  EXPECT_EQ(again.delay, absl::Minutes(10));
}

}  // namespace
}  // namespace holdfast
