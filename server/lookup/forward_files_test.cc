#include "server/lookup/forward_files.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

class ForwardFilesTest : public testing::Test {
 protected:
  void Read(const std::string& name) {
    ForwardQuestion question;
    question.question = 77;
    question.name = name;
    files_->Read(question, [this, name](const ForwardAnswer& answer) {
      heard_.push_back(absl::StrCat(name, " ", answer.contents));
      failed_ += answer.result == ForwardAnswer::Result::kError;
    });
  }
  void Answer(size_t at) {
    ForwardAnswer answer;
    answer.question = asked_.at(at).question;
    answer.result = ForwardAnswer::Result::kFound;
    answer.contents = absl::StrCat("of ", asked_[at].name);
    files_->OnAnswer(answer);
    loop_.RunReady();
  }

  FakeEventLoop loop_;
  std::vector<ForwardQuestion> asked_;
  std::vector<std::string> heard_;
  size_t failed_ = 0;
  std::unique_ptr<ForwardFiles> files_ = std::make_unique<ForwardFiles>(
      &loop_, [this](const ForwardQuestion& q) { asked_.push_back(q); });
};

TEST_F(ForwardFilesTest, WhoAsksMeanwhileSharesTheAnswer) {
  Read("joe");
  Read("joe");
  Read("jim");
  ASSERT_EQ(asked_.size(), 2u);
  Answer(1);
  Answer(0);
  EXPECT_EQ(heard_, (std::vector<std::string>{"jim of jim", "joe of joe",
                                              "joe of joe"}));
  // Nothing is remembered.
  Read("joe");
  EXPECT_EQ(asked_.size(), 3u);
}

TEST_F(ForwardFilesTest, AnswersThatNobodyWaitsFor) {
  Read("joe");
  ForwardAnswer answer;
  answer.question = asked_[0].question + 1;
  files_->OnAnswer(answer);
  Answer(0);
  Answer(0);
  EXPECT_EQ(heard_.size(), 1u);
}

TEST_F(ForwardFilesTest, ParentThatSaysNothing) {
  Read("joe");
  loop_.Advance(kForwardTimeout);
  EXPECT_EQ(failed_, 1u);
  Answer(0);
  EXPECT_EQ(heard_.size(), 1u);
}

TEST_F(ForwardFilesTest, Bounds) {
  for (size_t i = 0; i < kMaxForwardQuestions + kMaxWaitingForwards; ++i) {
    Read(absl::StrCat("u", i));
  }
  EXPECT_EQ(asked_.size(), kMaxForwardQuestions);
  Read("late");
  EXPECT_EQ(failed_, 0u);
  loop_.RunReady();
  loop_.Advance(absl::ZeroDuration());
  EXPECT_EQ(heard_, std::vector<std::string>{"late "});
  EXPECT_EQ(failed_, 1u);
  Answer(0);
  EXPECT_EQ(asked_.size(), kMaxForwardQuestions + 1);
}

TEST_F(ForwardFilesTest, NobodyIsCalledAfterItsEnd) {
  Read("joe");
  files_.reset();
  loop_.Advance(kForwardTimeout);
  EXPECT_TRUE(heard_.empty());
}

}  // namespace
}  // namespace holdfast
