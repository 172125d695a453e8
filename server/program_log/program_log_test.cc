#include "server/program_log/program_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_split.h"
#include "server/log/log.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

class ProgramLogTest : public testing::Test {
 protected:
  ProgramLogTest() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    program_.Reset(ends[0]);
    log_ = std::make_unique<ProgramLog>(&loop_, "na\nme", OwnedFd(ends[1]));
  }

  // What the log gets of it.
  std::string Said(const std::string& text) {
    testing::internal::CaptureStderr();
    EXPECT_EQ(write(program_.get(), text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
    loop_.RunReady();
    FlushLog();
    return testing::internal::GetCapturedStderr();
  }

  FakeEventLoop loop_;
  OwnedFd program_;
  std::unique_ptr<ProgramLog> log_;
};

TEST_F(ProgramLogTest, EachLineWithItsName) {
  EXPECT_EQ(Said("one\n\ntwo\x1b"), "na\\nme: one\n");
  EXPECT_EQ(Said("!\n"), "na\\nme: two\\^[!\n");
}

TEST_F(ProgramLogTest, LongLinesAreCut) {
  EXPECT_EQ(Said(std::string(5000, 'x') + "\n").size(),
            kMaxProgramLogLine + std::string("na\\nme: \n").size());
}

TEST_F(ProgramLogTest, FloodsAreCounted) {
  std::string flood;
  for (size_t i = 0; i < kMaxProgramLogLines + 7; ++i) flood += "x\n";
  const std::vector<std::string> lines = absl::StrSplit(Said(flood), '\n');
  EXPECT_EQ(lines.size(), kMaxProgramLogLines + 1);
  EXPECT_EQ(Said("y\n"), "");
  loop_.Advance(absl::Minutes(1));
  EXPECT_EQ(Said("z\n"), "na\\nme: 8 more lines\nna\\nme: z\n");
}

TEST_F(ProgramLogTest, LastWordsWithoutAnEnd) {
  Said("bye");
  testing::internal::CaptureStderr();
  program_.Reset();
  loop_.RunReady();
  FlushLog();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "na\\nme: bye\n");
}

}  // namespace
}  // namespace holdfast
