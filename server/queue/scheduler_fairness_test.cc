// Who gets how much when there is not enough for all: turns with deficits, the
// sharing of what is in flight, sessions, other smarthosts.
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/queue/queue_test_bed.h"

namespace holdfast {
namespace {

using Result = WorkerOutcome::Result;

class SchedulerFairnessTest : public ::testing::Test {
 protected:
  // Messages of so many recipients each; bodies are said to have `octets`.
  void Preload(const std::string& domain, int messages, int recipients = 1,
               uint64_t octets = 4) {
    for (int i = 0; i < messages; ++i) {
      Envelope e = bed_.MakeEnvelope(DeliveryKind::kMta, "out", domain);
      const MessageId message = MessageOf(e.id);
      for (int r = 1; r <= recipients; ++r) {
        e.id = MakeEnvelopeId(message, r);
        bed_.Preload(e);
      }
      FakeDisk::Message& row = bed_.disk.messages[message];
      row.row.live = recipients;
      row.row.body.stored_bytes = octets;
    }
  }
  // Answers the oldest batches; envelopes for each domain.
  std::map<std::string, size_t> Serve(int batches) {
    std::map<std::string, size_t> served;
    for (int i = 0; i < batches && !bed_.relay->batches.empty(); ++i) {
      const GotBatch batch = bed_.relay->Take();
      served[batch.where] += batch.Envelopes().size();
      bed_.relay->Answer(batch, Result::kOk, "250 ok");
      bed_.Run();
    }
    return served;
  }
  size_t AtRelay(const std::string& domain) const {
    size_t count = 0;
    for (const GotBatch& b : bed_.relay->batches) {
      if (b.where == domain) count += b.Envelopes().size();
    }
    return count;
  }
  // Answers one batch of each destination that has not answered yet.
  void ProveAll() {
    std::set<std::string> proven;
    for (size_t n = bed_.relay->batches.size(); n > 0; --n) {
      GotBatch batch = bed_.relay->Take();
      if (proven.insert(batch.where).second) {
        bed_.relay->Answer(batch, Result::kOk, "250 ok");
      } else {
        bed_.relay->batches.push_back(std::move(batch));
      }
    }
    bed_.Run();
  }
  static double Ratio(size_t a, size_t b) {
    return static_cast<double>(std::max(a, b)) /
           static_cast<double>(std::max<size_t>(1, std::min(a, b)));
  }

  QueueTestBed bed_;
};

// ---- Turns

// The recipients of a message stay together, so who has many of them gets more
// than its turn is worth; it has fewer turns then.
TEST_F(SchedulerFairnessTest, ManyRecipientsArePaidFor) {
  bed_.config.scheduler_limits.max_inflight = 300;
  Preload("wide.test", 60, 100);
  Preload("one.test", 6000);
  bed_.Boot();
  Serve(20);  // both have answered
  std::map<std::string, size_t> served;
  while (served["wide.test"] + served["one.test"] < 5000) {
    for (const auto& [domain, count] : Serve(1)) served[domain] += count;
  }
  EXPECT_LT(Ratio(served["wide.test"], served["one.test"]), 1.3)
      << served["wide.test"] << " " << served["one.test"];
}

TEST_F(SchedulerFairnessTest, LargeBodiesArePaidFor) {
  bed_.config.scheduler_limits.max_inflight = 300;
  // Each weighs 1 + 15 envelopes.
  Preload("large.test", 1000, 1, 15 * kOctetsPerEnvelope);
  Preload("small.test", 8000);
  bed_.Boot();
  Serve(20);
  std::map<std::string, size_t> served;
  while (served["large.test"] + served["small.test"] < 6000) {
    for (const auto& [domain, count] : Serve(1)) served[domain] += count;
  }
  // Not 1 to 1, nor to 16: what the small ones may not have in flight is not
  // left unused.
  EXPECT_LT(Ratio(served["large.test"], served["small.test"] / 4), 2)
      << served["large.test"] << " " << served["small.test"];
}

TEST_F(SchedulerFairnessTest, ADebtorAloneIsNotKeptWaiting) {
  Preload("large.test", 200, 1, 100 * kOctetsPerEnvelope);
  bed_.Boot();
  EXPECT_EQ(Serve(10000)["large.test"], 200u);
  EXPECT_TRUE(bed_.disk.envelopes.empty());
}

// Of many with the same all are served alike, whatever is in short supply.
TEST_F(SchedulerFairnessTest, EqualOnesAreServedEqually) {
  bed_.config.scheduler_limits.max_inflight = 100;
  for (int i = 0; i < 30; ++i) Preload(absl::StrCat("d", i, ".test"), 200);
  bed_.Boot();
  std::map<std::string, size_t> served;
  size_t all = 0;
  while (all < 3000) {
    for (const auto& [domain, count] : Serve(1)) {
      served[domain] += count;
      all += count;
    }
  }
  ASSERT_EQ(served.size(), 30u);
  size_t least = SIZE_MAX, most = 0;
  for (const auto& [domain, count] : served) {
    least = std::min(least, count);
    most = std::max(most, count);
  }
  EXPECT_GE(least, 60u);
  EXPECT_LE(most, 140u);
}

// ---- What is in flight

TEST_F(SchedulerFairnessTest, SlowDestinationsLeaveRoomForOthers) {
  for (int i = 0; i < 40; ++i) Preload(absl::StrCat("slow", i, ".test"), 3000);
  bed_.Boot();
  ProveAll();  // then they answer no more
  const size_t max = bed_.config.scheduler_limits.max_inflight;
  EXPECT_GT(bed_.engine->in_flight().with_worker(), max * 9 / 10);
  EXPECT_LT(bed_.engine->in_flight().with_worker(), max);
  for (int i = 0; i < 20; ++i) {
    const std::string domain = absl::StrCat("new", i, ".test");
    const EnvelopeId id = bed_.AcceptFor(domain);
    ASSERT_EQ(AtRelay(domain), 1u);
    for (const GotBatch& batch : bed_.relay->batches) {
      if (batch.where != domain) continue;
      bed_.relay->Answer(batch, Result::kOk, "250 ok");
      break;
    }
    bed_.Run();
    EXPECT_FALSE(bed_.InQueue(id));
  }
}

TEST_F(SchedulerFairnessTest, OneAloneMayHaveHalf) {
  bed_.config.mta_limits.max_conn_per_connector = 100;
  Preload("big.test", 6000);
  bed_.Boot();
  ProveAll();
  const size_t max = bed_.config.scheduler_limits.max_inflight;
  EXPECT_LE(AtRelay("big.test"), max / 2);
  EXPECT_GE(AtRelay("big.test"), max / 2 - 2 * kMaxBatchMessages);
}

// A few hundred that hang, and one that was never heard of.
TEST_F(SchedulerFairnessTest, HangingDestinationsLeaveRoomForUnknownOnes) {
  for (int i = 0; i < 200; ++i) Preload(absl::StrCat("dead", i, ".test"), 100);
  bed_.Boot();
  bed_.AcceptFor("new.test");
  EXPECT_EQ(bed_.relay->batches.back().where, "new.test");
  for (int i = 0; i < 200; ++i) {
    EXPECT_GE(AtRelay(absl::StrCat("dead", i, ".test")), 1u);
  }
}

// So many that their half is used up.
TEST_F(SchedulerFairnessTest, AnUnknownOneIsTriedHoweverManyHang) {
  for (int i = 0; i < 700; ++i) Preload(absl::StrCat("dead", i, ".test"), 100);
  bed_.Boot();
  bed_.AcceptFor("new.test");
  EXPECT_EQ(bed_.relay->batches.back().where, "new.test");
  EXPECT_LT(bed_.engine->in_flight().with_worker(),
            bed_.config.scheduler_limits.max_inflight * 3 / 4);
}

// ---- Sessions

TEST_F(SchedulerFairnessTest, ADeepBacklogUsesAllSessionsThatLimitsAllow) {
  bed_.config.mta_limits.max_conn_per_connector = 7;
  Preload("big.test", 3000);
  bed_.Boot();
  EXPECT_GT(bed_.relay->batches.size(), 1u) << "before the first answer";
  ProveAll();
  EXPECT_EQ(bed_.relay->batches.size(), 7u);
  // Each knows that there is more to come.
  size_t full = 0;
  for (const GotBatch& b : bed_.relay->batches) {
    EXPECT_GT(b.waiting, 2000u);
    EXPECT_LE(b.waiting, 3000u);
    full += b.messages.size() == kMaxBatchMessages;
  }
  EXPECT_GE(full, 3u);
}

TEST_F(SchedulerFairnessTest, TheLastBatchKnowsThatItIs) {
  bed_.Boot();
  bed_.AcceptFor("example.net");
  EXPECT_EQ(bed_.relay->Take().waiting, 0u);
}

TEST_F(SchedulerFairnessTest, ActionsWithTheSameDestinationHaveTheirOwnTurns) {
  Action& other = bed_.config.actions["other"];
  other.name = "other";
  other.method = ActionMethod::kRelay;
  Preload("a.test", 500);
  bed_.Boot();
  ProveAll();
  const EnvelopeId id =
      bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMta, "other", "a.test"));
  const GotBatch batch = bed_.relay->batches.back();
  EXPECT_EQ(batch.target.action, "other");
  EXPECT_EQ(batch.Envelopes(), std::vector<EnvelopeId>{id});
}

// With a smarthost its name's limits count, not those of the recipients.
TEST_F(SchedulerFairnessTest, LimitsOfTheSmarthostCount) {
  bed_.config.mta_domain_limits["a.test"] = bed_.config.mta_limits;
  bed_.config.mta_domain_limits["a.test"].max_conn_per_relay = 2;
  bed_.config.mta_domain_limits["b.test"] = bed_.config.mta_limits;
  bed_.config.mta_domain_limits["b.test"].max_conn_per_relay = 1;
  bed_.config.mta_domain_limits["rcpt.test"] = bed_.config.mta_limits;
  bed_.config.mta_domain_limits["rcpt.test"].max_conn_per_relay = 9;
  for (int i = 0; i < 1000; ++i) {
    bed_.Preload(bed_.MakeEnvelope(DeliveryKind::kMta, "smart", "rcpt.test"));
  }
  Preload("rcpt.test", 1000);
  bed_.Boot();
  for (int i = 0; i < 5; ++i) ProveAll();
  std::map<std::string, size_t> batches;
  for (const GotBatch& b : bed_.relay->batches) ++batches[b.target.action];
  EXPECT_EQ(batches["smart"], 3u);  // 2 to the one, 1 to the other
  EXPECT_EQ(batches["out"], 9u);
}

// ---- Several smarthosts

TEST_F(SchedulerFairnessTest, WhenOneSmarthostFailsTheOtherIsTriedAtOnce) {
  bed_.Boot();
  bed_.TakeLog();
  std::vector<std::string> tried;
  bed_.relay->on_batch = [&](const GotBatch& batch) {
    tried.push_back(batch.target.domain);
    if (batch.target.domain == "smtp://a.test") {
      return bed_.relay->Fail(batch, "Network error on destination MXs");
    }
    bed_.relay->Answer(batch, Result::kOk, "250 ok");
  };
  for (int i = 0; i < 10; ++i) {
    bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMta, "smart", "example.net"));
  }
  // No time has passed.
  EXPECT_TRUE(bed_.disk.envelopes.empty());
  EXPECT_EQ(std::count(tried.begin(), tried.end(), "smtp://a.test"), 1);
  EXPECT_FALSE(absl::StrContains(bed_.TakeLog(), "smtp-out: Destination"));
}

TEST_F(SchedulerFairnessTest, WhenAllSmarthostsFailItIsPostponed) {
  bed_.Boot();
  bed_.TakeLog();
  std::set<std::string> tried;
  bed_.relay->on_batch = [&](const GotBatch& batch) {
    tried.insert(batch.target.domain);
    bed_.relay->Fail(batch, "Network error on destination MXs");
  };
  bed_.Accept(bed_.MakeEnvelope(DeliveryKind::kMta, "smart", "example.net"));
  EXPECT_EQ(tried.size(), 2u);
  const DestinationRow& row = bed_.disk.destinations.begin()->second.row;
  EXPECT_EQ(row.failures, 1u);
  EXPECT_GT(row.postponed_until, bed_.loop.Now());
  const std::string log = bed_.TakeLog();
  EXPECT_TRUE(absl::StrContains(log, "smtp-out: Destination example.net"));
  // A round later one of them is back.
  bed_.relay->on_batch = [&](const GotBatch& batch) {
    bed_.relay->Answer(batch, Result::kOk, "250 ok");
  };
  bed_.loop.Advance(absl::Seconds(400));
  EXPECT_TRUE(bed_.disk.envelopes.empty());
}

// ---- Pauses

TEST_F(SchedulerFairnessTest, APauseEndsWithAllThatCameMeanwhile) {
  Preload("a.test", 3000);
  bed_.Boot();
  Scheduler& scheduler = bed_.engine->scheduler();
  ProveAll();
  const size_t under_way = AtRelay("a.test");
  EXPECT_TRUE(scheduler.SetPaused(DeliveryKind::kMta, true));
  // What workers have goes on, nothing follows.
  Serve(1000);
  EXPECT_EQ(bed_.disk.ledger.delivered, 3000 - bed_.disk.envelopes.size());
  EXPECT_GE(bed_.disk.ledger.delivered, under_way);
  EXPECT_EQ(AtRelay("a.test"), 0u);
  const size_t left = bed_.disk.envelopes.size();
  EXPECT_GT(left, 0u);
  for (int i = 0; i < 10; ++i) bed_.AcceptFor("b.test");
  bed_.loop.Advance(absl::Hours(2));
  EXPECT_TRUE(bed_.relay->batches.empty());
  EXPECT_EQ(scheduler.active(), 0u);
  EXPECT_TRUE(scheduler.SetPaused(DeliveryKind::kMta, false));
  bed_.Run();
  Serve(1000);
  EXPECT_TRUE(bed_.disk.envelopes.empty());
}

}  // namespace
}  // namespace holdfast
