#include "server/filters/stderr_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

using testing::ElementsAre;

class StderrLogTest : public testing::Test {
 protected:
  StderrLogTest() {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0) abort();
    filter_ = OwnedFd(fds[0]);
    log_ = std::make_unique<StderrLog>(
        &loop_, OwnedFd(fds[1]), "spam",
        [this](const std::string& line) { lines_.push_back(line); },
        [this] {
          ++ended_;
          log_.reset();
        });
  }
  void Say(const std::string& bytes) {
    ASSERT_EQ(write(filter_.get(), bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
    loop_.RunReady();
  }

  FakeEventLoop loop_;
  OwnedFd filter_;
  std::vector<std::string> lines_;
  int ended_ = 0;
  std::unique_ptr<StderrLog> log_;
};

TEST_F(StderrLogTest, LinesWithTheNameAndWithoutHarm) {
  Say("one\ntw");
  Say("o\n\x1b[31mred\r\n");
  EXPECT_THAT(lines_,
              ElementsAre("spam: one", "spam: two", "spam: \\^[[31mred\\r"));
}

TEST_F(StderrLogTest, LongLinesAreCut) {
  Say(std::string(kMaxStderrLine, 'x') + "\n");
  Say(std::string(kMaxStderrLine + 1, 'y') + "\nnext\n");
  EXPECT_THAT(lines_,
              ElementsAre("spam: " + std::string(kMaxStderrLine, 'x'),
                          "spam: " + std::string(kMaxStderrLine, 'y') + "...",
                          "spam: next"));
}

TEST_F(StderrLogTest, TheLastLineNeedsNoEnd) {
  Say("Traceback");
  EXPECT_TRUE(lines_.empty());
  filter_.Reset();
  loop_.RunReady();
  EXPECT_THAT(lines_, ElementsAre("spam: Traceback"));
  EXPECT_EQ(ended_, 1);
}

TEST_F(StderrLogTest, AFloodIsCounted) {
  for (int i = 0; i < kStderrBurst + 7; ++i) Say("x\n");
  EXPECT_EQ(lines_.size(), size_t{kStderrBurst});
  loop_.Advance(kStderrCountEvery);
  EXPECT_EQ(lines_.back(), "spam: ... (7 more lines)");
  EXPECT_EQ(lines_.size(), size_t{kStderrBurst} + 1);
  // Ten seconds later there is room for all of it again.
  Say("y\n");
  EXPECT_EQ(lines_.back(), "spam: y");
}

}  // namespace
}  // namespace holdfast
