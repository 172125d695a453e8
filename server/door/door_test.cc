#include "server/door/door.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;

struct Note {
  static constexpr uint16_t kType = 300;
  std::string text;
  template <class A>
  void Fields(A& a) {
    a(text);
  }
};
struct Other {
  static constexpr uint16_t kType = 2;
  uint32_t number = 0;
  template <class A>
  void Fields(A& a) {
    a(number);
  }
};

class DoorTest : public ::testing::Test {
 protected:
  void Listen(Door* door) {
    door->SetCallbacks(
        [this](Frame& frame) {
          fds_.push_back(frame.fds.size());
          for (OwnedFd& fd : frame.fds) kept_.push_back(std::move(fd));
          const bool known = Dispatch<Note, Other>(frame, [this](auto& m) {
            if constexpr (std::is_same_v<std::decay_t<decltype(m)>, Note>) {
              got_.push_back(m.text);
            } else {
              got_.push_back(absl::StrCat(m.number));
            }
          });
          if (!known) got_.push_back("?");
        },
        [this](absl::Status status) { closed_ = status; });
  }

  FakeEventLoop loop_;
  std::vector<std::string> got_;
  std::vector<size_t> fds_;
  std::vector<OwnedFd> kept_;
  std::optional<absl::Status> closed_;
};

TEST_F(DoorTest, FramesArriveInOrderInALaterTurn) {
  auto [a, b] = MakeDoorPair(&loop_);
  Listen(b.get());
  a->Send(Note{"one"});
  a->Send(Other{2});
  a->Send(Note{std::string(700000, 'x')});
  EXPECT_TRUE(got_.empty());
  loop_.RunReady();
  ASSERT_EQ(got_.size(), 3u);
  EXPECT_EQ(got_[0], "one");
  EXPECT_EQ(got_[1], "2");
  EXPECT_EQ(got_[2].size(), 700000u);
  EXPECT_EQ(a->backlog(), 0u);
}

TEST_F(DoorTest, DescriptorsStayWithTheirFrame) {
  auto [a, b] = MakeDoorPair(&loop_);
  Listen(b.get());
  auto null = [] { return OwnedFd(open("/dev/null", O_RDONLY)); };
  a->Send(Note{"plain"});
  std::vector<OwnedFd> two;
  two.push_back(null());
  two.push_back(null());
  a->Send(Note{"two"}, std::move(two));
  a->Send(Note{"plain"});
  std::vector<OwnedFd> one;
  one.push_back(null());
  a->Send(Note{std::string(300000, 'y')}, std::move(one));
  a->Send(Note{"plain"});
  loop_.RunReady();
  EXPECT_THAT(fds_, ElementsAre(0, 2, 0, 1, 0));
  for (const OwnedFd& fd : kept_) EXPECT_GE(fcntl(fd.get(), F_GETFD), 0);
}

TEST_F(DoorTest, ThePeersDeathIsToldAfterItsLastFrame) {
  auto [a, b] = MakeDoorPair(&loop_);
  Listen(b.get());
  a->Send(Note{"last words"});
  a.reset();
  loop_.RunReady();
  EXPECT_THAT(got_, ElementsAre("last words"));
  ASSERT_TRUE(closed_.has_value());
  EXPECT_TRUE(closed_->ok());
}

TEST_F(DoorTest, APausedDoorHoldsItsPeerBack) {
  auto [a, b] = MakeDoorPair(&loop_);
  Listen(b.get());
  b->PauseReading();
  for (int i = 0; i < 64; ++i) a->Send(Note{std::string(1 << 20, 'z')});
  loop_.RunReady();
  EXPECT_TRUE(got_.empty());
  EXPECT_GT(a->backlog(), 32u << 20);
  bool below = false;
  a->WhenBelow(1 << 20, [&] { below = true; });
  loop_.RunReady();
  EXPECT_FALSE(below);
  b->ResumeReading();
  loop_.RunReady();
  EXPECT_EQ(got_.size(), 64u);
  EXPECT_TRUE(below);
}

TEST_F(DoorTest, PausingInsideAFrameKeepsTheRest) {
  auto [a, b] = MakeDoorPair(&loop_);
  Door* door = b.get();
  std::vector<std::string> got;
  door->SetCallbacks(
      [&](Frame& frame) {
        Dispatch<Note>(frame, [&](Note& n) { got.push_back(n.text); });
        door->PauseReading();
      },
      [](absl::Status) {});
  a->Send(Note{"1"});
  a->Send(Note{"2"});
  loop_.RunReady();
  EXPECT_THAT(got, ElementsAre("1"));
  door->ResumeReading();
  loop_.RunReady();
  EXPECT_THAT(got, ElementsAre("1", "2"));
}

TEST_F(DoorTest, ADoorMayBeDroppedByItsOwnCallback) {
  auto [a, b] = MakeDoorPair(&loop_);
  int frames = 0;
  b->SetCallbacks(
      [&](Frame&) {
        ++frames;
        b.reset();
      },
      [](absl::Status) {});
  a->Send(Note{"1"});
  a->Send(Note{"2"});
  loop_.RunReady();
  EXPECT_EQ(frames, 1);
}

TEST_F(DoorTest, NonsenseClosesTheDoorNotTheProcess) {
  const std::string kNonsense[] = {
      std::string("\xff\xff\xff\xff\0\0\0", 7),  // too long
      std::string("\0\0\0\0\0\0\0", 7),          // too short
      std::string("\3\0\0\0\1\0\5", 7),  // descriptors that aren't there
  };
  for (const std::string& bytes : kNonsense) {
    auto [raw, ours] = MakeDoorSockets();
    auto door = MakeDoor(&loop_, std::move(ours));
    closed_.reset();
    Listen(door.get());
    ASSERT_EQ(send(raw.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    loop_.RunReady();
    ASSERT_TRUE(closed_.has_value());
    EXPECT_TRUE(absl::IsDataLoss(*closed_));
  }
}

TEST_F(DoorTest, AMalformedOrUnknownMessageIsNotDispatched) {
  auto [raw, ours] = MakeDoorSockets();
  auto door = MakeDoor(&loop_, std::move(ours));
  Listen(door.get());
  // A Note whose text claims five bytes and has none; then an unknown type.
  const std::string bytes("\4\0\0\0\x2c\1\0\5\3\0\0\0\x99\0\0", 15);
  ASSERT_EQ(send(raw.get(), bytes.data(), bytes.size(), 0), 15);
  loop_.RunReady();
  EXPECT_THAT(got_, ElementsAre("?", "?"));
  EXPECT_FALSE(closed_.has_value());
}

}  // namespace
}  // namespace holdfast
