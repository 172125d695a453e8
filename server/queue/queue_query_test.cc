#include "server/queue/queue_query.h"

#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/queue/fake_queue.h"

namespace holdfast {
namespace {

// Reads are answered when told, as by a thread that is busy.
class SlowStore : public FakeQueueStore {
 public:
  using Read = absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)>;
  void ReadLater(Read read) override { waiting.push_back(std::move(read)); }
  void Answer() {
    Read read = std::move(waiting.front());
    waiting.pop_front();
    FakeQueueStore::ReadLater(std::move(read));
  }
  std::deque<Read> waiting;
};

class QueueQueryTest : public testing::Test {
 protected:
  void Add(int envelopes) {
    for (int i = 1; i <= envelopes; ++i) {
      const EnvelopeId id =
          MakeEnvelopeId(MessageId{7}, static_cast<uint32_t>(i));
      Envelope& e = store_.envelopes[id];
      e.id = id;
      e.retry = static_cast<uint32_t>(i);
      e.created = e.expires = loop_.Now();
      store_.due[id] = loop_.Now();
    }
  }
  std::unique_ptr<QueueQuery> Query(const std::string& text) {
    return std::make_unique<QueueQuery>(
        &loop_, &store_, *EnvelopeFilter::Parse(text, loop_.Now()));
  }
  void Next(QueueQuery* query, size_t rows) {
    page_.reset();
    query->Next(rows, [this](absl::StatusOr<QueueQuery::Page> page) {
      page_ = std::move(page);
    });
  }

  FakeEventLoop loop_;
  SlowStore store_;
  std::optional<absl::StatusOr<QueueQuery::Page>> page_;
};

TEST_F(QueueQueryTest, PagesOfWhatMatches) {
  Add(5);
  const auto query = Query("attempts > 2");
  Next(query.get(), 4);
  store_.Answer();
  EXPECT_FALSE(page_);  // in a later turn
  loop_.RunReady();
  ASSERT_TRUE(page_ && page_->ok());
  EXPECT_EQ((*page_)->rows.size(), 2u);
  EXPECT_FALSE((*page_)->ended);
  Next(query.get(), 4);
  store_.Answer();
  loop_.RunReady();
  EXPECT_EQ((*page_)->rows.size(), 1u);
  EXPECT_TRUE((*page_)->ended);
}

TEST_F(QueueQueryTest, AnotherQueryGoesOnWhereOneWas) {
  Add(3);
  const auto first = Query("");
  Next(first.get(), 2);
  store_.Answer();
  loop_.RunReady();
  const auto second = Query("");
  ASSERT_TRUE(second->Resume(first->Cursor()).ok());
  Next(second.get(), 2);
  store_.Answer();
  loop_.RunReady();
  ASSERT_EQ((*page_)->rows.size(), 1u);
  EXPECT_EQ((*page_)->rows[0].envelope.retry, 3u);
  EXPECT_FALSE(second->Resume("nonsense").ok());
}

TEST_F(QueueQueryTest, WaitsAsLongAsThePageBeforeTook) {
  Add(5);
  const auto query = Query("");
  Next(query.get(), 1);
  loop_.Advance(absl::Milliseconds(30));  // other reads go first
  store_.Answer();
  loop_.RunReady();
  Next(query.get(), 1);
  loop_.Advance(absl::Milliseconds(29));
  EXPECT_TRUE(store_.waiting.empty());
  loop_.Advance(absl::Milliseconds(1));
  ASSERT_EQ(store_.waiting.size(), 1u);
  loop_.Advance(absl::Seconds(30));
  store_.Answer();
  loop_.RunReady();
  Next(query.get(), 1);
  loop_.Advance(QueueQuery::kMaxPause);
  EXPECT_EQ(store_.waiting.size(), 1u);
}

TEST_F(QueueQueryTest, WaitsLongerWhileMailIsCommitted) {
  Add(5);
  const auto query = Query("");
  Next(query.get(), 1);
  loop_.Advance(absl::Milliseconds(10));
  store_.commits.microseconds.Add(1);
  store_.Answer();
  loop_.RunReady();
  Next(query.get(), 1);
  loop_.Advance(absl::Milliseconds(QueueQuery::kBusyPauses * 10 - 1));
  EXPECT_TRUE(store_.waiting.empty());
  loop_.Advance(absl::Milliseconds(1));
  EXPECT_EQ(store_.waiting.size(), 1u);
}

TEST_F(QueueQueryTest, DroppedItCallsNobody) {
  Add(5);
  auto query = Query("");
  Next(query.get(), 1);
  query.reset();
  store_.Answer();
  loop_.RunReady();
  EXPECT_FALSE(page_);

  query = Query("");
  Next(query.get(), 1);
  store_.Answer();
  query.reset();  // the answer is on its way
  loop_.RunReady();
  EXPECT_FALSE(page_);
}

TEST_F(QueueQueryTest, AStoreThatCannotBeRead) {
  Add(5);
  store_.read_status = absl::DataLossError("torn");
  const auto query = Query("");
  Next(query.get(), 1);
  store_.Answer();
  loop_.RunReady();
  ASSERT_TRUE(page_.has_value());
  EXPECT_EQ(page_->status().message(), "torn");
}

}  // namespace
}  // namespace holdfast
