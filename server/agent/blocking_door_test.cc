#include "server/agent/blocking_door.h"

#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/door/door.h"
#include "server/door/worker_messages.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

// The two kinds of door understand each other.
TEST(BlockingDoor, SpeaksWithADoor) {
  FakeEventLoop loop;
  auto [a, b] = MakeDoorSockets();
  std::unique_ptr<Door> door = MakeDoor(&loop, std::move(a));
  std::vector<std::string> heard;
  door->SetCallbacks(
      [&](Frame& frame) {
        EXPECT_TRUE(Dispatch<AgentText>(
            frame, [&](AgentText& text) { heard.push_back(text.bytes); }));
      },
      [](absl::Status) {});
  BlockingDoor blocking(b.get());
  AgentText text;
  for (const char* bytes : {"one", "", "three"}) {
    text.bytes = bytes;
    door->Send(text);
    ASSERT_TRUE(blocking.Send(text).ok());
  }
  loop.RunReady();
  EXPECT_EQ(heard, (std::vector<std::string>{"one", "", "three"}));
  for (const char* bytes : {"one", "", "three"}) {
    auto frame = blocking.Read();
    ASSERT_TRUE(frame.ok() && frame->has_value());
    EXPECT_EQ((*frame)->type, AgentText::kType);
    auto read = Decode<AgentText>((*frame)->payload);
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->bytes, bytes);
  }
  door.reset();
  auto end = blocking.Read();
  ASSERT_TRUE(end.ok());
  EXPECT_FALSE(end->has_value());
}

// What comes before the end of the stream, as Read() sees it.
absl::Status ReadAfter(const std::string& bytes) {
  int fds[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  EXPECT_EQ(write(fds[0], bytes.data(), bytes.size()),
            static_cast<ssize_t>(bytes.size()));
  close(fds[0]);
  BlockingDoor door(fds[1]);
  absl::Status status = door.Read().status();
  close(fds[1]);
  return status;
}

TEST(BlockingDoor, NonsenseIsDataLoss) {
  EXPECT_TRUE(absl::IsDataLoss(ReadAfter("ab")));
  EXPECT_TRUE(absl::IsDataLoss(ReadAfter(std::string(4, '\0'))));
  EXPECT_TRUE(absl::IsDataLoss(ReadAfter("\xff\xff\xff\xff")));
  EXPECT_TRUE(absl::IsDataLoss(ReadAfter(std::string("\x09\0\0\0\x01", 5))));
  EXPECT_TRUE(ReadAfter("").ok());
}

}  // namespace
}  // namespace holdfast
