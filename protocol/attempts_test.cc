#include "protocol/attempts.h"

#include <gtest/gtest.h>

#include <string>

namespace holdfast {
namespace {

Attempt Make(int number, size_t answer_bytes) {
  Attempt attempt;
  attempt.began = absl::FromUnixSeconds(number);
  attempt.answer = std::string(answer_bytes, 'a');
  return attempt;
}

size_t BytesOf(const std::vector<Attempt>& attempts) {
  size_t bytes = 0;
  for (const Attempt& attempt : attempts) bytes += AttemptBytes(attempt);
  return bytes;
}

TEST(AttemptsTest, TheOldestGoFirst) {
  std::vector<Attempt> attempts;
  for (int i = 0; i < 100; ++i) {
    AddAttempt(Make(i, 100), &attempts);
    EXPECT_LE(BytesOf(attempts), kMaxAttemptsBytes);
    EXPECT_EQ(attempts.back().began, absl::FromUnixSeconds(i));
  }
  ASSERT_EQ(attempts.size(), kMaxAttemptsBytes / AttemptBytes(Make(0, 100)));
  for (size_t i = 0; i < attempts.size(); ++i)
    EXPECT_EQ(attempts[i].began,
              absl::FromUnixSeconds(100 - attempts.size() + i));
}

TEST(AttemptsTest, TextsAreCut) {
  std::vector<Attempt> attempts;
  Attempt attempt = Make(1, 100'000);
  attempt.relay = attempt.source = attempt.tls = std::string(5'000, 'r');
  AddAttempt(attempt, &attempts);
  ASSERT_EQ(attempts.size(), 1u);
  EXPECT_EQ(attempts[0].answer.size(), kMaxAttemptAnswer);
  EXPECT_EQ(attempts[0].answer.substr(kMaxAttemptAnswer - 4), "a...");
  EXPECT_EQ(attempts[0].relay.size(), kMaxAttemptWord);
  EXPECT_EQ(attempts[0].source.size(), kMaxAttemptWord);
  EXPECT_EQ(attempts[0].tls.size(), kMaxAttemptWord);
  EXPECT_LE(BytesOf(attempts), kMaxAttemptsBytes);
  // One that just fits stays as it is.
  AddAttempt(Make(2, kMaxAttemptAnswer), &attempts);
  EXPECT_EQ(attempts.back().answer, std::string(kMaxAttemptAnswer, 'a'));
}

TEST(AttemptsTest, ALargeOnePushesSeveralOut) {
  std::vector<Attempt> attempts;
  for (int i = 0; i < 80; ++i) AddAttempt(Make(i, 1), &attempts);
  const size_t before = attempts.size();
  AddAttempt(Make(99, kMaxAttemptAnswer), &attempts);
  EXPECT_LT(attempts.size(), before - 10);
  EXPECT_LE(BytesOf(attempts), kMaxAttemptsBytes);
}

}  // namespace
}  // namespace holdfast
