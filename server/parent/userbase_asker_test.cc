#include "server/parent/userbase_asker.h"

#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

class UserbaseAskerTest : public ::testing::Test {
 protected:
  UserbaseAskerTest() {
    std::tie(door_, lookup_) = MakeDoorPair(&loop_);
    lookup_->SetCallbacks(
        [this](Frame& frame) {
          EXPECT_TRUE(Dispatch<TableQuestion>(
              frame, [this](const auto& q) { asked_.push_back(q); }));
        },
        [](absl::Status) {});
  }
  void Ask() {
    TableQuery query;
    query.table = "users";
    query.op = TableOp::kLookup;
    query.service = TableService::kUserinfo;
    query.key = "joe";
    asker_.Ask(query, [this](TableResult result) {
      said_ = !result.ok() ? "error" : result->has_value() ? **result : "none";
    });
    EXPECT_EQ(said_, "");
    loop_.RunReady();
  }
  std::string Answer(TableAnswer::Result result) {
    TableAnswer answer;
    answer.question = asked_.back().question;
    answer.result = result;
    answer.value = "1:1:/";
    asker_.OnAnswer(answer);
    return std::exchange(said_, "");
  }

  FakeEventLoop loop_;
  UserbaseAsker asker_{&loop_};
  std::unique_ptr<Door> door_, lookup_;
  std::vector<TableQuestion> asked_;
  std::string said_;
};

TEST_F(UserbaseAskerTest, Answers) {
  asker_.OnLookupReady(WorkerId(1), door_.get());
  Ask();
  ASSERT_EQ(asked_.size(), 1u);
  EXPECT_EQ(asked_[0].table, "users");
  EXPECT_EQ(asked_[0].op, TableQuestion::Op::kLookup);
  EXPECT_EQ(asked_[0].service, TableService::kUserinfo);
  EXPECT_EQ(asked_[0].key, "joe");
  EXPECT_EQ(Answer(TableAnswer::Result::kFound), "1:1:/");
  EXPECT_EQ(Answer(TableAnswer::Result::kFound), "");  // once
  Ask();
  EXPECT_EQ(Answer(TableAnswer::Result::kNotFound), "none");
  Ask();
  EXPECT_EQ(Answer(TableAnswer::Result::kError), "error");
}

TEST_F(UserbaseAskerTest, WithoutLookupThereIsNone) {
  Ask();
  EXPECT_EQ(std::exchange(said_, ""), "error");
  asker_.OnLookupReady(WorkerId(1), door_.get());
  Ask();
  asker_.OnLookupDied(WorkerId(2));  // an older one
  loop_.RunReady();
  EXPECT_EQ(said_, "");
  asker_.OnLookupDied(WorkerId(1));
  loop_.RunReady();
  EXPECT_EQ(std::exchange(said_, ""), "error");
  asker_.OnLookupReady(WorkerId(3), door_.get());
  Ask();
  loop_.Advance(kUserbaseTimeout);
  EXPECT_EQ(said_, "error");
}

}  // namespace
}  // namespace holdfast
