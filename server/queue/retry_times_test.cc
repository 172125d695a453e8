#include "server/queue/retry_times.h"

#include <vector>

#include "gtest/gtest.h"

namespace holdfast {
namespace {

constexpr int64_t kCreated = 1795324048;

absl::Time At(int64_t seconds) {
  return absl::FromUnixSeconds(kCreated + seconds);
}

Envelope Made(DeliveryKind kind) {
  Envelope envelope;
  envelope.kind = kind;
  envelope.created = At(0) + absl::Milliseconds(700);
  return envelope;
}

// The times of the manual: a message whose every try fails at once.
std::vector<int64_t> Tries(DeliveryKind kind, int count) {
  const Envelope envelope = Made(kind);
  std::vector<int64_t> tries;
  absl::Time now = envelope.created;
  for (int n = 1; n <= count; ++n) {
    now = NextTry(envelope, n, now);
    tries.push_back(absl::ToInt64Seconds(now - At(0)));
  }
  return tries;
}

TEST(RetryTimesTest, RelayTriesAreThoseOfTheManual) {
  EXPECT_EQ(Tries(DeliveryKind::kMta, 6),
            (std::vector<int64_t>{400, 1600, 3600, 6400, 10000, 14400}));
}

TEST(RetryTimesTest, LocalTriesAreThoseOfTheManual) {
  EXPECT_EQ(Tries(DeliveryKind::kMda, 5),
            (std::vector<int64_t>{10, 40, 90, 160, 250}));
}

TEST(RetryTimesTest, ThirtyTriesInFourDays) {
  const std::vector<int64_t> tries = Tries(DeliveryKind::kMta, 30);
  // The first one, at 0, and 29 that follow.
  EXPECT_LT(tries[28], 345600);
  EXPECT_GT(tries[29], 345600);
}

struct Case {
  uint32_t retry;
  int64_t now;
  int64_t due;
};

TEST(RetryTimesTest, Table) {
  const Envelope envelope = Made(DeliveryKind::kMta);
  for (const Case& c : std::vector<Case>{
           {0, -5, 0},          // the clock went back
           {0, 0, 400},         // due times lie strictly behind now
           {1, 399, 400},       //
           {1, 400, 1600},      // 400 is not behind 400
           {1, 5000, 6400},     // late: k grows beyond n
           {3, 20, 3600},       // three quick schedules: c+3600
           {7, 100000, 102400}  // 400 * 16²
       }) {
    EXPECT_EQ(NextTry(envelope, c.retry, At(c.now)), At(c.due))
        << c.retry << " at " << c.now;
  }
}

TEST(RetryTimesTest, LateByFractionsOfASecond) {
  const Envelope envelope = Made(DeliveryKind::kMta);
  EXPECT_EQ(NextTry(envelope, 1, At(399) + absl::Milliseconds(999)), At(400));
  EXPECT_EQ(NextTry(envelope, 1, At(400) + absl::Milliseconds(1)), At(1600));
}

TEST(RetryTimesTest, AbsurdValuesEnd) {
  const Envelope envelope = Made(DeliveryKind::kMta);
  EXPECT_GT(NextTry(envelope, 0xffffffff, At(0)), At(345600));
  EXPECT_GT(NextTry(envelope, 0, At(int64_t{1} << 40)), At(int64_t{1} << 40));
}

TEST(RetryTimesTest, ADestinationCountsFromItsFirstFailure) {
  EXPECT_EQ(QuadraticTime(At(100), kMtaRetryBase, 1, At(101)), At(500));
  EXPECT_EQ(QuadraticTime(At(100), kMtaRetryBase, 2, At(501)), At(1700));
}

}  // namespace
}  // namespace holdfast
