// Attempts in records, and what is kept of envelopes that have ended.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <cerrno>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "protocol/attempts.h"
#include "storage/keys.h"
#include "storage/lmdb_env.h"
#include "storage/lmdb_io.h"
#include "storage/records.h"
#include "storage/store_for_test.h"

namespace holdfast {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Result = EnvelopeOutcome::Result;

constexpr EnvelopeId kFirst{0};
constexpr EnvelopeId kLast{~0ull};

absl::Time At(int64_t seconds) {
  return absl::FromUnixSeconds(kTestNow + seconds);
}

Attempt MakeAttempt(int64_t began, absl::string_view answer) {
  Attempt attempt;
  attempt.began = At(began);
  attempt.took = absl::Seconds(2);
  attempt.source = "192.0.2.1";
  attempt.relay = "198.51.100.9 (mx.example.net)";
  attempt.answer = std::string(answer);
  return attempt;
}

class QueueHistoryTest : public testing::Test {
 protected:
  void Keep(absl::Duration age, uint64_t bytes = 1 << 30) {
    store_.options().history_age = age;
    store_.options().history_bytes = bytes;
    ASSERT_TRUE(store_.Open().ok());
  }

  EnvelopeId Accept(uint32_t message, int recipients = 1) {
    EXPECT_TRUE(store_.RunOne(MakeMessage(MessageId{message}, recipients, "x"))
                    .status.ok());
    return MakeEnvelopeId(MessageId{message}, 1);
  }
  void Claim(EnvelopeId id) {
    EXPECT_TRUE(store_.RunOne(ClaimEnvelopes{WorkerId{1}, BatchId{1}, {id}})
                    .status.ok());
  }
  Envelope Record(EnvelopeOutcome outcome) {
    Claim(outcome.envelope);
    const OperationResult result =
        store_.RunOne(RecordOutcomes{WorkerId{1}, BatchId{1}, {outcome}});
    EXPECT_TRUE(result.status.ok());
    return result.envelopes.at(0);
  }
  Envelope Retry(EnvelopeId id, const Attempt& attempt) {
    EnvelopeOutcome outcome = MakeOutcome(id, Result::kRetry);
    outcome.due = At(0);
    outcome.attempt = attempt;
    return Record(outcome);
  }
  void Deliver(EnvelopeId id, const Attempt& attempt) {
    EnvelopeOutcome outcome = MakeOutcome(id, Result::kEnded);
    outcome.attempt = attempt;
    Record(outcome);
  }
  // Accepts `count` messages and ends them, many in a transaction.
  void Churn(uint32_t first, uint32_t count, size_t answer_bytes) {
    constexpr uint32_t kTogether = 50;
    for (uint32_t done = 0; done < count; done += kTogether) {
      QueueBatch batch;
      ClaimEnvelopes claim{WorkerId{1}, BatchId{1}, {}};
      RecordOutcomes record{WorkerId{1}, BatchId{1}, {}};
      for (uint32_t i = 0; i < kTogether; ++i) {
        const uint32_t message = first + done + i;
        batch.push_back(MakeMessage(MessageId{message}, 1, "x"));
        const EnvelopeId id = MakeEnvelopeId(MessageId{message}, 1);
        claim.envelopes.push_back(id);
        EnvelopeOutcome outcome = MakeOutcome(id, Result::kEnded);
        // Does not shrink.
        std::string answer;
        uint32_t seed = message * 2654435761u;
        while (answer.size() < answer_bytes)
          answer.push_back(
              static_cast<char>((seed = seed * 1664525u + 1) >> 24));
        outcome.attempt = MakeAttempt(0, answer);
        record.outcomes.push_back(outcome);
      }
      batch.push_back(claim);
      batch.push_back(record);
      for (const OperationResult& result : store_.Run(batch).operations)
        ASSERT_TRUE(result.status.ok()) << result.status;
    }
  }
  std::vector<HistoryRow> History(EnvelopeId first = kFirst,
                                  EnvelopeId last = kLast) {
    return store_.View()->History(first, 0, last, 1'000'000);
  }

  StoreForTest store_;
};

TEST_F(QueueHistoryTest, AttemptsStandInTheRecordWhileItIsQueued) {
  Keep(absl::ZeroDuration());
  const EnvelopeId id = Accept(1);
  Retry(id, MakeAttempt(1, "451 one"));
  Retry(id, MakeAttempt(2, "451 two"));
  // Not tried: nothing is added.
  Record(MakeOutcome(id, Result::kReturn));
  Envelope e = *store_.View()->FindEnvelope(id);
  ASSERT_THAT(e.attempts, SizeIs(2));
  EXPECT_EQ(e.attempts[0].answer, "451 one");
  EXPECT_EQ(e.attempts[1].began, At(2));
  EXPECT_EQ(e.attempts[1].relay, "198.51.100.9 (mx.example.net)");
  // However often: the newest, within the bound.
  for (int i = 0; i < 40; ++i)
    Retry(id, MakeAttempt(i, std::string(2000, 'y')));
  e = *store_.View()->FindEnvelope(id);
  EXPECT_THAT(e.attempts,
              SizeIs(kMaxAttemptsBytes / AttemptBytes(e.attempts.back())));
  EXPECT_EQ(e.attempts.back().began, At(39));
  EXPECT_EQ(e.attempts.back().answer.size(), kMaxAttemptAnswer);
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueHistoryTest, AReportKnowsTheLastAttempt) {
  Keep(absl::ZeroDuration());
  const EnvelopeId id = Accept(1);
  Retry(id, MakeAttempt(1, "451 one"));
  EnvelopeOutcome failed = MakeOutcome(id, Result::kEnded);
  failed.ending = Ending::kReported;
  failed.report = true;
  failed.attempt = MakeAttempt(2, "550 two");
  Record(failed);
  const auto reports = store_.View()->Reports({}, 10);
  ASSERT_THAT(reports, SizeIs(1));
  ASSERT_THAT(reports[0].envelope.attempts, SizeIs(1));
  EXPECT_EQ(reports[0].envelope.attempts[0].answer, "550 two");
}

TEST_F(QueueHistoryTest, AReleasedClaimIsAnAttemptInDoubt) {
  Keep(absl::ZeroDuration());
  const EnvelopeId id = Accept(1);
  store_.set_now(At(100));
  Claim(id);
  store_.set_now(At(130));
  EXPECT_TRUE(store_.RunOne(ReleaseClaim{WorkerId{1}, BatchId{1}, true, false})
                  .status.ok());
  Envelope e = *store_.View()->FindEnvelope(id);
  ASSERT_THAT(e.attempts, SizeIs(1));
  EXPECT_EQ(e.attempts[0].result, Attempt::Result::kInDoubt);
  EXPECT_EQ(e.attempts[0].began, At(100));
  EXPECT_EQ(e.attempts[0].took, absl::Seconds(30));
  // One that is known not to have been tried adds nothing.
  Claim(id);
  EXPECT_TRUE(store_.RunOne(ReleaseClaim{WorkerId{1}, BatchId{1}, false, false})
                  .status.ok());
  EXPECT_THAT(store_.View()->FindEnvelope(id)->attempts, SizeIs(1));
  // Held, it is so with its attempt, and found again.
  Claim(id);
  EXPECT_TRUE(store_.RunOne(ReleaseClaim{WorkerId{1}, BatchId{1}, true, true})
                  .status.ok());
  e = *store_.View()->FindEnvelope(id);
  EXPECT_THAT(e.attempts, SizeIs(2));
  EXPECT_EQ(e.flags & (kFlagHeld | kFlagInDoubt), kFlagHeld | kFlagInDoubt);
  EXPECT_THAT(store_.View()->Doubts(10), SizeIs(2));
}

TEST_F(QueueHistoryTest, NothingIsKeptByDefault) {
  Keep(absl::ZeroDuration());
  Deliver(Accept(1), MakeAttempt(1, "250 ok"));
  EXPECT_THAT(History(), IsEmpty());
  EXPECT_EQ(store_.View()->Stats().history_bytes, 0u);
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueHistoryTest, WhatEndedIsFoundByItsIds) {
  Keep(absl::Hours(48));
  const EnvelopeId one = Accept(7, 3);
  const EnvelopeId two = MakeEnvelopeId(MessageId{7}, 2);
  const EnvelopeId three = MakeEnvelopeId(MessageId{7}, 3);
  const EnvelopeId other = Accept(8);
  Retry(one, MakeAttempt(1, "451 later"));
  Deliver(one, MakeAttempt(2, "250 ok"));
  ActOnEnvelope remove;
  remove.envelope = two;
  remove.act = ActOnEnvelope::Act::kRemove;
  EXPECT_TRUE(store_.RunOne(remove).status.ok());
  EnvelopeOutcome failed = MakeOutcome(three, Result::kEnded);
  failed.ending = Ending::kReported;
  failed.report = true;
  failed.attempt = MakeAttempt(3, "550 no");
  Record(failed);
  Deliver(other, MakeAttempt(4, "250 ok"));

  ASSERT_THAT(History(one, one), SizeIs(1));
  const HistoryRow row = History(one, one)[0];
  EXPECT_EQ(row.ending, Ending::kDelivered);
  EXPECT_EQ(row.ended, At(0));
  EXPECT_EQ(row.envelope.dest.ToString(), "user0@d0.example");
  ASSERT_THAT(row.envelope.attempts, SizeIs(2));
  EXPECT_EQ(row.envelope.attempts[1].answer, "250 ok");
  const auto message = History(MakeEnvelopeId(MessageId{7}, 0),
                               MakeEnvelopeId(MessageId{7}, ~0u));
  ASSERT_THAT(message, SizeIs(3));
  EXPECT_EQ(message[1].ending, Ending::kRemoved);
  EXPECT_THAT(message[1].envelope.attempts, IsEmpty());
  EXPECT_EQ(message[2].ending, Ending::kReported);
  // A page at a time, from where the last one ended.
  const auto view = store_.View();
  auto page = view->History(kFirst, 0, kLast, 3);
  ASSERT_THAT(page, SizeIs(3));
  page = view->History(page[2].envelope.id, page[2].serial, kLast, 3);
  ASSERT_THAT(page, SizeIs(1));
  EXPECT_EQ(page[0].envelope.id, other);
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueHistoryTest, AnIdThatIsGivenOutAgainIsThereTwice) {
  Keep(absl::Hours(48));
  const EnvelopeId id = Accept(1);
  Deliver(id, MakeAttempt(1, "250 first"));
  Accept(1);
  Deliver(id, MakeAttempt(2, "250 second"));
  const auto rows = History(id, id);
  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_LT(rows[0].serial, rows[1].serial);
  EXPECT_EQ(rows[1].envelope.attempts[0].answer, "250 second");
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueHistoryTest, TheOldestGoesWhenItsTimeIsUp) {
  Keep(absl::Hours(1));
  Deliver(Accept(1), MakeAttempt(1, "250 ok"));
  store_.set_now(At(1800));
  Deliver(Accept(2), MakeAttempt(2, "250 ok"));
  store_.set_now(At(3599));
  store_.RunOne(LeaseIds{1});
  EXPECT_THAT(History(), SizeIs(2));
  store_.set_now(At(3600));
  store_.RunOne(LeaseIds{1});
  ASSERT_THAT(History(), SizeIs(1));
  EXPECT_EQ(MessageOf(History()[0].envelope.id), MessageId{2});
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueHistoryTest, ItsSizeIsBounded) {
  constexpr uint64_t kLimit = 1 << 20;
  // What one commit adds may come on top.
  constexpr uint64_t kSlack = 128 << 10;
  Keep(absl::Hours(48), kLimit);
  for (uint32_t round = 0; round < 20; ++round) {
    Churn(1 + round * 500, 500, 400);
    EXPECT_LE(store_.View()->Stats().history_bytes, kLimit + kSlack);
  }
  // The newest are there, and about as many as fit.
  EXPECT_GT(store_.View()->Stats().history_bytes, kLimit / 2);
  EXPECT_THAT(History(MakeEnvelopeId(MessageId{10'000}, 1), kLast), SizeIs(1));
  EXPECT_THAT(History(kFirst, MakeEnvelopeId(MessageId{100}, 1)), IsEmpty());
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueHistoryTest, SwitchedOffItGoesASliceAtATime) {
  Keep(absl::Hours(48));
  Churn(1, 2000, 400);
  const size_t before = History().size();
  ASSERT_EQ(before, 2000u);
  Keep(absl::ZeroDuration());
  size_t left = before;
  int commits = 0;
  while (left > 0 && ++commits < 1000) {
    store_.RunOne(LeaseIds{1});
    const size_t now = History().size();
    // 16 KiB of rows of at least 500 octets, or 256 in a commit of its own.
    EXPECT_LE(left - now, 700u);
    left = now;
  }
  EXPECT_EQ(left, 0u);
  EXPECT_GT(commits, 3);
  EXPECT_EQ(store_.View()->Stats().history_bytes, 0u);
  EXPECT_EQ(store_.Check(), "");
}

// P1 with a bounded queue: mail is refused only when no history is left.
TEST_F(QueueHistoryTest, MailGoesFirst) {
  store_.options().size_limit = 16 << 20;
  Keep(absl::Hours(48));
  for (uint32_t first = 1; !HasFailure() && first < 100'000; first += 500) {
    const uint64_t before = store_.View()->Stats().history;
    Churn(first, 500, 400);
    if (store_.View()->Stats().history < before + 400) break;
  }
  // It has come to its end before the room of the queue has.
  EXPECT_GT(store_.View()->Stats().history_bytes, 8u << 20);
  EXPECT_LT(store_.View()->Stats().used_bytes, 15u << 20);
  EXPECT_TRUE(store_.View()->Stats().accepting);
  uint32_t message = 1'000'000;
  uint64_t refused_with_history = 0;
  const std::string body(20'000, 'b');
  for (int i = 0; i < 5000; ++i) {
    AcceptMessage accept = MakeMessage(MessageId{message}, 1, "");
    accept.stored = body;
    accept.body.stored_bytes = body.size();
    accept.body.chunks = 1;
    const absl::Status status = store_.RunOne(accept).status;
    if (!status.ok()) {
      refused_with_history = store_.View()->Stats().history;
      break;
    }
    ++message;
  }
  EXPECT_EQ(refused_with_history, 0u);
  EXPECT_EQ(store_.View()->Stats().history, 0u);
  // All but the reserve is mail.
  EXPECT_GT((message - 1'000'000) * body.size(), 11u << 20);
  EXPECT_EQ(store_.Check(), "");
}

TEST_F(QueueHistoryTest, ADamagedRowIsPassedOver) {
  Keep(absl::Hours(1));
  const EnvelopeId one = Accept(1), two = Accept(2);
  Deliver(one, MakeAttempt(1, "250 ok"));
  Deliver(two, MakeAttempt(2, "250 ok"));
  const uint64_t serial = History(one, one)[0].serial;
  store_.Close();
  {
    LmdbOptions options;
    options.path = store_.file();
    auto env = LmdbEnv::Open(options);
    ASSERT_TRUE(env.ok());
    LmdbTxn txn(env->get(), LmdbTxn::kWrite);
    const Key key = HistoryKey(serial, one);
    std::string row(*txn.Get(Table::kHistory, key));
    row.back() ^= 1;
    txn.Put(Table::kHistory, key, row);
    ASSERT_TRUE(txn.Commit().ok());
  }
  ASSERT_TRUE(store_.Open().ok());
  EXPECT_THAT(store_.Check(), HasSubstr("history of"));
  EXPECT_THAT(History(), SizeIs(1));
  // And goes, with its index row, as the oldest.
  store_.RunOne(LeaseIds{1});
  EXPECT_EQ(store_.Check(), "");
  EXPECT_THAT(History(), SizeIs(1));
}

// ---- A store of an older version

class OldStoreTest : public QueueHistoryTest {
 protected:
  static constexpr EnvelopeId kTried{0x1de9aa3319525147};
  static constexpr EnvelopeId kInFlight{0x1de9aa342b98a7b7};

  void SetUp() override {
    std::ifstream file("testdata/store/schema1.mdb.zst", std::ios::binary);
    const std::string packed((std::istreambuf_iterator<char>(file)), {});
    std::string bytes(32 << 20, '\0');
    const size_t size = ZSTD_decompress(bytes.data(), bytes.size(),
                                        packed.data(), packed.size());
    ASSERT_FALSE(ZSTD_isError(size)) << ZSTD_getErrorName(size);
    bytes.resize(size);
    std::ofstream(store_.file(), std::ios::binary) << bytes;
  }
  void TearDown() override { SetIoHookForTest(nullptr); }

  uint32_t SchemaOnDisk() {
    LmdbOptions options;
    options.path = store_.file();
    options.read_only = true;
    auto env = LmdbEnv::Open(options);
    if (!env.ok()) return 0;
    LmdbTxn txn(env->get(), LmdbTxn::kRead);
    const auto row = OpenRow<SchemaRecord>(
        kSchemaKey, txn.GetRaw(Table::kMeta, kSchemaKey).value_or(""));
    return row.ok() ? row->schema : 0;
  }
};

TEST_F(OldStoreTest, IsReadAndUpgraded) {
  EXPECT_EQ(SchemaOnDisk(), 1u);
  Keep(absl::Hours(48));
  EXPECT_EQ(store_.Check(), "");
  const auto tried = store_.View()->FindEnvelope(kTried);
  ASSERT_TRUE(tried.ok());
  EXPECT_EQ(tried->error_line, "451 4.7.1 Greylisted");
  EXPECT_EQ(tried->retry, 1u);
  EXPECT_THAT(tried->attempts, IsEmpty());
  // Its claim does not say since when.
  const auto claims = store_.View()->Claims();
  ASSERT_THAT(claims, SizeIs(1));
  ASSERT_TRUE(store_.RunOne(ReleaseClaim{claims[0].worker, claims[0].batch})
                  .status.ok());
  const Envelope doubted = *store_.View()->FindEnvelope(kInFlight);
  ASSERT_THAT(doubted.attempts, SizeIs(1));
  EXPECT_EQ(doubted.attempts[0].began, absl::UnixEpoch());
  EXPECT_EQ(doubted.attempts[0].took, absl::ZeroDuration());
  Deliver(kInFlight, MakeAttempt(1, "250 ok"));
  ASSERT_THAT(History(), SizeIs(1));
  EXPECT_THAT(History()[0].envelope.attempts, SizeIs(2));
  EXPECT_EQ(store_.Check(), "");
  store_.Close();
  // An older program refuses this (QueueDamageTest).
  EXPECT_EQ(SchemaOnDisk(), 2u);
  ASSERT_TRUE(store_.Open().ok());
  EXPECT_THAT(History(), SizeIs(1));
}

TEST_F(OldStoreTest, IsReadWithoutBeingChanged) {
  std::ofstream(store_.folder() + "/owner.lock") << "clean";
  store_.options().read_only = true;
  ASSERT_TRUE(store_.Open().ok());
  EXPECT_TRUE(store_.View()->FindEnvelope(kTried).ok());
  EXPECT_THAT(History(), IsEmpty());
  EXPECT_EQ(store_.Check(), "");
  store_.Close();
  EXPECT_EQ(SchemaOnDisk(), 1u);
}

TEST_F(OldStoreTest, WithoutRoomItIsUsedAsItIs) {
  SetIoHookForTest([](IoCall call, size_t) {
    IoFault fault;
    fault.pass = call != IoCall::kWrite;
    fault.error = ENOSPC;
    return fault;
  });
  Keep(absl::Hours(48));
  SetIoHookForTest(nullptr);
  EXPECT_THAT(store_.warnings(), Contains(HasSubstr("no room to upgrade")));
  // Nothing is written that the older program would not understand.
  Retry(kTried, MakeAttempt(1, "451 later"));
  EXPECT_THAT(store_.View()->FindEnvelope(kTried)->attempts, IsEmpty());
  Deliver(kTried, MakeAttempt(2, "250 ok"));
  EXPECT_THAT(History(), IsEmpty());
  EXPECT_EQ(store_.Check(), "");
  store_.Close();
  EXPECT_EQ(SchemaOnDisk(), 1u);
  // The next start does it.
  ASSERT_TRUE(store_.Open().ok());
  store_.Close();
  EXPECT_EQ(SchemaOnDisk(), 2u);
}

}  // namespace
}  // namespace holdfast
