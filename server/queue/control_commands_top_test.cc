// What `smtpctl top` is told, from a queue in memory.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "protocol/top_snapshot.h"
#include "protocol/wire.h"
#include "server/queue/control_command.h"
#include "server/queue/fake_queue.h"

namespace holdfast {
namespace {

class Output : public ControlOutput {
 public:
  void Text(std::string text) override {
    EXPECT_LE(text.size(), kMaxControlText);
    all += text;
  }
  void Done(ControlDone result) override { done = std::move(result); }

  std::string all;
  std::optional<ControlDone> done;
};

class TopCommandTest : public ::testing::Test {
 protected:
  std::shared_ptr<ControlCommand> Make(const std::vector<std::string>& words) {
    return MakeTopCommand(words, &services_, &output_);
  }
  // The whole answer.
  std::optional<TopSnapshot> Ask(const std::string& limit) {
    output_ = Output();
    const auto command = Make({"top", limit});
    if (command == nullptr) return std::nullopt;
    command->OnCredit();
    services_.loop()->RunReady();
    command->OnCredit();
    if (!output_.done || !output_.done->ok) return std::nullopt;
    auto snapshot = Decode<TopSnapshot>(output_.all);
    return snapshot.ok() ? std::optional<TopSnapshot>(*snapshot) : std::nullopt;
  }
  void AddDestination(uint32_t id, const std::string& key, uint64_t envelopes) {
    DestinationRow row;
    row.id = DestinationId{id};
    row.action = "out";
    row.routing_key = key;
    row.envelopes = envelopes;
    row.next_due = services_.loop()->Now();
    services_.store()->destinations[key] = row;
    services_.store()->backlogs.push_back({row.id, envelopes});
  }

  FakeQueueServices services_;
  Output output_;
};

TEST_F(TopCommandTest, OtherWordsAreNotIts) {
  EXPECT_EQ(Make({"top"}), nullptr);
  EXPECT_EQ(Make({"top", "many"}), nullptr);
  EXPECT_EQ(Make({"top", "-1"}), nullptr);
  EXPECT_EQ(Make({"top", "1", "2"}), nullptr);
  EXPECT_EQ(Make({"monitor", "1"}), nullptr);
}

TEST_F(TopCommandTest, CountersAndGauges) {
  QueueCounters& c = services_.counters;
  c.enqueued = 10;
  c.dequeued = 4;
  c.envelopes_now = 6;
  c.inflight_now = 2;
  c.tempfail = 3;
  c.sessions.now = 5;
  c.sessions.inet4 = 7;
  c.sessions.inet6 = 1;
  c.sessions.closed = 3;
  c.sessions.refused_by_source = 9;
  services_.SetPaused(DeliveryKind::kMta, true);
  services_.store()->commits.operations.Add(12);
  services_.store()->commits.microseconds.Add(4000);
  const auto s = Ask("10");
  ASSERT_TRUE(s);
  EXPECT_EQ(s->now, services_.loop()->Now());
  EXPECT_EQ(s->counters.connected, 8u);
  EXPECT_EQ(s->counters.disconnected, 3u);
  EXPECT_EQ(s->counters.enqueued, 10u);
  EXPECT_EQ(s->counters.tempfail, 3u);
  EXPECT_EQ(s->counters.refused, 9u);
  EXPECT_EQ(s->gauges.sessions, 5u);
  EXPECT_EQ(s->gauges.envelopes, 6u);
  EXPECT_EQ(s->gauges.inflight, 2u);
  EXPECT_TRUE(s->gauges.mta_paused);
  EXPECT_FALSE(s->gauges.mda_paused);
  EXPECT_EQ(s->commit_operations.sum(), 12u);
  EXPECT_EQ(s->commit_microseconds.count(), 1u);
  EXPECT_TRUE(s->largest.empty());
}

TEST_F(TopCommandTest, LargestBacklogsWithWhatIsInFlight) {
  AddDestination(1, "dead.example", 500);
  AddDestination(2, "slow.example", 40);
  AddDestination(3, "gone.example", 30);
  DestinationRow& dead = services_.store()->destinations["dead.example"];
  dead.failures = 4;
  dead.first_failure = services_.loop()->Now() - absl::Hours(2);
  dead.postponed_until = services_.loop()->Now() + absl::Minutes(5);
  dead.error = std::string(1000, 'e');
  services_.store()->destinations.erase("gone.example");
  services_.in_flight_of[DestinationId{2}] = 7;
  const auto s = Ask("10");
  ASSERT_TRUE(s);
  ASSERT_EQ(s->largest.size(), 2u);
  EXPECT_EQ(s->largest[0].routing_key, "dead.example");
  EXPECT_EQ(s->largest[0].envelopes, 500u);
  EXPECT_EQ(s->largest[0].failures, 4u);
  EXPECT_EQ(s->largest[0].next, dead.postponed_until);
  EXPECT_EQ(s->largest[0].error.size(), kMaxTopText);
  EXPECT_EQ(s->largest[1].action, "out");
  EXPECT_EQ(s->largest[1].inflight, 7u);
}

TEST_F(TopCommandTest, NoMoreThanIsAskedForNorThanTheLimit) {
  for (uint32_t i = 1; i <= kMaxTopDestinations + 50; ++i)
    AddDestination(i, absl::StrCat("d", i, ".example"), 10000 - i);
  EXPECT_EQ(Ask("3")->largest.size(), 3u);
  EXPECT_EQ(Ask("0")->largest.size(), 0u);
  EXPECT_EQ(Ask("1000000")->largest.size(), kMaxTopDestinations);
}

TEST_F(TopCommandTest, AStoreThatCannotBeRead) {
  services_.store()->read_status = absl::DataLossError("no disk");
  EXPECT_FALSE(Ask("3"));
  ASSERT_TRUE(output_.done);
  EXPECT_EQ(output_.done->error, "no disk");
}

}  // namespace
}  // namespace holdfast
