#include "server/queue/scheduler.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/queue/queue_test_bed.h"

namespace holdfast {
namespace {

using Result = WorkerOutcome::Result;

class SchedulerTest : public ::testing::Test {
 protected:
  // `count` messages for a domain, on the disk before the start.
  void Preload(const std::string& domain, int count) {
    for (int i = 0; i < count; ++i) {
      bed_.Preload(bed_.MakeEnvelope(DeliveryKind::kMta, "out", domain));
    }
  }
  size_t InFlight() { return bed_.engine->in_flight().size(); }
  // Envelopes per domain that the relay has not answered.
  std::map<std::string, size_t> AtRelay() {
    std::map<std::string, size_t> count;
    for (const GotBatch& b : bed_.relay->batches) {
      count[b.where] += b.Envelopes().size();
    }
    return count;
  }

  QueueTestBed bed_;
};

TEST_F(SchedulerTest, NewMailGoesAtOnceAndIsClaimed) {
  bed_.Boot();
  const EnvelopeId id = bed_.AcceptFor("example.net");
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  const GotBatch batch = bed_.relay->Take();
  EXPECT_EQ(batch.where, "example.net");
  EXPECT_EQ(batch.Envelopes(), std::vector<EnvelopeId>{id});
  EXPECT_EQ(batch.messages[0].stored, "body");
  EXPECT_EQ(batch.target.action, "out");
  EXPECT_FALSE(batch.target.smarthost);
  EXPECT_TRUE(bed_.relay->claimed.count(batch.batch));
  EXPECT_EQ(bed_.disk.claims.size(), 1u);
  bed_.relay->Answer(batch, Result::kOk, "250 ok");
  bed_.Run();
  EXPECT_FALSE(bed_.InQueue(id));
  EXPECT_TRUE(bed_.disk.claims.empty());
  EXPECT_EQ(bed_.disk.ledger.delivered, 1u);
  EXPECT_EQ(InFlight(), 0u);
  EXPECT_TRUE(bed_.LedgerHolds());
}

// A million would do; a hundred thousand is quicker to make.
TEST_F(SchedulerTest, ADeadDestinationDelaysNobody) {
  Preload("dead.test", 100000);
  bed_.Boot();
  // It hangs: nothing is answered.
  EXPECT_LE(AtRelay()["dead.test"], Scheduler::kUnprovenEnvelopes);
  for (int i = 0; i < 50; ++i) {
    const EnvelopeId id = bed_.AcceptFor("live.test");
    const GotBatch batch = bed_.relay->batches.back();
    ASSERT_EQ(batch.where, "live.test") << i;
    bed_.relay->batches.pop_back();
    bed_.relay->Answer(batch, Result::kOk, "250 ok");
    bed_.Run();
    EXPECT_FALSE(bed_.InQueue(id));
  }
  // Then it fails as a whole: one row, one line.
  bed_.TakeLog();
  while (!bed_.relay->batches.empty()) {
    bed_.relay->Fail(bed_.relay->Take(), "Network error on destination MXs");
  }
  bed_.Run();
  EXPECT_TRUE(bed_.relay->batches.empty());
  EXPECT_EQ(InFlight(), 0u);
  const std::string log = bed_.TakeLog();
  EXPECT_EQ(log,
            "smtp-out: Destination dead.test (action \"out\") failed, next try "
            "in 6m40s, 100000 envelopes: Network error on destination MXs\n");
  EXPECT_EQ(bed_.disk.envelopes.size(), 100000u);
  EXPECT_EQ(bed_.disk.envelopes.begin()->second.retry, 0u);
  const DestinationRow& row = bed_.disk.destinations.begin()->second.row;
  EXPECT_EQ(row.failures, 1u);
  EXPECT_EQ(row.error, "Network error on destination MXs");
}

TEST_F(SchedulerTest, ADestinationIsTriedByTheFormulaAndNewMailDoesNotHurryIt) {
  bed_.Boot();
  const absl::Time start = bed_.loop.Now();
  std::vector<int64_t> tries;
  bed_.relay->on_batch = [&](const GotBatch& batch) {
    tries.push_back(absl::ToInt64Seconds(bed_.loop.Now() - start));
    bed_.relay->Fail(batch, "down");
  };
  bed_.AcceptFor("dead.test");
  bed_.loop.Advance(absl::Seconds(100));
  bed_.AcceptFor("dead.test");
  bed_.loop.Advance(absl::Hours(2));
  std::set<int64_t> rounds(tries.begin(), tries.end());
  EXPECT_EQ(rounds, (std::set<int64_t>{0, 400, 1600, 3600, 6400}));

  // It works again: what waited goes, and its row is clean.
  bed_.relay->on_batch = [&](const GotBatch& batch) {
    bed_.relay->Answer(batch, Result::kTempFail, "450 later");
  };
  bed_.loop.Advance(absl::Hours(1));
  EXPECT_EQ(bed_.disk.destinations.begin()->second.row.failures, 0u);
  EXPECT_EQ(bed_.disk.destinations.begin()->second.row.error, "");
}

TEST_F(SchedulerTest, EnvelopesFailByTheirOwnFormula) {
  bed_.Boot();
  const absl::Time start = bed_.loop.Now();
  std::vector<int64_t> tries;
  bed_.relay->on_batch = [&](const GotBatch& batch) {
    tries.push_back(absl::ToInt64Seconds(bed_.loop.Now() - start));
    bed_.relay->Answer(batch, Result::kTempFail, "450 4.2.1 Try later");
  };
  bed_.AcceptFor("example.net");
  bed_.loop.Advance(absl::Hours(5));
  EXPECT_EQ(tries,
            (std::vector<int64_t>{0, 400, 1600, 3600, 6400, 10000, 14400}));
}

TEST_F(SchedulerTest, ADeepBacklogGoesInFullBatchesOnceTheHostAnswers) {
  Preload("big.test", 3000);
  bed_.Boot();
  size_t largest = 0, most = 0;
  std::set<EnvelopeId> seen;
  while (!bed_.relay->batches.empty()) {
    most = std::max(most, bed_.relay->batches.size());
    const GotBatch batch = bed_.relay->Take();
    largest = std::max(largest, batch.messages.size());
    for (EnvelopeId id : batch.Envelopes()) {
      EXPECT_TRUE(seen.insert(id).second) << "handed out twice";
    }
    bed_.relay->Answer(batch, Result::kOk);
    bed_.Run();
  }
  EXPECT_EQ(seen.size(), 3000u);
  EXPECT_EQ(largest, kMaxBatchMessages);
  EXPECT_LE(most, 20u) << "max-conn-per-connector";
  EXPECT_EQ(bed_.disk.ledger.delivered, 3000u);
  EXPECT_TRUE(bed_.relay->refused.empty());
  EXPECT_EQ(bed_.engine->scheduler().active(), 0u);
}

TEST_F(SchedulerTest, NothingIsHandedOutTwiceWhileTheDiskIsSlow) {
  Preload("big.test", 500);
  bed_.Boot();
  std::set<EnvelopeId> seen;
  bed_.store->HoldCommits(true);
  for (int round = 0; round < 20; ++round) {
    std::deque<GotBatch> got = std::exchange(bed_.relay->batches, {});
    for (const GotBatch& batch : got) {
      for (EnvelopeId id : batch.Envelopes()) {
        EXPECT_TRUE(seen.insert(id).second);
      }
      bed_.relay->Answer(batch, Result::kOk);
    }
    bed_.Run();
    if (round % 5 == 4) bed_.store->CommitNow();
  }
  bed_.store->HoldCommits(false);
  bed_.store->CommitNow();
  bed_.Run();
  while (!bed_.relay->batches.empty()) {
    const GotBatch batch = bed_.relay->Take();
    for (EnvelopeId id : batch.Envelopes()) {
      EXPECT_TRUE(seen.insert(id).second);
    }
    bed_.relay->Answer(batch, Result::kOk);
    bed_.Run();
  }
  EXPECT_EQ(seen.size(), 500u);
  EXPECT_TRUE(bed_.disk.envelopes.empty());
  EXPECT_TRUE(bed_.LedgerHolds());
}

TEST_F(SchedulerTest, TheNextBatchDoesNotWaitForTheCommit) {
  Preload("big.test", 200);
  bed_.config.mta_limits.max_conn_per_connector = 1;
  bed_.Boot();
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  bed_.store->HoldCommits(true);
  bed_.relay->Answer(bed_.relay->Take(), Result::kOk);
  bed_.Run();
  EXPECT_EQ(bed_.relay->batches.size(), 1u);
  EXPECT_TRUE(bed_.relay->recorded.empty());
  bed_.store->CommitNow();
  bed_.Run();
  EXPECT_EQ(bed_.relay->recorded.size(), 1u);
}

TEST_F(SchedulerTest, MaxInflightHolds) {
  bed_.config.scheduler_limits.max_inflight = 100;
  for (int i = 0; i < 30; ++i) Preload(absl::StrCat("d", i, ".test"), 50);
  bed_.Boot();
  std::set<std::string> domains;
  size_t delivered = 0;
  while (!bed_.relay->batches.empty()) {
    EXPECT_LE(bed_.engine->in_flight().with_worker(), 100u);
    const GotBatch batch = bed_.relay->Take();
    delivered += batch.Envelopes().size();
    domains.insert(batch.where);
    bed_.relay->Answer(batch, Result::kOk);
    bed_.Run();
  }
  EXPECT_EQ(delivered, 1500u);
  EXPECT_EQ(domains.size(), 30u);
}

TEST_F(SchedulerTest, ManyDeadDestinationsLeaveHalfToTheOthers) {
  bed_.config.scheduler_limits.max_inflight = 200;
  bed_.Boot();
  const GotBatch first = [&] {
    bed_.AcceptFor("live.test");
    return bed_.relay->Take();
  }();
  for (int i = 0; i < 60; ++i) {
    for (int n = 0; n < 30; ++n) {
      bed_.AcceptFor(absl::StrCat("dead", i, ".test"));
    }
  }
  bed_.relay->Answer(first, Result::kOk);
  bed_.Run();
  size_t dead = 0;
  const std::map<std::string, size_t> at_relay = AtRelay();
  for (const auto& [domain, count] : at_relay) {
    if (absl::StartsWith(domain, "dead")) dead += count;
  }
  EXPECT_LE(dead, 100u);
  EXPECT_GE(dead, 75u);
  // The later ones get less, but not nothing.
  EXPECT_EQ(at_relay.size(), 60u);
}

// More destinations with deep backlogs than the window holds.
TEST_F(SchedulerTest, EveryDestinationHasItsTurn) {
  const int kDomains = Scheduler::kWindow + 500;
  for (int i = 0; i < kDomains; ++i) {
    Preload(absl::StrCat("d", i, ".test"), 25);
  }
  bed_.Boot();
  std::map<std::string, int> turns;
  int behind = 0;
  while (!bed_.relay->batches.empty()) {
    EXPECT_LE(bed_.engine->scheduler().active(), Scheduler::kWindow);
    const GotBatch batch = bed_.relay->Take();
    turns[batch.where] += batch.Envelopes().size();
    // Nobody is finished long before somebody has begun.
    if (turns.size() < static_cast<size_t>(kDomains) &&
        turns[batch.where] == 25) {
      ++behind;
    }
    bed_.relay->Answer(batch, Result::kOk);
    bed_.Run();
  }
  EXPECT_EQ(turns.size(), static_cast<size_t>(kDomains));
  EXPECT_LT(behind, kDomains / 2);
  EXPECT_TRUE(bed_.disk.envelopes.empty());
}

TEST_F(SchedulerTest, StartReadsAWindowNotTheQueue) {
  for (int i = 0; i < 20; ++i) Preload(absl::StrCat("d", i, ".test"), 1000);
  bed_.Boot();
  // One page of the agenda, one reading for each destination, and what a start
  // needs besides; not one for each envelope.
  EXPECT_LT(bed_.store->reads(), 100u);
}

TEST_F(SchedulerTest, HigherPriorityGoesFirst) {
  bed_.config.mta_limits.max_conn_per_connector = 1;
  for (int i = 0; i < 40; ++i) {
    Envelope e = bed_.MakeEnvelope(DeliveryKind::kMta, "out", "example.net");
    e.priority = i == 39 ? 4 : 0;
    bed_.Preload(e);
  }
  bed_.Boot();
  const GotBatch batch = bed_.relay->Take();
  EXPECT_EQ(batch.messages[0].message, MessageId(40));
}

TEST_F(SchedulerTest, PausedKindsWaitAndOthersDoNot) {
  bed_.Boot();
  Scheduler& scheduler = bed_.engine->scheduler();
  EXPECT_TRUE(scheduler.SetPaused(DeliveryKind::kMta, true));
  EXPECT_FALSE(scheduler.SetPaused(DeliveryKind::kMta, true));
  for (int i = 0; i < 10; ++i) bed_.AcceptFor("example.net");
  bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMda, "box", "alice"));
  bed_.loop.Advance(absl::Hours(1));
  EXPECT_TRUE(bed_.relay->batches.empty());
  EXPECT_EQ(bed_.deliver->batches.size(), 1u);
  EXPECT_TRUE(scheduler.SetPaused(DeliveryKind::kMta, false));
  bed_.Run();
  EXPECT_EQ(AtRelay()["example.net"], 10u);
}

TEST_F(SchedulerTest, AgentsPerUserAndInAll) {
  bed_.config.mda_limits.max_session = 10;
  for (int user = 0; user < 5; ++user) {
    for (int i = 0; i < 200; ++i) {
      bed_.Preload(bed_.MakeEnvelope(DeliveryKind::kMda, "box",
                                     absl::StrCat("u", user)));
    }
  }
  bed_.Boot();
  size_t delivered = 0;
  while (!bed_.deliver->batches.empty()) {
    std::map<std::string, size_t> per_user;
    for (const GotBatch& b : bed_.deliver->batches) ++per_user[b.where];
    for (const auto& [user, count] : per_user) {
      EXPECT_LE(count, Scheduler::kMaxAgentsPerUser);
    }
    EXPECT_LE(bed_.deliver->batches.size(), 10u);
    const GotBatch batch = bed_.deliver->Take();
    EXPECT_EQ(batch.deliver.user, batch.where);
    EXPECT_EQ(batch.deliver.run_as, batch.where);
    EXPECT_EQ(batch.deliver.host, "mx.example.org");
    EXPECT_EQ(batch.deliver.store_uuid, bed_.store->uuid());
    delivered += batch.Envelopes().size();
    bed_.deliver->Answer(batch, Result::kOk);
    bed_.Run();
  }
  EXPECT_EQ(delivered, 1000u);
}

TEST_F(SchedulerTest, SmarthostsAreTakenInTurnWhenBatchesGo) {
  bed_.Boot();
  std::set<std::string> hosts;
  for (int i = 0; i < 2; ++i) {
    bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMta, "smart", "example.net"));
    const GotBatch batch = bed_.relay->Take();
    EXPECT_TRUE(batch.target.smarthost);
    hosts.insert(batch.target.domain);
    bed_.relay->Answer(batch, Result::kOk);
    bed_.Run();
  }
  EXPECT_EQ(hosts, (std::set<std::string>{"smtp://a.test", "smtp://b.test"}));
}

TEST_F(SchedulerTest, WithoutASmarthostTheDestinationWaits) {
  bed_.config.actions["smart"].host =
      std::make_shared<Table>("none", Table::Kind::kList, "static", "");
  bed_.Boot();
  bed_.TakeLog();
  const EnvelopeId id = bed_.Accept(
      bed_.MakeEnvelope(DeliveryKind::kMta, "smart", "example.net"));
  EXPECT_TRUE(bed_.relay->batches.empty());
  EXPECT_TRUE(bed_.InQueue(id));
  EXPECT_TRUE(absl::StrContains(
      bed_.TakeLog(),
      absl::StrCat("warn: Failed to retrieve smarthost for envelope ",
                   ToString(id), "\n")));
  EXPECT_EQ(bed_.disk.destinations.begin()->second.row.error,
            "Cannot retrieve smarthost");
}

TEST_F(SchedulerTest, AnUnknownActionIsHeldAndNamed) {
  for (int i = 0; i < 3; ++i) {
    bed_.Preload(bed_.MakeEnvelope(DeliveryKind::kMta, "gone", "example.net"));
  }
  // An action of this name that is of another kind now.
  bed_.Preload(bed_.MakeEnvelope(DeliveryKind::kMta, "box", "example.net"));
  bed_.TakeLog();
  bed_.Boot();
  EXPECT_EQ(bed_.disk.envelopes.size(), 4u);
  for (const auto& [id, e] : bed_.disk.envelopes) {
    EXPECT_TRUE(e.flags & kFlagHeld);
  }
  const std::string log = bed_.TakeLog();
  EXPECT_TRUE(absl::StrContains(
      log, "warn: invalid envelope 0000000100000001: unknown action \"gone\""));
  EXPECT_EQ(bed_.engine->scheduler().active(), 0u);
}

TEST_F(SchedulerTest, AnUnreadableMessageIsHeldTheOthersGo) {
  bed_.Preload(bed_.MakeEnvelope(DeliveryKind::kMta, "out", "example.net"));
  bed_.Boot();
  bed_.relay->Answer(bed_.relay->Take(), Result::kOk);
  bed_.Run();
  Envelope bad = bed_.MakeEnvelope(DeliveryKind::kMta, "out", "example.net");
  bed_.store->Damage(MessageOf(bad.id));
  const EnvelopeId id = bed_.Accept(bad);
  bed_.AcceptFor("example.net");
  ASSERT_EQ(bed_.relay->batches.size(), 1u);
  EXPECT_EQ(bed_.relay->Take().messages.size(), 1u);
  EXPECT_TRUE(bed_.disk.envelopes[id].flags & kFlagHeld);
}

TEST_F(SchedulerTest, UntriedBatchesRest) {
  bed_.Boot();
  int batches = 0;
  bed_.relay->on_batch = [&](const GotBatch& batch) {
    ++batches;
    bed_.relay->Answer(batch, Result::kReturned);
  };
  const EnvelopeId id = bed_.AcceptFor("example.net");
  EXPECT_EQ(batches, 1);
  bed_.loop.Advance(absl::Seconds(3));
  EXPECT_EQ(batches, 4);
  EXPECT_EQ(bed_.disk.envelopes[id].retry, 0u);
}

TEST_F(SchedulerTest, WhatBecomesDueLaterIsNotForgotten) {
  bed_.Boot();
  // Two envelopes of one destination; one fails, the other goes.
  bed_.AcceptFor("example.net");
  bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 later");
  bed_.Run();
  bed_.AcceptFor("example.net");
  bed_.relay->Answer(bed_.relay->Take(), Result::kOk);
  bed_.Run();
  EXPECT_EQ(bed_.engine->scheduler().active(), 0u);
  bed_.loop.Advance(absl::Seconds(399));
  EXPECT_TRUE(bed_.relay->batches.empty());
  bed_.loop.Advance(absl::Seconds(2));
  EXPECT_EQ(bed_.relay->batches.size(), 1u);
}

TEST_F(SchedulerTest, WhatBecomesDueWhileAnotherIsInFlightGoesInTime) {
  bed_.Boot();
  bed_.AcceptFor("example.net");
  bed_.relay->Take();  // hangs; the agenda names its due time, in the past
  bed_.AcceptFor("example.net");
  bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 later");
  bed_.Run();
  bed_.loop.Advance(absl::Seconds(399));
  EXPECT_TRUE(bed_.relay->batches.empty());
  bed_.loop.Advance(absl::Seconds(1));
  EXPECT_EQ(bed_.relay->batches.size(), 1u);
}

TEST_F(SchedulerTest, WhatIsInFlightDoesNotKeepTheReaderBusy) {
  for (int i = 0; i < 50; ++i) Preload(absl::StrCat("d", i, ".test"), 1);
  bed_.Boot();
  const uint64_t reads = bed_.store->reads();
  bed_.loop.Advance(absl::Minutes(5));
  EXPECT_LT(bed_.store->reads() - reads, 50u * 10);
}

TEST_F(SchedulerTest, AClockThatJumpsIsNoticed) {
  bed_.Boot();
  bed_.AcceptFor("example.net");
  bed_.relay->Answer(bed_.relay->Take(), Result::kTempFail, "450 later");
  bed_.Run();
  bed_.loop.JumpWallClock(absl::Hours(1));
  bed_.loop.Advance(Scheduler::kMaxSleep + absl::Seconds(1));
  EXPECT_EQ(bed_.relay->batches.size(), 1u);
}

TEST_F(SchedulerTest, WithoutWorkersMailWaitsForThem) {
  bed_.Boot();
  bed_.relay->Die();
  bed_.Run();
  bed_.AcceptFor("example.net");
  EXPECT_TRUE(bed_.relay->batches.empty());
  FakeWorker second(&bed_.loop, Room::kRelay, 0, WorkerId(77));
  bed_.engine->AddWorker(second.Name(), second.Connect());
  bed_.Run();
  EXPECT_EQ(second.batches.size(), 1u);
}

TEST_F(SchedulerTest, AWorkerThatDoesNotReadIsGivenNoMoreThanItsBacklog) {
  // Bodies of 60 KiB: the window of envelopes alone would be 300 MB.
  bed_.Boot();
  bed_.relay->Die();
  FakeWorker deaf(&bed_.loop, Room::kRelay, 0, WorkerId(78));
  bed_.engine->AddWorker(deaf.Name(), deaf.Connect());
  deaf.StopReading();
  for (int i = 0; i < 1000; ++i) {
    Envelope e = bed_.MakeEnvelope(DeliveryKind::kMta, "out",
                                   absl::StrCat("d", i, ".test"));
    bed_.Preload(e);
    bed_.disk.messages[MessageOf(e.id)].chunks[0].assign(60 << 10, 'x');
  }
  bed_.engine->scheduler().Scan();
  bed_.Run();
  EXPECT_GT(bed_.engine->in_flight().size(), 100u);
  EXPECT_LT(bed_.engine->in_flight().size(), 300u);
}

}  // namespace
}  // namespace holdfast
