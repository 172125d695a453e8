#include "server/loop/event_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;

TEST(UvEventLoopTest, RunsTimersInOrderOfTime) {
  auto loop = MakeUvEventLoop();
  std::vector<int> ran;
  auto b = loop->RunAfter(absl::Milliseconds(2), [&] {
    ran.push_back(2);
    loop->Stop();
  });
  auto a = loop->RunAfter(absl::Milliseconds(1), [&] { ran.push_back(1); });
  auto dropped =
      loop->RunAfter(absl::Milliseconds(1), [&] { ran.push_back(9); });
  dropped.reset();
  loop->Run();
  EXPECT_THAT(ran, ElementsAre(1, 2));
}

TEST(UvEventLoopTest, TurnEndComesAfterTheCallbacksOfATurn) {
  auto loop = MakeUvEventLoop();
  std::vector<int> ran;
  auto timer = loop->RunAfter(absl::ZeroDuration(), [&] {
    loop->AtTurnEnd([&] {
      ran.push_back(2);
      loop->AtTurnEnd([&] {
        ran.push_back(3);
        loop->Stop();
      });
    });
    ran.push_back(1);
  });
  loop->Run();
  EXPECT_THAT(ran, ElementsAre(1, 2, 3));
}

TEST(UvEventLoopTest, PostWakesTheLoopFromAnotherThread) {
  auto loop = MakeUvEventLoop();
  std::thread other([&] { loop->Post([&] { loop->Stop(); }); });
  loop->Run();
  other.join();
}

TEST(UvEventLoopTest, AWatchMayBeDroppedByItsOwnCallback) {
  auto loop = MakeUvEventLoop();
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  int calls = 0;
  std::unique_ptr<EventLoop::Watch> watch;
  watch = loop->WatchDescriptor(
      fds[0],
      [&] {
        ++calls;
        watch.reset();
        loop->Stop();
      },
      [] {});
  watch->Want(true, false);
  loop->Run();
  EXPECT_EQ(calls, 1);
  close(fds[0]);
  close(fds[1]);
}

TEST(FakeEventLoopTest, AdvanceRunsWhatComesDueAtItsTime) {
  FakeEventLoop loop;
  const absl::Time start = loop.Now();
  std::vector<absl::Duration> ran;
  EventLoop::Timer again;
  auto late =
      loop.RunAfter(absl::Hours(2), [&] { ran.push_back(loop.Now() - start); });
  auto early = loop.RunAfter(absl::Hours(1), [&] {
    ran.push_back(loop.Now() - start);
    again = loop.RunAfter(absl::Minutes(30),
                          [&] { ran.push_back(loop.Now() - start); });
  });
  loop.Advance(absl::Hours(3));
  EXPECT_THAT(ran,
              ElementsAre(absl::Hours(1), absl::Minutes(90), absl::Hours(2)));
  EXPECT_EQ(loop.Now(), start + absl::Hours(3));
}

TEST(FakeEventLoopTest, PostedTasksAndDescriptorsRun) {
  FakeEventLoop loop;
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  bool posted = false;
  int reads = 0;
  loop.Post([&] { posted = true; });
  auto watch = loop.WatchDescriptor(
      fds[0],
      [&] {
        char c;
        reads += read(fds[0], &c, 1) == 1;
      },
      [] {});
  watch->Want(true, false);
  ASSERT_EQ(write(fds[1], "xy", 2), 2);
  loop.RunReady();
  EXPECT_TRUE(posted);
  EXPECT_EQ(reads, 2);
  watch.reset();
  close(fds[0]);
  close(fds[1]);
}

}  // namespace
}  // namespace holdfast
