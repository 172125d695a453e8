#include "server/lookup/user_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

using Result = UserAnswer::Result;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class UserDirectoryTest : public ::testing::Test {
 protected:
  void Find(const std::string& name) {
    users_.Find(name, [this, name](Result result) {
      answers_.push_back(absl::StrCat(name, "=", static_cast<int>(result)));
    });
  }
  void Answer(uint64_t question, Result result) {
    UserAnswer answer;
    answer.question = question;
    answer.result = result;
    users_.OnAnswer(answer);
    loop_.RunReady();
  }

  FakeEventLoop loop_;
  std::vector<UserQuestion> asked_;
  std::vector<std::string> answers_;
  UserDirectory users_{&loop_, [this](const UserQuestion& question) {
                         asked_.push_back(question);
                       }};
};

TEST_F(UserDirectoryTest, AsksOnceAndRemembersForTenSeconds) {
  Find("joe");
  Find("joe");
  ASSERT_EQ(asked_.size(), 1u);
  EXPECT_EQ(asked_[0].name, "joe");
  Answer(asked_[0].question, Result::kFound);
  EXPECT_THAT(answers_, ElementsAre("joe=1", "joe=1"));
  loop_.Advance(absl::Seconds(9));
  Find("joe");
  EXPECT_EQ(answers_.size(), 2u);  // never inside the call
  loop_.RunReady();
  EXPECT_EQ(answers_.size(), 3u);
  EXPECT_EQ(asked_.size(), 1u);
  loop_.Advance(absl::Seconds(1));
  Find("joe");
  EXPECT_EQ(asked_.size(), 2u);
}

TEST_F(UserDirectoryTest, ErrorsAreNotRemembered) {
  Find("joe");
  Answer(asked_[0].question, Result::kError);
  EXPECT_THAT(answers_, ElementsAre("joe=3"));
  Find("joe");
  ASSERT_EQ(asked_.size(), 2u);
  Answer(asked_[1].question, static_cast<Result>(77));
  EXPECT_THAT(answers_, ElementsAre("joe=3", "joe=3"));
}

TEST_F(UserDirectoryTest, QuestionsAreBounded) {
  for (size_t i = 0; i < kMaxUserQuestions + 2; ++i) Find(absl::StrCat("u", i));
  EXPECT_EQ(asked_.size(), kMaxUserQuestions);
  Answer(asked_[5].question, Result::kNotFound);
  EXPECT_EQ(asked_.size(), kMaxUserQuestions + 1);
  EXPECT_THAT(answers_, ElementsAre("u5=2"));
}

TEST_F(UserDirectoryTest, WaitingNamesAreBounded) {
  for (size_t i = 0; i < kMaxUserQuestions + kMaxWaitingNames; ++i) {
    Find(absl::StrCat("u", i));
  }
  loop_.RunReady();
  EXPECT_THAT(answers_, IsEmpty());
  Find("last");
  loop_.RunReady();
  EXPECT_THAT(answers_, ElementsAre("last=3"));
}

TEST_F(UserDirectoryTest, SilenceIsAnError) {
  Find("joe");
  loop_.Advance(kUserQuestionTimeout);
  EXPECT_THAT(answers_, ElementsAre("joe=3"));
  // Too late, and made up.
  Answer(asked_[0].question, Result::kFound);
  Answer(12345, Result::kFound);
  EXPECT_EQ(answers_.size(), 1u);
  Find("joe");
  EXPECT_EQ(asked_.size(), 2u);
}

TEST_F(UserDirectoryTest, MemoryIsBounded) {
  for (size_t i = 0; i <= kUserCacheEntries; ++i) {
    Find(absl::StrCat("u", i));
    Answer(asked_.back().question, Result::kFound);
  }
  const size_t asked = asked_.size();
  Find("u1");
  EXPECT_EQ(asked_.size(), asked);
  Find("u0");
  EXPECT_EQ(asked_.size(), asked + 1);
}

}  // namespace
}  // namespace holdfast
