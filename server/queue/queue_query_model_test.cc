// Random queues in a real store, random filters, through QueueQuery: every
// envelope that a naive evaluation (protocol/envelope_filter_model.h) finds,
// and each once, whatever index was used and wherever pages end.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "gtest/gtest.h"
#include "protocol/envelope_filter_model.h"
#include "server/loop/fake_event_loop.h"
#include "server/queue/queue_query.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

static_assert(kModelNow == kTestNow);

constexpr int kQueues = 10;
constexpr int kEnvelopes = 150;
constexpr int kFilters = 60;

// Reads as on the reader thread, but at once.
class DirectStore : public QueueStore {
 public:
  explicit DirectStore(QueueStore* store) : store_(*store) {}

  void Submit(QueueBatch batch, Done done) override {
    store_.Submit(std::move(batch), std::move(done));
  }
  absl::StatusOr<std::unique_ptr<QueueView>> View() override {
    return store_.View();
  }
  void ReadLater(absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)>
                     read) override {
    const auto view = store_.View();
    ASSERT_TRUE(view.ok());
    read(view->get());
  }
  void Drain() override { store_.Drain(); }
  const std::string& uuid() const override { return store_.uuid(); }
  uint64_t start_number() const override { return store_.start_number(); }

 private:
  QueueStore& store_;
};

class QueueQueryModelTest : public testing::Test {
 protected:
  // One of a message's envelopes; what they have in common is the first one's.
  void Take(std::vector<PlainEnvelope>* message, PlainEnvelope plain) {
    for (const PlainEnvelope& other : *message)
      if (other.id == plain.id) return;
    if (!message->empty()) plain.size = message->front().size;
    message->push_back(std::move(plain));
  }

  void Accept(const std::vector<PlainEnvelope>& message) {
    AcceptMessage accept =
        MakeMessage(MessageOf(EnvelopeId{message[0].id}), 0, "text");
    accept.body.raw_bytes = static_cast<uint64_t>(message[0].size);
    for (const PlainEnvelope& plain : message) {
      const EnvelopeFacts facts = FactsFrom(plain);
      Envelope envelope = facts.envelope;
      envelope.rcpt = envelope.dest;
      envelope.error_line = facts.error;
      envelope.routing_key = facts.destination;
      if (envelope.kind == DeliveryKind::kMta)
        absl::AsciiStrToLower(&envelope.routing_key);
      accept.envelopes.push_back(envelope);
      accept.dues.push_back(
          facts.due.value_or(absl::FromUnixSeconds(kModelNow)));
      if (facts.state == EnvelopeState::kInFlight)
        claimed_.push_back(envelope.id);
      queue_.push_back(plain);
    }
    const OperationResult result = store_->RunOne(std::move(accept));
    ASSERT_TRUE(result.status.ok()) << result.status;
  }

  void Fill(ModelRandom* random) {
    queue_.clear();
    claimed_.clear();
    store_.emplace();
    ASSERT_TRUE(store_->Open().ok());
    std::map<uint64_t, std::vector<PlainEnvelope>> messages;
    for (int i = 0; i < kEnvelopes; ++i) {
      PlainEnvelope plain = MakePlain(random);
      Take(&messages[plain.id >> 32], std::move(plain));
    }
    for (const auto& [id, message] : messages) Accept(message);
    if (claimed_.empty()) return;
    ClaimEnvelopes claim;
    claim.worker = WorkerId{1};
    claim.batch = BatchId{1};
    claim.envelopes = claimed_;
    ASSERT_TRUE(store_->RunOne(claim).status.ok());
  }

  // All that the query finds, in order.  Now and then another query goes on
  // from the cursor of the one before.
  std::vector<EnvelopeId> Found(const EnvelopeFilter& filter,
                                ModelRandom* random) {
    FakeEventLoop loop(absl::FromUnixSeconds(kModelNow));
    DirectStore direct(store_->store());
    std::vector<std::string> actions;
    if (ModelBelow(random, 2)) actions = {"relay", "Local", "gone"};
    const auto make = [&] {
      return std::make_unique<QueueQuery>(&loop, &direct, filter, actions);
    };
    auto query = make();
    std::vector<EnvelopeId> found;
    for (bool ended = false; !ended;) {
      std::optional<absl::StatusOr<QueueQuery::Page>> page;
      query->Next(
          1 + static_cast<size_t>(ModelBelow(random, 30)),
          [&page](absl::StatusOr<QueueQuery::Page> p) { page = std::move(p); });
      loop.Advance(QueueQuery::kMaxPause);
      if (!page || !page->ok()) {
        ADD_FAILURE() << "no page";
        return found;
      }
      for (const EnvelopeFacts& facts : (*page)->rows)
        found.push_back(facts.envelope.id);
      ended = (*page)->ended;
      if (ModelBelow(random, 4)) continue;
      const std::string cursor = query->Cursor();
      query = make();
      EXPECT_TRUE(query->Resume(cursor).ok());
    }
    return found;
  }

  std::optional<StoreForTest> store_;
  std::vector<PlainEnvelope> queue_;
  std::vector<EnvelopeId> claimed_;
};

TEST_F(QueueQueryModelTest, FindsWhatALookAtEveryEnvelopeFinds) {
  ModelRandom random(20261123);
  std::map<QueueWalk::Plan, int> plans;
  size_t matched = 0;
  for (int round = 0; round < kQueues; ++round) {
    ASSERT_NO_FATAL_FAILURE(Fill(&random));
    for (int i = 0; i < kFilters; ++i) {
      const FilterModel model = MakeFilterModel(&random, i % 3);
      const auto filter =
          EnvelopeFilter::Parse(model.text, absl::FromUnixSeconds(kModelNow));
      ASSERT_TRUE(filter.ok()) << filter.status();
      ++plans[QueueWalk(*filter).plan()];
      std::set<EnvelopeId> expected;
      for (const PlainEnvelope& plain : queue_)
        if (model.fits(plain)) expected.insert(EnvelopeId{plain.id});
      const std::vector<EnvelopeId> found = Found(*filter, &random);
      ASSERT_EQ(std::set<EnvelopeId>(found.begin(), found.end()), expected)
          << model.text;
      ASSERT_EQ(found.size(), expected.size()) << model.text;
      matched += expected.size();
    }
  }
  EXPECT_GT(matched, 1000u);
  // Every way there is was gone.
  for (const auto plan :
       {QueueWalk::Plan::kIds, QueueWalk::Plan::kMessages,
        QueueWalk::Plan::kDestinations, QueueWalk::Plan::kHeld,
        QueueWalk::Plan::kDue, QueueWalk::Plan::kAll})
    EXPECT_GT(plans[plan], 0) << static_cast<int>(plan);
}

}  // namespace
}  // namespace holdfast
