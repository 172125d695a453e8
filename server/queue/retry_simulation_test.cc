// Days of trying again, on a virtual clock, against hosts that fail in every
// way: the whole of the queue's engine over a disk in memory.
#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "server/queue/queue_test_bed.h"

namespace holdfast {
namespace {

using Result = WorkerOutcome::Result;

constexpr int64_t kFourDays = 4 * 24 * 3600;

// Reference part 2, section 2.1, as it says: the smallest k >= n with
// c + base * k² > now.  All in seconds since c.
int64_t ReferenceNext(int64_t base, int64_t n, int64_t now) {
  int64_t k = n;
  while (base * k * k <= now) ++k;
  return base * k * k;
}

// When an envelope is tried that fails each time, `takes` seconds after the
// try began, until it expires at `ttl`.
std::vector<int64_t> ReferenceTries(int64_t base, int64_t takes, int64_t ttl) {
  std::vector<int64_t> tries;
  int64_t at = 0;
  for (int64_t n = 1; at < ttl; ++n) {
    tries.push_back(at);
    at = ReferenceNext(base, n, at + takes);
  }
  return tries;
}

class RetrySimulationTest : public ::testing::Test {
 protected:
  RetrySimulationTest() : start_(bed_.loop.Now()) {}

  int64_t Seconds() const {
    return absl::ToInt64Seconds(bed_.loop.Now() - start_);
  }
  // Does it so long after now, of the virtual clock.
  void Later(absl::Duration delay, Task task) {
    timers_.push_back(bed_.loop.RunAfter(delay, std::move(task)));
  }
  // Every try of every envelope fails in the same way; notes when they began.
  void AnswerAlways(FakeWorker* worker, Result result, std::string text,
                    absl::Duration takes) {
    worker->on_batch = [this, worker, result, text,
                        takes](const GotBatch& batch) {
      for (EnvelopeId id : batch.Envelopes()) tries_[id].push_back(Seconds());
      Later(takes, [=] { worker->Answer(batch, result, text); });
    };
  }
  // No host of any destination answers.
  void FailAlways(absl::Duration takes) {
    bed_.relay->on_batch = [this, takes](const GotBatch& batch) {
      rounds_[batch.where].insert(Seconds());
      ++largest_[batch.Envelopes().size()];
      Later(takes, [this, batch] {
        bed_.relay->Fail(batch, "Network error on destination MXs");
      });
    };
  }
  bool Reported(EnvelopeId id, ReportKind kind) const {
    return bed_.disk.reports.count({id, kind}) > 0;
  }
  int64_t ReportedAt(EnvelopeId id, ReportKind kind) const {
    return absl::ToInt64Seconds(bed_.disk.reports.at({id, kind}).added -
                                start_);
  }
  std::vector<std::string> LogLines(const std::string& with) {
    std::vector<std::string> found;
    for (absl::string_view line : absl::StrSplit(bed_.TakeLog(), '\n')) {
      if (absl::StrContains(line, with)) found.emplace_back(line);
    }
    return found;
  }
  const DestinationRow& OnlyRow() const {
    return bed_.disk.destinations.begin()->second.row;
  }

  QueueTestBed bed_;
  const absl::Time start_;
  std::vector<EventLoop::Timer> timers_;
  std::map<EnvelopeId, std::vector<int64_t>> tries_;
  std::map<std::string, std::set<int64_t>> rounds_;
  std::map<size_t, int> largest_;
};

// ---- Single envelopes

TEST_F(RetrySimulationTest, AnEnvelopeIsTriedToTheSecondUntilItExpires) {
  bed_.Boot();
  AnswerAlways(bed_.relay.get(), Result::kTempFail, "451 4.3.0 Try later",
               absl::ZeroDuration());
  const EnvelopeId id = bed_.AcceptFor("example.net");
  bed_.loop.Advance(absl::Hours(4));
  ASSERT_TRUE(Reported(id, ReportKind::kDelayed));
  EXPECT_EQ(ReportedAt(id, ReportKind::kDelayed), 4 * 3600);
  bed_.loop.Advance(absl::Hours(5 * 24));
  EXPECT_EQ(tries_[id], ReferenceTries(400, 0, kFourDays));
  EXPECT_EQ(tries_[id].size(), 30u);
  EXPECT_FALSE(bed_.InQueue(id));
  ASSERT_TRUE(Reported(id, ReportKind::kFailed));
  EXPECT_EQ(ReportedAt(id, ReportKind::kFailed), kFourDays);
  EXPECT_EQ(LogLines("result=\"TempFail\"").size(), 30u);
  EXPECT_TRUE(bed_.LedgerHolds());
  EXPECT_EQ(bed_.disk.ledger.reported, 1u);
  EXPECT_EQ(bed_.disk.destinations.size(), 0u);
}

class SlowAnswersTest : public RetrySimulationTest,
                        public ::testing::WithParamInterface<int64_t> {};

// The times count from the creation, not from the failed try.
TEST_P(SlowAnswersTest, TheTimesDoNotShift) {
  bed_.Boot();
  AnswerAlways(bed_.relay.get(), Result::kTempFail, "451 later",
               absl::Seconds(GetParam()));
  const EnvelopeId id = bed_.AcceptFor("example.net");
  bed_.loop.Advance(absl::Hours(5 * 24));
  EXPECT_EQ(tries_[id], ReferenceTries(400, GetParam(), kFourDays));
  EXPECT_TRUE(bed_.disk.envelopes.empty());
}

INSTANTIATE_TEST_SUITE_P(Seconds, SlowAnswersTest,
                         ::testing::Values(1, 37, 299, 1000, 5000));

TEST_F(RetrySimulationTest, LocalDeliveryByItsOwnBase) {
  bed_.Boot();
  AnswerAlways(bed_.deliver.get(), Result::kTempFail, "mailbox is full",
               absl::Seconds(2));
  const EnvelopeId id =
      bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMda, "box", "alice"));
  bed_.loop.Advance(absl::Hours(5 * 24));
  EXPECT_EQ(tries_[id], ReferenceTries(10, 2, kFourDays));
  EXPECT_EQ(ReportedAt(id, ReportKind::kFailed), kFourDays);
}

TEST_F(RetrySimulationTest, EachOfADestinationHasItsOwnTimes) {
  bed_.Boot();
  AnswerAlways(bed_.relay.get(), Result::kTempFail, "451 later",
               absl::ZeroDuration());
  std::vector<std::pair<EnvelopeId, int64_t>> made;
  for (int i = 0; i < 20; ++i) {
    made.emplace_back(bed_.AcceptFor("example.net"), Seconds());
    bed_.loop.Advance(absl::Seconds(977));
  }
  bed_.loop.Advance(absl::Hours(5 * 24));
  for (const auto& [id, at] : made) {
    std::vector<int64_t> wanted = ReferenceTries(400, 0, kFourDays);
    for (int64_t& one : wanted) one += at;
    EXPECT_EQ(tries_[id], wanted);
    EXPECT_EQ(ReportedAt(id, ReportKind::kFailed), at + kFourDays);
  }
}

// ---- Whole destinations

TEST_F(RetrySimulationTest, ADeadDestinationForFiveDays) {
  bed_.Boot();
  FailAlways(absl::Seconds(300));  // the time limit of a connection
  std::vector<std::pair<EnvelopeId, int64_t>> made;
  for (int i = 0; i < 50; ++i) {
    made.emplace_back(bed_.AcceptFor("dead.test"), Seconds());
  }
  bed_.TakeLog();
  // New mail, a message every quarter of an hour for two days, hurries nothing.
  for (int i = 0; i < 2 * 24 * 4; ++i) {
    bed_.loop.Advance(absl::Minutes(15));
    made.emplace_back(bed_.AcceptFor("dead.test"), Seconds());
  }
  const EnvelopeId newest = made.back().first;
  EXPECT_EQ(bed_.disk.envelopes[newest].retry, 0u);
  EXPECT_EQ(OnlyRow().error, "Network error on destination MXs");
  EXPECT_EQ(bed_.engine->in_flight().size(), 0u);
  bed_.loop.Advance(absl::Hours(4 * 24 + 1));

  // Rounds count from the first failure, 300 s after the first try.
  std::vector<int64_t> wanted = {0};
  const int64_t last = made.back().second + kFourDays;
  for (int64_t n = 1, now = 0;; ++n) {
    const int64_t next = ReferenceNext(400, n, now);
    if (300 + next >= last) break;
    wanted.push_back(300 + next);
    now = next + 300;
  }
  EXPECT_EQ(std::vector<int64_t>(rounds_["dead.test"].begin(),
                                 rounds_["dead.test"].end()),
            wanted);
  // All have expired, each at its own time; one that is being tried then, when
  // that is over.
  EXPECT_TRUE(bed_.disk.envelopes.empty());
  EXPECT_TRUE(bed_.disk.destinations.empty());
  for (const auto& [id, at] : made) {
    const int64_t expires = at + kFourDays;
    const auto round = rounds_["dead.test"].upper_bound(expires);
    const int64_t over = *std::prev(round) + 300;
    const int64_t reported = ReportedAt(id, ReportKind::kFailed);
    EXPECT_TRUE(reported == expires || reported == over)
        << ToString(id) << " " << reported;
    EXPECT_GE(reported, expires);
  }
  EXPECT_EQ(bed_.disk.ledger.reported, made.size());
  EXPECT_TRUE(bed_.LedgerHolds());
}

TEST_F(RetrySimulationTest, OneLineForEachRoundWithTheCount) {
  for (int i = 0; i < 1000; ++i) {
    bed_.Preload(bed_.MakeEnvelope(DeliveryKind::kMta, "out", "dead.test"));
  }
  bed_.Boot();
  bed_.TakeLog();
  EXPECT_GT(bed_.relay->batches.size(), 1u);
  while (!bed_.relay->batches.empty()) {
    bed_.relay->Fail(bed_.relay->Take(), "Network error on destination MXs");
  }
  FailAlways(absl::Seconds(30));
  bed_.loop.Advance(absl::Hours(24));
  const std::vector<std::string> lines = LogLines("dead.test");
  EXPECT_GT(rounds_["dead.test"].size(), 10u);
  EXPECT_EQ(lines.size(), 1 + rounds_["dead.test"].size());
  for (const std::string& line : lines) {
    EXPECT_TRUE(absl::StrContains(line, "1000 envelopes: Network error"))
        << line;
  }
}

TEST_F(RetrySimulationTest, ARoundIsAProbeAndRecoveryEmptiesTheBacklog) {
  bed_.Boot();
  FailAlways(absl::ZeroDuration());
  for (int i = 0; i < 2000; ++i) bed_.AcceptFor("dead.test");
  largest_.clear();
  bed_.loop.Advance(absl::Hours(30));
  EXPECT_GT(largest_.size(), 0u);
  EXPECT_LE(largest_.rbegin()->first, Scheduler::kProbeEnvelopes);
  const size_t rounds = rounds_["dead.test"].size();

  // It is up again: the next round is at the time that it would have been, and
  // with it goes all of it.
  AnswerAlways(bed_.relay.get(), Result::kOk, "250 ok", absl::Seconds(1));
  const absl::Time next = OnlyRow().postponed_until;
  EXPECT_EQ(absl::ToInt64Seconds(next - start_),
            ReferenceNext(400, static_cast<int64_t>(rounds), Seconds()));
  bed_.loop.Advance(next - bed_.loop.Now() - absl::Seconds(1));
  EXPECT_TRUE(tries_.empty());
  bed_.loop.Advance(absl::Minutes(2));
  EXPECT_EQ(tries_.size(), 2000u);
  for (const auto& [id, times] : tries_) EXPECT_EQ(times.size(), 1u);
  EXPECT_TRUE(bed_.disk.envelopes.empty());
  EXPECT_EQ(bed_.disk.ledger.delivered, 2000u);
}

// Its envelopes keep their own count, and go on by it afterwards.
TEST_F(RetrySimulationTest, FailuresOfBothKindsDoNotMix) {
  bed_.Boot();
  AnswerAlways(bed_.relay.get(), Result::kTempFail, "451 later",
               absl::ZeroDuration());
  const EnvelopeId id = bed_.AcceptFor("example.net");
  bed_.loop.Advance(absl::Seconds(1700));  // tries at 0, 400, 1600
  FailAlways(absl::ZeroDuration());
  bed_.loop.Advance(absl::Hours(3));
  EXPECT_EQ(bed_.disk.envelopes[id].retry, 3u);
  // Due at 3600; the destination fails then, and 400 k² after that.
  EXPECT_EQ(rounds_["example.net"],
            (std::set<int64_t>{3600, 4000, 5200, 7200, 10000}));
  AnswerAlways(bed_.relay.get(), Result::kTempFail, "451 later",
               absl::ZeroDuration());
  bed_.loop.Advance(absl::Hours(4));
  // 3600 + 400 * 25; from there on its own again: the fourth failure.
  EXPECT_EQ(tries_[id],
            (std::vector<int64_t>{0, 400, 1600, 13600, 14400, 19600, 25600}));
}

// ---- `mta max-deferred`

class MaxDeferredTest : public RetrySimulationTest {
 protected:
  MaxDeferredTest() {
    Action& other = bed_.config.actions["other"];
    other.name = "other";
    other.method = ActionMethod::kRelay;
  }
  // What goes out as "out" fails, what goes out as "other" is taken.
  void OutFailsOtherWorks() {
    bed_.relay->on_batch = [this](const GotBatch& batch) {
      if (batch.target.action == "other") {
        return bed_.relay->Answer(batch, Result::kOk, "250 ok");
      }
      rounds_["out"].insert(Seconds());
      largest_[batch.Envelopes().size()]++;
      bed_.relay->Fail(batch, "down");
    };
  }
  void AcceptOther() {
    bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMta, "other", "a.test"));
  }
};

TEST_F(MaxDeferredTest, SuccessUnderAnotherActionIsAReasonToTryOnce) {
  bed_.Boot();
  OutFailsOtherWorks();
  for (int i = 0; i < 100; ++i) bed_.AcceptFor("a.test");
  bed_.loop.Advance(absl::Seconds(500));
  EXPECT_EQ(rounds_["out"], (std::set<int64_t>{0, 400}));
  largest_.clear();
  for (int i = 0; i < 10; ++i) {
    AcceptOther();
    bed_.loop.Advance(absl::Seconds(50));
  }
  // Once, and its own times stay what they are.
  EXPECT_EQ(rounds_["out"], (std::set<int64_t>{0, 400, 501}));
  EXPECT_LE(largest_.rbegin()->first, Scheduler::kProbeEnvelopes);
  bed_.loop.Advance(absl::Seconds(5000));
  EXPECT_EQ(rounds_["out"], (std::set<int64_t>{0, 400, 501, 1600, 3600}));
  // After a regular try once more.
  AcceptOther();
  bed_.loop.Advance(absl::Seconds(10));
  EXPECT_EQ(rounds_["out"].size(), 6u);
}

TEST_F(MaxDeferredTest, IfItWorksThenAllOfItGoes) {
  bed_.Boot();
  OutFailsOtherWorks();
  for (int i = 0; i < 100; ++i) bed_.AcceptFor("a.test");
  AnswerAlways(bed_.relay.get(), Result::kOk, "250 ok", absl::ZeroDuration());
  bed_.loop.Advance(absl::Seconds(50));
  EXPECT_EQ(bed_.disk.envelopes.size(), 100u);
  AcceptOther();
  bed_.loop.Advance(absl::Seconds(2));
  EXPECT_TRUE(bed_.disk.envelopes.empty());
}

TEST_F(MaxDeferredTest, NoneMeansNever) {
  bed_.config.mta_max_deferred = 0;
  bed_.Boot();
  OutFailsOtherWorks();
  bed_.AcceptFor("a.test");
  AcceptOther();
  bed_.loop.Advance(absl::Seconds(300));
  EXPECT_EQ(rounds_["out"], (std::set<int64_t>{0}));
}

TEST_F(MaxDeferredTest, AnotherDomainSaysNothing) {
  bed_.Boot();
  OutFailsOtherWorks();
  bed_.AcceptFor("a.test");
  bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMta, "other", "b.test"));
  bed_.loop.Advance(absl::Seconds(300));
  EXPECT_EQ(rounds_["out"], (std::set<int64_t>{0}));
}

// ---- Everything at once, by seed

// A hundred domains that are up and down for hours, hosts that take a part,
// refuse a part and time out; mail all the time; `queue` is killed now and
// then.
class Weather {
 public:
  explicit Weather(uint64_t seed) : random_(seed) {
    bed_.Boot();
    AnswerBatches();
  }

  void Run(absl::Duration time) {
    const absl::Time end = bed_.loop.Now() + time;
    while (bed_.loop.Now() < end) {
      const int count = Roll(8);
      for (int i = 0; i < count; ++i) {
        bed_.AcceptFor(absl::StrCat("d", Roll(kDomains), ".test"));
        ++accepted_;
      }
      if (Roll(200) == 0) Restart();
      bed_.loop.Advance(absl::Seconds(1 + Roll(1200)));
      EXPECT_TRUE(bed_.LedgerHolds());
      EXPECT_LE(bed_.engine->in_flight().size(),
                2 * bed_.config.scheduler_limits.max_inflight);
    }
  }
  // All hosts are well, until everything has left.
  void Settle() {
    well_ = true;
    bed_.loop.Advance(absl::Hours(4 * 24));
    EXPECT_TRUE(bed_.disk.envelopes.empty());
    EXPECT_TRUE(bed_.disk.destinations.empty());
    EXPECT_TRUE(bed_.disk.claims.empty());
    EXPECT_EQ(bed_.engine->in_flight().size(), 0u);
    EXPECT_EQ(bed_.engine->scheduler().active(), 0u);
    const Ledger& l = bed_.disk.ledger;
    EXPECT_EQ(l.accepted, accepted_);
    EXPECT_EQ(l.delivered + l.reported, accepted_);
    EXPECT_EQ(l.delivered, delivered_.size());
  }
  uint64_t accepted() const { return accepted_; }
  uint64_t rounds() const { return rounds_; }

 private:
  static constexpr int kDomains = 100;

  int Roll(int sides) {
    return static_cast<int>(random_() % static_cast<uint64_t>(sides));
  }
  // Domains change every six hours; one in four is down.
  bool IsDown(const std::string& domain) const {
    const int64_t quarter = absl::ToUnixSeconds(bed_.loop.Now()) / 21600;
    return !well_ &&
           std::hash<std::string>()(absl::StrCat(domain, quarter)) % 4 == 0;
  }
  void AnswerBatches() {
    bed_.relay->on_batch = [this](const GotBatch& batch) {
      for (EnvelopeId id : batch.Envelopes()) {
        EXPECT_TRUE(flying_.insert(id).second) << "with two at a time";
        EXPECT_EQ(delivered_.count(id), 0u) << "delivered already";
      }
      const absl::Duration takes =
          absl::Milliseconds(Roll(10) == 0 ? 300000 : 20 + Roll(3000));
      timers_.push_back(bed_.loop.RunAfter(takes, [this, batch] {
        for (EnvelopeId id : batch.Envelopes()) flying_.erase(id);
        End(batch);
      }));
    };
  }
  void End(const GotBatch& batch) {
    if (IsDown(batch.where)) {
      ++rounds_;
      return bed_.relay->Fail(batch, "Network error on destination MXs");
    }
    const int roll = well_ ? 99 : Roll(100);
    if (roll < 20) {
      return bed_.relay->Answer(batch, Result::kTempFail, "451 later");
    }
    if (roll < 25) return bed_.relay->Answer(batch, Result::kReturned);
    if (roll < 30) {
      return bed_.relay->Answer(batch, Result::kPermFail, "550 no");
    }
    for (EnvelopeId id : batch.Envelopes()) delivered_.insert(id);
    bed_.relay->Answer(batch, Result::kOk, "250 ok");
  }
  // The workers have nothing when it happens.
  void Restart() {
    bed_.loop.Advance(absl::Minutes(6));
    if (!flying_.empty()) return;
    bed_.Kill();
    bed_.BootEngine();
  }

  std::mt19937_64 random_;
  QueueTestBed bed_;
  bool well_ = false;
  uint64_t accepted_ = 0, rounds_ = 0;
  std::set<EnvelopeId> flying_, delivered_;
  std::vector<EventLoop::Timer> timers_;
};

TEST(WeatherTest, NothingIsLostNothingGoesTwice) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    Weather weather(seed);
    weather.Run(absl::Hours(5 * 24));
    weather.Settle();
    EXPECT_GT(weather.accepted(), 1000u);
    EXPECT_GT(weather.rounds(), 100u);
  }
}

}  // namespace
}  // namespace holdfast
