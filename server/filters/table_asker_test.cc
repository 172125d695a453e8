#include "server/filters/table_asker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::SizeIs;
using Code = absl::StatusCode;

class TableAskerTest : public testing::Test {
 protected:
  std::unique_ptr<Door> Connect() {
    auto [ours, theirs] = MakeDoorPair(&loop_);
    theirs->SetCallbacks(
        [this](Frame& frame) {
          EXPECT_TRUE(Dispatch<TableQuestion>(
              frame, [this](auto& question) { asked_.push_back(question); }));
        },
        [](absl::Status) {});
    asker_.SetDoor(std::move(ours));
    return std::move(theirs);
  }
  // Asks, and if that fails once more.
  void AskTwice() {
    Ask([this](absl::StatusOr<bool> found) {
      codes_.push_back(found.status().code());
      Ask([this](absl::StatusOr<bool> again) {
        codes_.push_back(again.status().code());
      });
    });
  }
  void Ask(TableAsker::Done done) {
    asker_.Check(table_, TableService::kString, "key", std::move(done));
  }

  FakeEventLoop loop_;
  TableAsker asker_{&loop_};
  const Table table_{"t", Table::Kind::kDynamic, "proc", "/t"};
  std::vector<TableQuestion> asked_;
  std::vector<Code> codes_;
};

TEST_F(TableAskerTest, EveryAnswer) {
  using Result = TableAnswer::Result;
  const auto lookup = Connect();
  const std::pair<Result, absl::StatusOr<bool>> cases[] = {
      {Result::kFound, true},
      {Result::kNotFound, false},
      {Result::kError, absl::UnavailableError("table error")},
      {Result::kNotOffered, absl::UnimplementedError("not offered")}};
  for (const auto& [result, expected] : cases) {
    absl::StatusOr<bool> heard = absl::UnknownError("");
    Ask([&](absl::StatusOr<bool> found) { heard = found; });
    loop_.RunReady();
    lookup->Send(TableAnswer{asked_.back().question, result, ""});
    loop_.RunReady();
    EXPECT_EQ(heard, expected);
  }
}

TEST_F(TableAskerTest, WhatIsAskedBecauseLookupDiedIsAnsweredToo) {
  auto lookup = Connect();
  AskTwice();
  loop_.RunReady();
  EXPECT_THAT(asked_, SizeIs(1));
  lookup.reset();
  loop_.RunReady();
  EXPECT_THAT(codes_, ElementsAre(Code::kUnavailable, Code::kUnavailable));
}

TEST_F(TableAskerTest, OrBecauseThereIsANewOne) {
  const auto old = Connect();
  AskTwice();
  loop_.RunReady();
  const auto lookup = Connect();
  loop_.RunReady();
  EXPECT_THAT(asked_, SizeIs(1));
  EXPECT_THAT(codes_, ElementsAre(Code::kUnavailable, Code::kUnavailable));
}

}  // namespace
}  // namespace holdfast
