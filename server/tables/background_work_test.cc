#include "server/tables/background_work.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace holdfast {
namespace {

TEST(BackgroundWork, RunsInOrderAndFinishesOnTheLoop) {
  const std::unique_ptr<EventLoop> loop = MakeUvEventLoop();
  BackgroundWork work(loop.get());
  const std::thread::id here = std::this_thread::get_id();
  std::vector<int> finished;
  for (int i = 0; i < 3; ++i) {
    work.Run([&, i]() -> BackgroundWork::Finish {
      EXPECT_NE(std::this_thread::get_id(), here);
      return [&, i] {
        EXPECT_EQ(std::this_thread::get_id(), here);
        finished.push_back(i);
        if (i == 2) loop->Stop();
      };
    });
  }
  EXPECT_EQ(work.waiting(), 3u);
  loop->Run();
  EXPECT_EQ(finished, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(work.waiting(), 0u);
}

TEST(BackgroundWork, NothingIsFinishedForWhoIsGone) {
  const std::unique_ptr<EventLoop> loop = MakeUvEventLoop();
  auto first = std::make_unique<BackgroundWork>(loop.get());
  BackgroundWork second(loop.get());
  bool finished = false;
  first->Run([&]() -> BackgroundWork::Finish {
    return [&] {
      // What is posted behind this finds nobody.
      first.reset();
      second.Run(
          [&]() -> BackgroundWork::Finish { return [&] { loop->Stop(); }; });
    };
  });
  first->Run([&]() -> BackgroundWork::Finish {
    return [&finished] { finished = true; };
  });
  loop->Run();
  EXPECT_FALSE(finished);
}

}  // namespace
}  // namespace holdfast
