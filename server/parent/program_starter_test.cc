#include "server/parent/program_starter.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "server/loop/fake_event_loop.h"
#include "server/parent/fake_processes.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr WorkerId kFilters{7}, kLookup{8}, kNewFilters{9};

// A room that hears of its programs.
struct FakeRoom {
  std::unique_ptr<Door> parents, own;
  std::vector<ProgramStarted> started;
  std::vector<ProgramEnded> ended;
  std::vector<std::vector<OwnedFd>> fds;

  explicit FakeRoom(EventLoop* loop) {
    std::tie(parents, own) = MakeDoorPair(loop);
    own->SetCallbacks(
        [this](Frame& frame) {
          if (frame.type == ProgramStarted::kType)
            fds.push_back(std::move(frame.fds));
          ASSERT_TRUE((Dispatch<ProgramStarted, ProgramEnded>(
              frame, [this](auto& message) { Take(message); })));
        },
        [](absl::Status) {});
  }
  void Take(ProgramStarted& m) { started.push_back(m); }
  void Take(ProgramEnded& m) { ended.push_back(m); }
};

class ProgramStarterTest : public testing::Test {
 protected:
  ProgramStarterTest() {
    ProgramSpec filter;
    filter.room = Room::kFilters;
    filter.name = "dkim";
    filter.command = "/filter";
    filter.user = "_dkim";
    ProgramSpec table;
    table.room = Room::kLookup;
    table.name = "people";
    table.backend = "x";
    table.folders = {"/lib"};
    starter_ = std::make_unique<ProgramStarter>(
        &loop_, &processes_, ProgramStarter::Options{"/x/smtpd-agent", {"A=b"}},
        std::vector<ProgramSpec>{filter, table});
  }
  void TearDown() override { starter_.reset(); }

  FakeProcesses::Child* Last() { return processes_.children.back().get(); }
  size_t count() { return processes_.children.size(); }
  // The agent has become the program.
  void Execute(FakeProcesses::Child* child) {
    child->start.fds.at(2).Reset();
    loop_.RunReady();
  }
  void FailToStart(FakeProcesses::Child* child, const std::string& why) {
    const int fd = child->start.fds.at(2).get();
    ASSERT_EQ(write(fd, why.data(), why.size()), ssize_t(why.size()));
    processes_.End(child, kExitedOne);
    loop_.RunReady();
  }
  void End(FakeProcesses::Child* child, int status) {
    processes_.End(child, status);
    loop_.RunReady();
  }
  void Ready() {
    starter_->OnRoomReady(Room::kFilters, kFilters, filters_.parents.get());
    loop_.RunReady();
  }
  void Kill(WorkerId worker, const std::string& name, uint64_t number) {
    ProgramKill kill;
    kill.name = name;
    kill.number = number;
    starter_->OnKill(worker, kill);
  }

  FakeEventLoop loop_;
  FakeProcesses processes_;
  FakeRoom filters_{&loop_}, lookup_{&loop_};
  std::unique_ptr<ProgramStarter> starter_;
};

TEST_F(ProgramStarterTest, EachRoomGetsItsPrograms) {
  EXPECT_EQ(count(), 0u);
  Ready();
  ASSERT_EQ(count(), 1u);
  const ProgramStart& start = Last()->start;
  EXPECT_EQ(start.path, "/x/smtpd-agent");
  EXPECT_THAT(start.arguments,
              ElementsAre("--program", "_dkim", "", "", "/bin/sh", "/bin/sh",
                          "-c", "exec /filter"));
  EXPECT_THAT(start.environment, ElementsAre("A=b"));
  EXPECT_TRUE(start.own_group);
  EXPECT_FALSE(start.nursery);
  // It is not there before it is itself.
  EXPECT_THAT(filters_.started, IsEmpty());
  Execute(Last());
  ASSERT_EQ(filters_.started.size(), 1u);
  EXPECT_EQ(filters_.started[0].name, "dkim");
  EXPECT_NE(filters_.started[0].number, 0u);
  ASSERT_EQ(filters_.fds[0].size(), 2u);

  starter_->OnRoomReady(Room::kLookup, kLookup, lookup_.parents.get());
  ASSERT_EQ(count(), 2u);
  EXPECT_THAT(Last()->start.arguments,
              ElementsAre("--program", "", "", "", "/lib/table-x", "people"));
  Execute(Last());
  ASSERT_EQ(lookup_.started.size(), 1u);
  EXPECT_EQ(lookup_.started[0].name, "people");
  EXPECT_NE(lookup_.started[0].number, filters_.started[0].number);
}

TEST_F(ProgramStarterTest, TheDescriptorsAreTwoSockets) {
  Ready();
  Execute(Last());
  for (size_t i : {0u, 1u}) {
    const int ours = filters_.fds.at(0).at(i).get();
    const int theirs = Last()->start.fds.at(i).get();
    EXPECT_NE(fcntl(ours, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_EQ(fcntl(theirs, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(fcntl(ours, F_GETFD) & FD_CLOEXEC, 0);
    ASSERT_EQ(write(theirs, "xy", 1 + i), ssize_t(1 + i));
    char bytes[4];
    EXPECT_EQ(read(ours, bytes, sizeof bytes), ssize_t(1 + i));
    ASSERT_EQ(write(ours, "z", 1), 1);
    EXPECT_EQ(read(theirs, bytes, sizeof bytes), 1);
  }
}

TEST_F(ProgramStarterTest, WhoEndsIsNamedAndStartedAgainMoreAndMoreSlowly) {
  Ready();
  for (int failure = 0; failure < 9; ++failure) {
    SCOPED_TRACE(failure);
    const size_t before = count();
    Execute(Last());
    testing::internal::CaptureStderr();
    End(Last(), failure == 0   ? kExitedOkay
                : failure == 1 ? kExitedOne
                               : kKilled);
    const std::string how =
        failure < 2 ? "exited abnormally" : "terminated; signal 9";
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                HasSubstr(absl::StrCat("warn: lost processor: dkim ", how)));
    ASSERT_EQ(filters_.ended.size(), size_t(failure) + 1);
    EXPECT_EQ(filters_.ended.back().name, "dkim");
    EXPECT_EQ(filters_.ended.back().how, how);
    EXPECT_EQ(filters_.ended.back().number, filters_.started.back().number);
    const absl::Duration delay = ProgramRestartDelay(failure);
    if (delay > absl::ZeroDuration()) {
      loop_.Advance(delay - absl::Milliseconds(1));
      EXPECT_EQ(count(), before);
    }
    loop_.Advance(absl::Milliseconds(1));
    EXPECT_EQ(count(), before + 1);
  }
  EXPECT_EQ(ProgramRestartDelay(6), absl::Seconds(30));
  EXPECT_EQ(ProgramRestartDelay(1000), absl::Seconds(30));
  // Having lived well, it is started at once again.
  Execute(Last());
  loop_.Advance(kProgramGoodLife);
  const size_t before = count();
  End(Last(), kKilled);
  loop_.Advance(absl::ZeroDuration());
  EXPECT_EQ(count(), before + 1);
}

TEST_F(ProgramStarterTest, WhatCannotBeStartedIsNamedAndTriedAgain) {
  Ready();
  testing::internal::CaptureStderr();
  FailToStart(Last(), "no user _dkim");
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("warn: dkim: cannot be started: no user _dkim\n"));
  loop_.Advance(absl::ZeroDuration());
  ASSERT_EQ(count(), 2u);
  // The room hears nothing of it: it never was there.
  EXPECT_THAT(filters_.started, IsEmpty());
  EXPECT_THAT(filters_.ended, IsEmpty());
  Execute(Last());
  EXPECT_EQ(filters_.started.size(), 1u);
}

TEST_F(ProgramStarterTest, NoProcessesLeftIsTriedAgain) {
  processes_.refuse = true;
  Ready();
  EXPECT_EQ(count(), 0u);
  loop_.Advance(absl::ZeroDuration());
  processes_.refuse = false;
  loop_.Advance(absl::Milliseconds(100));
  ASSERT_EQ(count(), 1u);
  Execute(Last());
  EXPECT_EQ(filters_.started.size(), 1u);
}

TEST_F(ProgramStarterTest, AUserDatabaseThatHangsIsNotWaitedFor) {
  Ready();
  loop_.Advance(kProgramStartDeadline - absl::Milliseconds(1));
  EXPECT_THAT(Last()->signals, IsEmpty());
  loop_.Advance(absl::Milliseconds(1));
  EXPECT_THAT(Last()->signals, ElementsAre(SIGKILL));
  End(Last(), kKilled);
  EXPECT_THAT(filters_.ended, IsEmpty());
  loop_.Advance(absl::ZeroDuration());
  EXPECT_EQ(count(), 2u);
}

TEST_F(ProgramStarterTest, ARoomKillsWhatIsItsOwn) {
  Ready();
  starter_->OnRoomReady(Room::kLookup, kLookup, lookup_.parents.get());
  FakeProcesses::Child* const filter = processes_.children.at(0).get();
  FakeProcesses::Child* const table = processes_.children.at(1).get();
  Execute(filter);
  Execute(table);
  const uint64_t number = filters_.started.at(0).number;
  const uint64_t other = lookup_.started.at(0).number;
  Kill(kFilters, "people", other);    // another room's
  Kill(kFilters, "dkim", other);      // another start
  Kill(kFilters, "dkim", 0);          // none
  Kill(kFilters, "nobody", number);   // unknown
  Kill(kNewFilters, "dkim", number);  // a room that is no more
  EXPECT_THAT(filter->signals, IsEmpty());
  EXPECT_THAT(table->signals, IsEmpty());
  Kill(kFilters, "dkim", number);
  EXPECT_THAT(filter->signals, ElementsAre(SIGKILL));
  EXPECT_THAT(table->signals, IsEmpty());
  End(filter, kKilled);
  ASSERT_EQ(filters_.ended.size(), 1u);
  EXPECT_EQ(filters_.ended[0].how, "terminated; signal 9");
  // What was started before is nobody's any more.
  loop_.Advance(absl::ZeroDuration());
  Execute(Last());
  Kill(kFilters, "dkim", number);
  EXPECT_THAT(Last()->signals, IsEmpty());
}

TEST_F(ProgramStarterTest, WithoutItsRoomAProgramEnds) {
  Ready();
  FakeProcesses::Child* const first = Last();
  Execute(first);
  starter_->OnRoomDied(Room::kFilters, kFilters);
  EXPECT_THAT(first->signals, ElementsAre(SIGTERM));
  // The room is back before it has ended.
  FakeRoom again(&loop_);
  starter_->OnRoomReady(Room::kFilters, kNewFilters, again.parents.get());
  EXPECT_EQ(count(), 1u);
  loop_.Advance(kProgramGrace);
  EXPECT_THAT(first->signals, ElementsAre(SIGTERM, SIGKILL));
  testing::internal::CaptureStderr();
  End(first, kKilled);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  // At once.
  ASSERT_EQ(count(), 2u);
  Execute(Last());
  EXPECT_EQ(again.started.size(), 1u);
  EXPECT_THAT(again.ended, IsEmpty());
  EXPECT_THAT(filters_.ended, IsEmpty());
}

TEST_F(ProgramStarterTest, WithoutItsRoomNothingIsStarted) {
  Ready();
  End(Last(), kKilled);
  loop_.Advance(absl::ZeroDuration());
  End(Last(), kKilled);  // waits now
  starter_->OnRoomDied(Room::kFilters, kFilters);
  loop_.Advance(absl::Minutes(1));
  EXPECT_EQ(count(), 2u);
}

TEST_F(ProgramStarterTest, TheEndWaitsForAllOfThem) {
  Ready();
  starter_->OnRoomReady(Room::kLookup, kLookup, lookup_.parents.get());
  FakeProcesses::Child* const filter = processes_.children.at(0).get();
  FakeProcesses::Child* const table = processes_.children.at(1).get();
  Execute(filter);
  starter_->OnRoomDied(Room::kFilters, kFilters);
  starter_->OnRoomDied(Room::kLookup, kLookup);
  bool gone = false;
  starter_->WhenGone([&gone] { gone = true; });
  EXPECT_FALSE(gone);
  End(filter, kExitedOkay);
  EXPECT_FALSE(gone);
  loop_.Advance(kProgramGrace);
  EXPECT_THAT(table->signals, ElementsAre(SIGTERM, SIGKILL));
  End(table, kKilled);
  EXPECT_TRUE(gone);
  EXPECT_THAT(processes_.Living(), IsEmpty());
}

// Its room may close its sockets before parent hears of the room's end.
TEST_F(ProgramStarterTest, AtTheEndNobodyIsLost) {
  Ready();
  Execute(Last());
  starter_->OnStopping();
  testing::internal::CaptureStderr();
  End(Last(), kExitedOkay);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(filters_.ended.size(), 1u);
  loop_.Advance(absl::Minutes(1));
  EXPECT_EQ(count(), 1u);
}

TEST_F(ProgramStarterTest, TheEndOfNoneIsNow) {
  bool gone = false;
  starter_->WhenGone([&gone] { gone = true; });
  EXPECT_TRUE(gone);
}

}  // namespace
}  // namespace holdfast
