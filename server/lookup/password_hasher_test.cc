#include "server/lookup/password_hasher.h"

#include <crypt.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "protocol/scram.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {
namespace {

constexpr char kHash[] = "$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80";
using Result = PasswordHasher::Result;

class PasswordHasherTest : public ::testing::Test {
 protected:
  // Runs until `count` answers are there.
  std::vector<Result> Check(size_t count, const std::string& password,
                            const std::string& stored) {
    std::vector<Result> results;
    for (size_t i = 0; i < count; ++i) {
      hasher_->Check(Secret(absl::string_view(password)), stored,
                     [this, count, &results](Result result) {
                       results.push_back(result);
                       if (results.size() == count) loop_->Stop();
                     });
      EXPECT_TRUE(results.empty());  // never inside the call
    }
    loop_->Run();
    return results;
  }

  std::unique_ptr<EventLoop> loop_ = MakeUvEventLoop();
  std::unique_ptr<PasswordHasher> hasher_ = MakePasswordHasher(loop_.get(), 2);
};

TEST_F(PasswordHasherTest, ChecksBothKinds) {
  EXPECT_EQ(Check(1, "correct horse", kHash).at(0), Result::kFits);
  EXPECT_EQ(Check(1, "wrong horse", kHash).at(0), Result::kDoesNotFit);
  const std::string verifier =
      MakeScramVerifier(kScramHash, "pencil", "salt", 9).ToText();
  EXPECT_EQ(Check(1, "pencil", verifier).at(0), Result::kFits);
  EXPECT_EQ(Check(1, "pencils", verifier).at(0), Result::kDoesNotFit);
  EXPECT_EQ(Check(1, "pencil", "SCRAM-SHA-256$junk").at(0),
            Result::kDoesNotFit);
}

TEST_F(PasswordHasherTest, WhatWaitsIsBounded) {
  const size_t most = kMaxWaitingPasswords + 2;
  const std::vector<Result> results = Check(most + 50, "correct horse", kHash);
  EXPECT_EQ(std::count(results.begin(), results.end(), Result::kTooMany), 50);
  EXPECT_EQ(std::count(results.begin(), results.end(), Result::kFits),
            static_cast<long>(most));
  EXPECT_EQ(Check(1, "correct horse", kHash).at(0), Result::kFits);
}

TEST_F(PasswordHasherTest, NobodyIsCalledWhenItIsGone) {
  bool called = false;
  hasher_->Check(Secret(absl::string_view("correct horse")), kHash,
                 [&called](Result) { called = true; });
  hasher_.reset();
  const auto end =
      loop_->RunAfter(absl::Milliseconds(20), [this] { loop_->Stop(); });
  loop_->Run();
  EXPECT_FALSE(called);
}

}  // namespace
}  // namespace holdfast
