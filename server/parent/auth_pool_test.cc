#include "server/parent/auth_pool.h"

#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"
#include "server/parent/fake_processes.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class AuthPoolTest : public testing::Test {
 protected:
  struct Auth {
    FakeProcesses::Child* child = nullptr;
    std::unique_ptr<Door> door;
    std::vector<UserQuestion> questions;
    bool closed = false;
  };
  void TearDown() override { auths_.clear(); }

  void Ask(uint64_t question, const std::string& name = "bob") {
    UserQuestion q;
    q.question = question;
    q.name = name;
    pool_.Ask(std::move(q),
              [this](UserAnswer answer) { answers_.push_back(answer); });
    Meet();
  }
  void Meet() {
    for (size_t i = auths_.size(); i < processes_.children.size(); ++i) {
      auto auth = std::make_unique<Auth>();
      Auth* a = auth.get();
      a->child = processes_.children[i].get();
      a->door = MakeDoor(&loop_, std::move(a->child->start.fds.at(0)));
      a->door->SetCallbacks(
          [a](Frame& frame) {
            EXPECT_TRUE(Dispatch<UserQuestion>(
                frame, [a](UserQuestion& q) { a->questions.push_back(q); }));
          },
          [a](absl::Status) { a->closed = true; });
      auths_.push_back(std::move(auth));
    }
    loop_.RunReady();
  }
  void Answer(Auth* auth) {
    UserAnswer answer;
    answer.question = auth->questions.back().question;
    answer.result = UserAnswer::Result::kFound;
    answer.home = "/home/" + auth->questions.back().name;
    auth->door->Send(answer);
    Meet();
  }
  void End(Auth* auth) {
    auth->door.reset();
    processes_.End(auth->child, kKilled);
    Meet();
  }

  FakeEventLoop loop_;
  FakeProcesses processes_;
  AuthPool pool_{&loop_, &processes_, "/x/smtpd-auth"};
  std::vector<std::unique_ptr<Auth>> auths_;
  std::vector<UserAnswer> answers_;
};

TEST_F(AuthPoolTest, AChildIsUsedAgain) {
  Ask(1);
  ASSERT_EQ(auths_.size(), 1u);
  EXPECT_EQ(auths_[0]->child->start.path, "/x/smtpd-auth");
  Answer(auths_[0].get());
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(answers_[0].question, 1u);
  EXPECT_EQ(answers_[0].home, "/home/bob");
  Ask(2);
  EXPECT_EQ(auths_.size(), 1u);
  Answer(auths_[0].get());
  EXPECT_EQ(answers_.size(), 2u);
}

TEST_F(AuthPoolTest, SixteenAtOnceTheRestWaits) {
  for (uint64_t q = 1; q <= 20; ++q) Ask(q, absl::StrCat("user", q));
  ASSERT_EQ(auths_.size(), kMaxAuthProcesses);
  Answer(auths_[0].get());
  EXPECT_EQ(auths_[0]->questions.back().question, 17u);
  EXPECT_EQ(auths_.size(), kMaxAuthProcesses);
}

TEST_F(AuthPoolTest, AHungDatabaseIsAnErrorAfterItsDeadline) {
  Ask(1);
  loop_.Advance(kAuthDeadline);
  EXPECT_THAT(auths_[0]->child->signals, ElementsAre(SIGKILL));
  // At once: it may never end.
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(answers_[0].result, UserAnswer::Result::kError);
  End(auths_[0].get());
  EXPECT_EQ(answers_.size(), 1u);
}

TEST_F(AuthPoolTest, ANameThatHungRests) {
  Ask(1);
  loop_.Advance(kAuthDeadline);
  Ask(2);
  EXPECT_EQ(answers_.size(), 2u);  // an error at once
  EXPECT_EQ(auths_.size(), 1u);
  Ask(3, "joe");
  EXPECT_EQ(auths_.size(), 2u);
  loop_.Advance(kAuthRest);
  answers_.clear();
  Ask(4);
  EXPECT_THAT(answers_, IsEmpty());
  EXPECT_EQ(auths_.size(), 3u);
}

TEST_F(AuthPoolTest, OneNameHasAFewOfTheProcesses) {
  for (uint64_t q = 1; q <= 10; ++q) Ask(q, "mallory");
  EXPECT_EQ(auths_.size(), kMaxAuthProcessesForName);
  Ask(11, "joe");
  ASSERT_EQ(auths_.size(), kMaxAuthProcessesForName + 1);
  Answer(auths_.back().get());
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(answers_[0].question, 11u);
  for (uint64_t q = 12; q <= 11 + kMaxAuthQuestionsForName; ++q)
    Ask(q, "mallory");
  // Six waited already.
  EXPECT_EQ(answers_.size(), 1u + 6u);
  // When it hangs, all that wait for it know.
  loop_.Advance(kAuthDeadline);
  EXPECT_EQ(answers_.size(), 11u + kMaxAuthQuestionsForName);
}

TEST_F(AuthPoolTest, ManyThatHangHoldOthersUpForAMoment) {
  for (uint64_t q = 1; q <= kMaxAuthProcesses; ++q)
    Ask(q, absl::StrCat("hung", q));
  Ask(100, "joe");
  EXPECT_EQ(auths_.size(), kMaxAuthProcesses);
  loop_.Advance(kAuthSlow);
  Meet();
  ASSERT_EQ(auths_.size(), kMaxAuthProcesses + 1);
  Answer(auths_.back().get());
  EXPECT_EQ(answers_.back().question, 100u);
  // But not any number of them.
  for (uint64_t q = 200; q < 300; ++q) {
    Ask(q, absl::StrCat("hung", q));
    loop_.Advance(kAuthSlow / 10);
    Meet();
  }
  EXPECT_EQ(auths_.size(), kMaxAuthProcesses + kMaxSlowAuthProcesses);
  // Those that answer after all are not kept beyond the sixteen.
  for (const auto& auth : auths_) {
    if (answers_.size() < 200 && !auth->closed) Answer(auth.get());
  }
  size_t kept = 0;
  for (const auto& auth : auths_) kept += auth->closed ? 0 : 1;
  EXPECT_LE(kept, kMaxAuthProcesses);
}

TEST_F(AuthPoolTest, ProcessesThatCannotEndLeaveRoomForOthers) {
  for (uint64_t q = 1; q <= kMaxAuthProcesses; ++q)
    Ask(q, absl::StrCat("hung", q));
  Ask(100, "joe");
  EXPECT_EQ(auths_.size(), kMaxAuthProcesses);
  loop_.Advance(kAuthDeadline);
  Meet();
  ASSERT_EQ(auths_.size(), kMaxAuthProcesses + 1);
  // But not for ever more of them.
  for (int round = 0; round < 10; ++round) {
    for (uint64_t q = 1; q <= kMaxAuthProcesses; ++q)
      Ask(q, absl::StrCat("hung", round, "-", q));
    loop_.Advance(kAuthDeadline);
    Meet();
  }
  EXPECT_LE(auths_.size(),
            kMaxAuthProcesses + kMaxSlowAuthProcesses + kMaxStuckAuthProcesses);
}

TEST_F(AuthPoolTest, HomesAreBounded) {
  std::vector<ForwardAnswer> answers;
  for (const std::string& home :
       {std::string(kMaxHomeBytes + 1, 'h'), std::string("/h\0x", 4)}) {
    ForwardQuestion question;
    question.name = "bob";
    question.has_user = true;
    question.home = home;
    pool_.Ask(std::move(question),
              [&](ForwardAnswer answer) { answers.push_back(answer); });
  }
  EXPECT_EQ(answers.size(), 2u);
  EXPECT_THAT(processes_.children, IsEmpty());
}

TEST_F(AuthPoolTest, IdleChildrenGo) {
  Ask(1);
  Answer(auths_[0].get());
  loop_.Advance(kAuthIdle);
  EXPECT_TRUE(auths_[0]->closed);
  End(auths_[0].get());
  EXPECT_EQ(answers_.size(), 1u);
}

TEST_F(AuthPoolTest, AChildThatSaysNonsenseIsKilled) {
  Ask(1);
  auths_[0]->door->Send(UserQuestion{});
  loop_.RunReady();
  EXPECT_THAT(auths_[0]->child->signals, ElementsAre(SIGKILL));
  End(auths_[0].get());
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(answers_[0].result, UserAnswer::Result::kError);
}

TEST_F(AuthPoolTest, NamesThatNoUserHas) {
  Ask(1, "");
  Ask(2, std::string("b\0b", 3));
  Ask(3, std::string(256, 'b'));
  EXPECT_THAT(auths_, IsEmpty());
  ASSERT_EQ(answers_.size(), 3u);
  for (const UserAnswer& answer : answers_)
    EXPECT_EQ(answer.result, UserAnswer::Result::kNotFound);
}

TEST_F(AuthPoolTest, EachQuestionHasItsKindOfAnswer) {
  std::vector<ForwardAnswer> forwards;
  ForwardQuestion question;
  question.question = 5;
  question.name = "bob";
  pool_.Ask(question,
            [&](ForwardAnswer answer) { forwards.push_back(answer); });
  FakeProcesses::Child* child = processes_.children.at(0).get();
  auto door = MakeDoor(&loop_, std::move(child->start.fds.at(0)));
  std::vector<ForwardQuestion> heard;
  door->SetCallbacks(
      [&](Frame& frame) {
        EXPECT_TRUE(Dispatch<ForwardQuestion>(
            frame, [&](ForwardQuestion& q) { heard.push_back(q); }));
      },
      [](absl::Status) {});
  loop_.RunReady();
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_EQ(heard[0].name, "bob");
  ForwardAnswer answer;
  answer.result = ForwardAnswer::Result::kFound;
  answer.contents = "joe";
  door->Send(answer);
  loop_.RunReady();
  ASSERT_EQ(forwards.size(), 1u);
  EXPECT_EQ(forwards[0].question, 5u);
  EXPECT_EQ(forwards[0].contents, "joe");

  // The answer to another kind of question is nonsense.
  pool_.Ask(question,
            [&](ForwardAnswer answer) { forwards.push_back(answer); });
  door->Send(UserAnswer{});
  loop_.RunReady();
  EXPECT_THAT(child->signals, ElementsAre(SIGKILL));
  door.reset();
  processes_.End(child, kKilled);
  loop_.RunReady();
  ASSERT_EQ(forwards.size(), 2u);
  EXPECT_EQ(forwards[1].result, ForwardAnswer::Result::kError);
}

TEST_F(AuthPoolTest, WithoutProcessesTheAnswerIsAnError) {
  processes_.refuse = true;
  Ask(1);
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(answers_[0].result, UserAnswer::Result::kError);
}

TEST_F(AuthPoolTest, PasswordsAreBounded) {
  std::vector<PasswordAnswer> answers;
  const auto ask = [&](const std::string& password,
                       const std::string& address) {
    PasswordQuestion question;
    question.question = 5;
    question.name = "bob";
    question.password = password;
    question.address = address;
    pool_.Ask(std::move(question),
              [&](PasswordAnswer answer) { answers.push_back(answer); });
  };
  ask(std::string(kMaxAskedPassword + 1, 'p'), "192.0.2.1");
  ask("secret", std::string(1000, '1'));
  EXPECT_THAT(processes_.children, IsEmpty());
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].question, 5u);
  EXPECT_EQ(answers[0].result, PasswordAnswer::Result::kWrong);
  EXPECT_EQ(answers[1].result, PasswordAnswer::Result::kWrong);
  ask(std::string(kMaxAskedPassword, 'p'), "192.0.2.1");
  EXPECT_EQ(processes_.children.size(), 1u);
}

}  // namespace
}  // namespace holdfast
