#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "server/relay/relay_test_bed.h"
#include "storage/body_codec.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RelayBodiesTest : public RelayTestBed {};

TEST_F(RelayBodiesTest, ALargeBodyIsAskedForInPiecesItsDotWaitsForTheClaim) {
  Start();
  std::string text;
  RelayBatch batch = Large(Batch(1, {{"a@a.test"}}), 2 << 20, &chunks_, &text);
  ASSERT_GT(batch.messages[0].body.chunks, 16u);
  Give(batch, /*claimed=*/false);
  EXPECT_EQ(server(0).open_messages(), 1);
  for (const BodyRequest& r : body_requests_) EXPECT_LE(r.count, 8u);
  EXPECT_THAT(server(0).messages(), IsEmpty());  // all but the dot is there
  Claim(BatchId(1));
  ASSERT_THAT(server(0).messages(), SizeIs(1));
  std::string wire;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.empty()) continue;
    absl::StrAppend(&wire, absl::StartsWith(line, ".") ? "." : "", line,
                    "\r\n");
  }
  EXPECT_EQ(server(0).messages()[0].text, wire);
}

TEST_F(RelayBodiesTest, NoMoreOfABodyIsReadThanTheServerTakes) {
  Start();
  std::string text;
  const RelayBatch batch =
      Large(Batch(1, {{"a@a.test"}}), 4 << 20, &chunks_, &text);
  serve_bodies_ = false;
  Give(batch);
  ASSERT_THAT(body_requests_, SizeIs(1));
  dialer_->connections[0]->stream->PauseReading();
  serve_bodies_ = true;
  BodyRequest first = body_requests_[0];
  On(first);
  loop_.RunReady();
  // What is asked for is bounded by backlog, socket buffers and credit.
  const size_t asked = body_requests_.back().first + 8;
  EXPECT_LT(asked * kBodyChunkBytes, 2u << 20);
  dialer_->connections[0]->stream->ResumeReading();
  loop_.RunReady();
  EXPECT_THAT(server(0).messages(), SizeIs(1));
}

TEST_F(RelayBodiesTest, ABodyThatCannotBeReadIsNeverCompleted) {
  Start();
  std::string text;
  RelayBatch batch =
      Large(Batch(1, {{"a@a.test"}, {"b@a.test"}}), 1 << 20, &chunks_, &text);
  chunks_.resize(12);  // the rest is lost
  Give(batch);
  EXPECT_THAT(outcomes_, ElementsAre("100 Temp Error reading content file",
                                     "101 Ok 250 2.0.0 queued"));
  EXPECT_THAT(server(0).messages(), IsEmpty());
  // Damaged, and small.
  outcomes_.clear();
  RelayBatch damaged = Batch(2, {{"a@a.test"}});
  damaged.messages[0].body.digest ^= 1;
  Give(damaged);
  EXPECT_THAT(outcomes_, ElementsAre("200 Temp Error reading content file"));
}

TEST_F(RelayBodiesTest, ARefusalDuringALargeBodyIsHeard) {
  Start();
  std::string text;
  dialer_->prepare = [](size_t, Server* s) {
    s->early_answer = "554 5.7.1 no such thing";
  };
  Give(Large(Batch(1, {{"a@a.test"}}), 2 << 20, &chunks_, &text));
  EXPECT_THAT(outcomes_, ElementsAre("100 Perm 554 5.7.1 no such thing"));
}

TEST_F(RelayBodiesTest, ALargeBinaryMessageGoesInChunksAsItIs) {
  for (const bool pipelining : {true, false}) {
    Start();
    dialer_->prepare = [&](size_t, Server* s) {
      s->extensions = {"CHUNKING", "BINARYMIME"};
      if (pipelining) s->extensions.push_back("PIPELINING");
    };
    std::string text = "Subject: x\n\n";
    for (int i = 0; i < 600'000; ++i)
      text.push_back(static_cast<char>(random_()));
    BodyCompressor compressor;
    chunks_ = compressor.Write(text);
    CompressedBody body = compressor.Finish();
    for (std::string& chunk : body.chunks) chunks_.push_back(std::move(chunk));
    RelayBatch batch = Batch(1, {{"a@a.test"}});
    batch.messages[0].flags = kFlagBinaryMime;
    batch.messages[0].body = body.info;
    batch.messages[0].stored.clear();
    Give(batch);
    ASSERT_THAT(server(0).messages(), SizeIs(1)) << pipelining;
    EXPECT_TRUE(server(0).messages()[0].text ==
                "Subject: x\r\n\r\n" + text.substr(12));
    EXPECT_GT(server(0).messages()[0].chunks.size(), 1u);
    EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
    outcomes_.clear();
    room_.reset();
  }
}

}  // namespace
}  // namespace holdfast
