#include "server/queue/move_sweep.h"

#include <gtest/gtest.h>

#include <optional>

#include "server/queue/fake_queue.h"

namespace holdfast {
namespace {

using Act = ActOnEnvelope::Act;

class MoveSweepTest : public ::testing::Test {
 protected:
  MoveSweepTest() {
    for (uint32_t i = 1; i <= 1500; ++i) {
      Envelope e;
      e.id = MakeEnvelopeId(MessageId(i), 1);
      e.kind = DeliveryKind::kMta;
      e.dest.domain = "example.org";
      e.created = queue_.loop()->Now();
      queue_.store()->envelopes[e.id] = e;
      queue_.store()->due[e.id] = e.created;
    }
    SetMoveRunning(true);
  }
  ~MoveSweepTest() override {
    SetMoveRunning(false);
    EndMoves();
  }

  SweepCounts Mark() {
    std::optional<SweepCounts> end;
    SweepQueue(&queue_, *EnvelopeFilter::Parse("", queue_.loop()->Now()),
               Act::kMove, [&end](const SweepCounts& counts) { end = counts; });
    queue_.loop()->RunReady();
    EXPECT_TRUE(end.has_value());
    return end.value_or(SweepCounts());
  }
  size_t Marked() {
    size_t marked = 0;
    for (const auto& [id, e] : queue_.store()->envelopes)
      marked += (e.flags & kFlagMoving) != 0;
    return marked;
  }
  // All is marked, and stays so for now.
  void FailToGiveBack() {
    Mark();
    queue_.store()->act_status = absl::ResourceExhaustedError("no room");
    GiveBackMoved(&queue_);
    queue_.loop()->RunReady();
    queue_.store()->act_status = absl::OkStatus();
  }
  bool Find() {
    std::optional<bool> found;
    FindMoved(&queue_, [&found](const absl::StatusOr<bool>& answer) {
      ASSERT_TRUE(answer.ok());
      found = *answer;
    });
    queue_.loop()->RunReady();
    EXPECT_TRUE(found.has_value());
    return found.value_or(false);
  }

  FakeQueueServices queue_;
};

TEST_F(MoveSweepTest, MarksFindsAndGivesBack) {
  EXPECT_FALSE(Find());
  EXPECT_EQ(Mark().done, 1500u);
  EXPECT_EQ(Marked(), 1500u);
  EXPECT_TRUE(Find());
  std::optional<SweepCounts> end;
  GiveBackMoved(&queue_, [&end](const SweepCounts& counts) { end = counts; });
  queue_.loop()->RunReady();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->done, 1500u);
  EXPECT_EQ(Marked(), 0u);
  EXPECT_FALSE(MoveIsRunning());
}

TEST_F(MoveSweepTest, GivesBackUntilItIsDone) {
  Mark();
  queue_.store()->act_status = absl::ResourceExhaustedError("no room");
  int ends = 0;
  GiveBackMoved(&queue_, [&ends](const SweepCounts& counts) {
    EXPECT_FALSE(counts.status.ok());
    ++ends;
  });
  queue_.loop()->RunReady();
  EXPECT_EQ(ends, 1);
  EXPECT_FALSE(MoveIsRunning()) << "operators may release it";
  queue_.loop()->Advance(absl::Seconds(1));
  EXPECT_EQ(Marked(), 1500u);
  queue_.store()->act_status = absl::OkStatus();
  queue_.loop()->Advance(absl::Seconds(1));
  EXPECT_EQ(Marked(), 1500u) << "the second time after two seconds";
  queue_.loop()->Advance(absl::Seconds(1));
  EXPECT_EQ(Marked(), 0u);
  EXPECT_EQ(ends, 1);
}

TEST_F(MoveSweepTest, AMoveThatMayNotMarkDoesNotEndTheTries) {
  FailToGiveBack();
  SetMoveRunning(true);
  queue_.loop()->Advance(absl::Minutes(2));
  EXPECT_EQ(Marked(), 1500u);
  SetMoveRunning(false);
  queue_.loop()->Advance(absl::Minutes(2));
  EXPECT_EQ(Marked(), 0u);
}

TEST_F(MoveSweepTest, WhatTheNextMoveHasIsNotGivenBack) {
  FailToGiveBack();
  NoteMarks();
  queue_.loop()->Advance(absl::Minutes(2));
  EXPECT_EQ(Marked(), 1500u);
}

TEST_F(MoveSweepTest, NothingIsTriedOnceTheRoomHasEnded) {
  FailToGiveBack();
  EndMoves();
  queue_.loop()->Advance(absl::Minutes(2));
  EXPECT_EQ(Marked(), 1500u);
}

}  // namespace
}  // namespace holdfast
