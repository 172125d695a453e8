#include "server/relay/secret_questions.h"

#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

class SecretQuestionsTest : public ::testing::Test {
 protected:
  void NewLookup() {
    auto [theirs, ours] = MakeDoorPair(&loop_);
    lookup_ = std::move(ours);
    lookup_->SetCallbacks(
        [this](Frame& frame) {
          EXPECT_TRUE(
              Dispatch<RelaySecretQuestion>(
                  frame, [this](const auto& q) { asked_.push_back(q); }) ||
              Dispatch<TableQuestion>(frame, [this](const auto& q) {
                asked_tables_.push_back(q);
              }));
        },
        [](absl::Status) {});
    questions_.SetDoor(std::move(theirs));
    loop_.RunReady();
  }

  uint64_t Ask(const std::string& label) {
    const uint64_t id = questions_.Ask(
        "out", label, kSecretTimeout,
        [this](absl::StatusOr<ClientCredentials> answer) {
          got_ = answer.ok() ? answer->user + ":" + answer->secret
                             : std::string(answer.status().message());
        });
    loop_.RunReady();
    return id;
  }

  void Answer(size_t question, RelaySecretAnswer::Result result) {
    RelaySecretAnswer answer;
    answer.question = asked_.at(question).question;
    answer.result = result;
    if (result == RelaySecretAnswer::Result::kFound) {
      answer.user = "joe";
      answer.secret = "secret";
    }
    lookup_->Send(answer);
    loop_.RunReady();
  }

  FakeEventLoop loop_;
  SecretQuestions questions_{&loop_};
  std::unique_ptr<Door> lookup_;
  std::vector<RelaySecretQuestion> asked_;
  std::vector<TableQuestion> asked_tables_;
  std::optional<std::string> got_;
};

TEST_F(SecretQuestionsTest, AnswersComeToWhoAsked) {
  NewLookup();
  Ask("lab");
  ASSERT_EQ(asked_.size(), 1u);
  EXPECT_EQ(asked_[0].action, "out");
  EXPECT_EQ(asked_[0].label, "lab");
  Answer(0, RelaySecretAnswer::Result::kFound);
  EXPECT_EQ(got_, "joe:secret");
  Ask("lab");  // nothing is kept: it is asked again
  EXPECT_EQ(asked_.size(), 2u);
  Answer(1, RelaySecretAnswer::Result::kNotFound);
  EXPECT_EQ(got_, "no such label");
  Ask("lab");
  Answer(2, RelaySecretAnswer::Result::kError);
  EXPECT_EQ(got_, "cannot be looked up");
}

TEST_F(SecretQuestionsTest, ALookupThatIsBeingStartedIsWaitedFor) {
  Ask("lab");
  EXPECT_FALSE(got_.has_value());
  NewLookup();
  ASSERT_EQ(asked_.size(), 1u);
  lookup_.reset();  // it dies before it answers
  loop_.RunReady();
  NewLookup();
  ASSERT_EQ(asked_.size(), 2u);
  Answer(1, RelaySecretAnswer::Result::kFound);
  EXPECT_EQ(got_, "joe:secret");
}

TEST_F(SecretQuestionsTest, ANewDoorOutlivesTheEndOfTheOld) {
  NewLookup();
  NewLookup();  // the old one closes now
  Ask("lab");
  ASSERT_EQ(asked_.size(), 1u);
  Answer(0, RelaySecretAnswer::Result::kFound);
  EXPECT_EQ(got_, "joe:secret");
}

TEST_F(SecretQuestionsTest, ButNotForLong) {
  Ask("lab");
  loop_.Advance(kSecretTimeout - absl::Seconds(1));
  EXPECT_FALSE(got_.has_value());
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(got_, "lookup does not answer");
}

TEST_F(SecretQuestionsTest, WhoNoLongerWaitsHearsNothing) {
  NewLookup();
  questions_.Cancel(Ask("lab"));
  Answer(0, RelaySecretAnswer::Result::kFound);
  loop_.Advance(kSecretTimeout);
  EXPECT_FALSE(got_.has_value());
}

// Programs of tables are asked through the same door, and by the same rules.
TEST_F(SecretQuestionsTest, Tables) {
  const auto ask = [this] {
    TableQuestion question;
    question.table = "src";
    question.op = TableQuestion::Op::kFetch;
    const uint64_t id = questions_.AskTable(
        std::move(question), absl::Minutes(2),
        [this](const TableAnswer& answer) { got_ = answer.value + "."; });
    loop_.RunReady();
    return id;
  };
  const auto answer = [this](size_t question) {
    TableAnswer answer;
    answer.question = asked_tables_.at(question).question;
    answer.result = TableAnswer::Result::kFound;
    answer.value = "192.0.2.1";
    lookup_->Send(answer);
    loop_.RunReady();
  };
  ask();
  NewLookup();
  ASSERT_EQ(asked_tables_.size(), 1u);
  EXPECT_EQ(asked_tables_[0].table, "src");
  answer(0);
  EXPECT_EQ(got_, "192.0.2.1.");
  got_.reset();
  questions_.Cancel(ask());
  answer(1);
  EXPECT_FALSE(got_.has_value());
  ask();
  loop_.Advance(absl::Minutes(2) - absl::Seconds(1));
  EXPECT_FALSE(got_.has_value());
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(got_, ".");
}

TEST(AnswerTimeoutTest, AProgramMayThinkAsLongAsItsTableSays) {
  EXPECT_EQ(AnswerTimeout(nullptr), kSecretTimeout);
  Table table("pt", Table::Kind::kDynamic, "ldap", "");
  EXPECT_EQ(AnswerTimeout(&table), kSecretTimeout);
  TableCare care;
  care.timeout = absl::Minutes(2);
  table.set_care(care);
  EXPECT_EQ(AnswerTimeout(&table), absl::Minutes(2) + kProgramMargin);
}

TEST_F(SecretQuestionsTest, NonsenseClosesTheDoor) {
  NewLookup();
  Ask("lab");
  lookup_->Send(RelaySecretQuestion{});
  loop_.RunReady();
  Answer(0, RelaySecretAnswer::Result::kFound);
  EXPECT_FALSE(got_.has_value());
}

}  // namespace
}  // namespace holdfast
