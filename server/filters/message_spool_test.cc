#include "server/filters/message_spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/loop/event_loop.h"

namespace holdfast {
namespace {

class MessageSpoolTest : public testing::Test {
 protected:
  MessageSpoolTest() : folder_(absl::StrCat(testing::TempDir(), "/spool")) {
    std::filesystem::create_directories(folder_);
    Make(folder_);
  }
  void Make(const std::string& folder) {
    spool_ = std::make_unique<MessageSpool>(&background_, folder,
                                            [this] { loop_->Stop(); });
  }
  void WaitUntilWritten() {
    if (spool_->unwritten() > 0 && spool_->status().ok()) loop_->Run();
  }
  // All of it, in pieces of at most `max`.
  std::string ReadAll(size_t max) {
    std::string all;
    for (bool end = false; !end;) {
      bool done = false, waits = false;
      spool_->Read(max, [&](absl::StatusOr<std::string> bytes) {
        EXPECT_TRUE(bytes.ok()) << bytes.status();
        end = !bytes.ok() || bytes->empty();
        if (bytes.ok()) {
          EXPECT_LE(bytes->size(), max);
          all += *bytes;
        }
        done = true;
        if (waits) loop_->Stop();
      });
      waits = !done;
      if (waits) loop_->Run();
    }
    return all;
  }

  std::unique_ptr<EventLoop> loop_ = MakeUvEventLoop();
  BackgroundWork background_{loop_.get()};
  const std::string folder_;
  std::unique_ptr<MessageSpool> spool_;
};

std::string Pattern(size_t size) {
  std::string text;
  while (text.size() < size) absl::StrAppend(&text, text.size(), "\n");
  return text.substr(0, size);
}

TEST_F(MessageSpoolTest, SmallStaysInMemory) {
  Make("/nonexistent");
  const std::string text = Pattern(kSpoolMemory);
  spool_->Append(text.substr(0, 10));
  spool_->Append(text.substr(10));
  EXPECT_EQ(spool_->unwritten(), 0u);
  EXPECT_EQ(spool_->size(), text.size());
  EXPECT_EQ(background_.waiting(), 0u);
  EXPECT_EQ(ReadAll(1000), text);
}

TEST_F(MessageSpoolTest, LargeGoesThroughAFile) {
  const std::string text = Pattern(1 << 20);
  for (size_t at = 0; at < text.size(); at += 5000)
    spool_->Append(absl::string_view(text).substr(at, 5000));
  EXPECT_GT(spool_->unwritten(), 0u);
  WaitUntilWritten();
  ASSERT_TRUE(spool_->status().ok()) << spool_->status();
  EXPECT_EQ(spool_->unwritten(), 0u);
  EXPECT_EQ(ReadAll(64 << 10), text);
  // No name of it is to be seen.
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(MessageSpoolTest, NoFolder) {
  Make("/nonexistent/folder");
  spool_->Append(Pattern(kSpoolMemory + 1));
  WaitUntilWritten();
  EXPECT_EQ(spool_->status().code(), absl::StatusCode::kUnavailable);
  absl::Status seen;
  spool_->Read(
      10, [&](absl::StatusOr<std::string> bytes) { seen = bytes.status(); });
  EXPECT_FALSE(seen.ok());
  spool_->Append("more");  // is not kept
  EXPECT_EQ(spool_->unwritten(), 0u);
}

TEST_F(MessageSpoolTest, DroppedWhileItWrites) {
  spool_->Append(Pattern(1 << 20));
  spool_.reset();
  background_.Run([this] { return [this] { loop_->Stop(); }; });
  loop_->Run();
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

}  // namespace
}  // namespace holdfast
