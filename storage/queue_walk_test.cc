#include "storage/queue_walk.h"

#include <algorithm>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

using Plan = QueueWalk::Plan;

const absl::Time kNow = absl::FromUnixSeconds(kTestNow);
constexpr int kMessages = 120;

// Messages to domains and users, some of them held, suspended, claimed or
// retried, and destinations that are postponed.
class QueueWalkTest : public testing::Test {
 protected:
  void SetUp() override {
    store_.options().size_limit = 64 << 20;
    ASSERT_TRUE(store_.Open().ok());
    for (int i = 0; i < kMessages; ++i) Accept(i);
    for (int i = 0; i < kMessages; i += 5) Act(i, ActOnEnvelope::Act::kSuspend);
    for (int i = 1; i < kMessages; i += 7) Act(i, ActOnEnvelope::Act::kHold);
    Claim({Id(2), Id(3), Id(4)});
    Postpone(3);
    ASSERT_EQ(store_.Check(), "");
  }

  static EnvelopeId Id(int i) {
    return MakeEnvelopeId(MessageId{0x1000u + static_cast<uint32_t>(i)}, 1);
  }

  // Two envelopes each: to a domain, and to a user of this host.
  void Accept(int i) {
    AcceptMessage message =
        MakeMessage(MessageOf(Id(i)), 2, std::string(100 + i, 'x'));
    Envelope& away = message.envelopes[0];
    away.dest = away.rcpt = {"u", absl::StrCat("D", i % 6, ".example")};
    away.routing_key = absl::AsciiStrToLower(away.dest.domain);
    away.action = i % 4 == 0 ? "other" : "relay";
    away.created = kNow - absl::Minutes(i);
    if (i % 10 == 9) away.routing_key = "[192.0.2.1]";
    Envelope& here = message.envelopes[1];
    here.kind = DeliveryKind::kMda;
    here.action = "local";
    here.dest = here.rcpt = {"joe", "d1.example"};
    here.mda_user = here.routing_key = i % 2 ? "Joe" : "ann";
    ASSERT_TRUE(store_.RunOne(std::move(message)).status.ok());
  }

  void Act(int i, ActOnEnvelope::Act act) {
    ActOnEnvelope operation;
    operation.envelope = Id(i);
    operation.act = act;
    operation.due = kNow;
    ASSERT_TRUE(store_.RunOne(operation).status.ok());
  }

  void Claim(std::vector<EnvelopeId> ids) {
    ClaimEnvelopes claim;
    claim.worker = WorkerId{1};
    claim.batch = BatchId{1};
    claim.envelopes = std::move(ids);
    ASSERT_TRUE(store_.RunOne(claim).status.ok());
  }

  void Postpone(int domain) {
    const auto row = store_.View()->FindDestination(
        DeliveryKind::kMta, "relay", absl::StrCat("d", domain, ".example"));
    ASSERT_TRUE(row.ok());
    PostponeDestination postpone;
    postpone.destination = row->id;
    postpone.until = kNow + absl::Minutes(30);
    postpone.first_failure = kNow;
    postpone.failures = 4;
    postpone.error = "Network error";
    ASSERT_TRUE(store_.RunOne(postpone).status.ok());
  }

  EnvelopeFilter Filter(const std::string& text) {
    const auto filter = EnvelopeFilter::Parse(text, kNow);
    EXPECT_TRUE(filter.ok()) << filter.status();
    return *filter;
  }

  // By looking at every envelope.
  std::set<EnvelopeId> Naive(const EnvelopeFilter& filter) {
    std::set<EnvelopeId> ids;
    const auto view = store_.View();
    for (const Envelope& e : view->Envelopes(EnvelopeId{}, 100000))
      if (filter.Matches(*FactsOf(*view, e.id, kNow))) ids.insert(e.id);
    return ids;
  }

  // In steps of `rows`, each by a walk of its own that goes on from the last
  // one's cursor.
  std::vector<EnvelopeId> Walked(const EnvelopeFilter& filter, size_t rows,
                                 std::vector<std::string> actions = {}) {
    std::vector<EnvelopeId> ids;
    std::string cursor = QueueWalk(filter, actions).Cursor();
    for (bool ended = false; !ended;) {
      QueueWalk walk(filter, actions);
      EXPECT_TRUE(walk.Resume(cursor).ok());
      std::vector<EnvelopeFacts> found;
      EXPECT_TRUE(walk.Step(*store_.View(), kNow, rows, &found).ok());
      EXPECT_LE(walk.looked_at(), rows);
      EXPECT_LE(found.size(), rows);
      for (const EnvelopeFacts& f : found) ids.push_back(f.envelope.id);
      ended = walk.ended();
      cursor = walk.Cursor();
    }
    return ids;
  }

  StoreForTest store_;
};

TEST_F(QueueWalkTest, EveryPlanFindsWhatLookingAtAllFinds) {
  const std::pair<std::string, Plan> cases[] = {
      {"", Plan::kAll},
      {"kind = mta and age > 1h", Plan::kAll},
      {"id in (0000100000000001, 0000100500000002, 00001fff00000001)",
       Plan::kIds},
      {"message in (00001002, 00001077, 00002000) and kind = mta",
       Plan::kMessages},
      {"domain = d1.example", Plan::kDestinations},
      {"domain = D3.EXAMPLE and state = deferred", Plan::kDestinations},
      {"domain in (d0.example, d9.example) and state = suspended",
       Plan::kDestinations},
      {"destination = joe", Plan::kDestinations},
      {"destination in (ann, d2.example, [192.0.2.1])", Plan::kDestinations},
      {"domain = d2.example and due < 1m", Plan::kDestinations},
      {"domain = d2.example and domain = d1.example", Plan::kDestinations},
      {"state = held", Plan::kHeld},
      {"flag in (hold, suspend) and age > 30m", Plan::kHeld},
      {"due <= 0", Plan::kDue},
      {"due < 40m and kind = mta", Plan::kDue},
      {"due < -1h", Plan::kDue},
      {"state = inflight", Plan::kAll},
  };
  for (const auto& [text, plan] : cases) {
    const EnvelopeFilter filter = Filter(text);
    EXPECT_EQ(QueueWalk(filter).plan(), plan) << text;
    const std::set<EnvelopeId> expected = Naive(filter);
    for (const size_t rows : {1, 2, 7, 64, 1000}) {
      for (const auto& actions :
           {std::vector<std::string>{}, {"relay", "gone", "other"}}) {
        const auto walked = Walked(filter, rows, actions);
        EXPECT_EQ(std::set<EnvelopeId>(walked.begin(), walked.end()), expected)
            << text << " by " << rows;
        EXPECT_EQ(walked.size(), expected.size()) << text << " by " << rows;
      }
    }
  }
}

TEST_F(QueueWalkTest, WhatIsKnownOfAnEnvelope) {
  const auto view = store_.View();
  const auto postponed = FactsOf(*view, Id(9 - 6), kNow);  // claimed, d3
  ASSERT_TRUE(postponed.ok());
  EXPECT_EQ(postponed->state, EnvelopeState::kInFlight);
  EXPECT_EQ(postponed->size, 103u);
  EXPECT_NE(postponed->serial, 0u);
  EXPECT_EQ(postponed->destination, "d3.example");
  EXPECT_EQ(postponed->error, "Network error");
  EXPECT_EQ(postponed->destination_failures, 4u);
  EXPECT_EQ(postponed->due, kNow + absl::Minutes(30));

  EXPECT_EQ(FactsOf(*view, Id(21), kNow)->state, EnvelopeState::kDeferred);
  const auto held = FactsOf(*view, Id(8), kNow);
  EXPECT_EQ(held->state, EnvelopeState::kHeld);
  EXPECT_FALSE(held->due.has_value());
  EXPECT_EQ(FactsOf(*view, Id(5), kNow)->state, EnvelopeState::kSuspended);
  EXPECT_EQ(FactsOf(*view, Id(7), kNow)->state, EnvelopeState::kQueued);
  EXPECT_TRUE(absl::IsNotFound(FactsOf(*view, Id(999), kNow).status()));
}

TEST_F(QueueWalkTest, KnownActionsComeFirst) {
  // Its first row of any destination is the one asked for.
  QueueWalk walk(Filter("domain = d5.example"), {"relay"});
  std::vector<EnvelopeFacts> found;
  ASSERT_TRUE(walk.Step(*store_.View(), kNow, 3, &found).ok());
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0].destination, "d5.example");
}

TEST_F(QueueWalkTest, AStepIsBoundedWhateverIsAsked) {
  QueueWalk walk{EnvelopeFilter()};
  std::vector<EnvelopeFacts> found;
  ASSERT_TRUE(walk.Step(*store_.View(), kNow, size_t{1} << 40, &found).ok());
  EXPECT_LE(walk.looked_at(), kMaxWalkRows);
  QueueWalk narrow{EnvelopeFilter()};
  ASSERT_TRUE(narrow.Step(*store_.View(), kNow, 0, &found).ok());
  EXPECT_EQ(narrow.looked_at(), 1u);
}

TEST_F(QueueWalkTest, MailThatComesMeanwhileDoesNotMoveAWalkById) {
  QueueWalk walk{EnvelopeFilter()};
  std::vector<EnvelopeFacts> found;
  for (int i = 0; !walk.ended(); ++i) {
    ASSERT_TRUE(walk.Step(*store_.View(), kNow, 50, &found).ok());
    Accept(kMessages + 10 + i);
    // What was met already goes; nothing else is missed or met again.
    Act(i == 2 ? 7 : 8 + i, ActOnEnvelope::Act::kRemove);
  }
  std::set<EnvelopeId> met;
  for (const EnvelopeFacts& f : found)
    EXPECT_TRUE(met.insert(f.envelope.id).second);
  for (int i = 20; i < kMessages; ++i) EXPECT_EQ(met.count(Id(i)), 1u);
}

TEST_F(QueueWalkTest, ForeignCursors) {
  QueueWalk walk(Filter("state = held"));
  EXPECT_FALSE(walk.Resume("").ok());
  EXPECT_FALSE(walk.Resume("\xff\xff\xff").ok());
  EXPECT_FALSE(walk.Resume(QueueWalk{EnvelopeFilter()}.Cursor()).ok());
  EXPECT_TRUE(walk.Resume(walk.Cursor()).ok());
}

}  // namespace
}  // namespace holdfast
