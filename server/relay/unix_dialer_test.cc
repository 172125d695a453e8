#include "server/relay/unix_dialer.h"

#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/door/parent_messages.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

using Result = absl::StatusOr<std::unique_ptr<Stream>>;

class UnixDialerTest : public ::testing::Test {
 protected:
  UnixDialerTest() {
    auto [ours, theirs] = MakeDoorSockets();
    parent_ = MakeDoor(&loop_, std::move(ours));
    relay_ = MakeDoor(&loop_, std::move(theirs));
    parent_->SetCallbacks(
        [this](Frame& frame) {
          EXPECT_TRUE(Dispatch<LmtpConnect>(
              frame, [this](LmtpConnect& q) { asked_.push_back(q); }));
        },
        [](absl::Status) {});
    dialer_.emplace(&loop_, relay_.get());
    relay_->SetCallbacks(
        [this](Frame& frame) { understood_ = dialer_->OnParentFrame(frame); },
        [](absl::Status) {});
  }

  PendingConnect Dial(const std::string& action) {
    return dialer_->Dial(action, absl::Seconds(5), [this](Result stream) {
      results_.push_back(std::move(stream));
    });
  }
  void Answer(const LmtpConnected& answer, std::vector<OwnedFd> fds = {}) {
    parent_->Send(answer, std::move(fds));
    loop_.RunReady();
  }

  FakeEventLoop loop_;
  std::unique_ptr<Door> parent_, relay_;
  std::optional<UnixDialer> dialer_;
  std::vector<LmtpConnect> asked_;
  std::vector<Result> results_;
  bool understood_ = false;
};

TEST_F(UnixDialerTest, TheDescriptorOfParentIsTheConnection) {
  const PendingConnect pending = Dial("l");
  loop_.RunReady();
  ASSERT_EQ(asked_.size(), 1u);
  EXPECT_EQ(asked_[0].action, "l");
  auto [server, client] = MakeDoorSockets();
  std::vector<OwnedFd> fds;
  fds.push_back(std::move(client));
  Answer({asked_[0].question, true, ""}, std::move(fds));
  EXPECT_TRUE(understood_);
  ASSERT_EQ(results_.size(), 1u);
  ASSERT_TRUE(results_[0].ok());
  (*results_[0])->Write("LHLO");
  loop_.RunReady();
  char bytes[8];
  EXPECT_EQ(read(server.get(), bytes, sizeof bytes), 4);
  EXPECT_EQ(dialer_->open(), 0u);
}

TEST_F(UnixDialerTest, RefusalsAreInTheWordsOfTheSystem) {
  const PendingConnect pending = Dial("l");
  loop_.RunReady();
  Answer({asked_[0].question, false, "Connection refused"});
  ASSERT_EQ(results_.size(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(results_[0].status()));
  EXPECT_EQ(results_[0].status().message(), "Connection refused");
  // A second answer, and one without a descriptor.
  Answer({asked_[0].question, false, "again"});
  EXPECT_EQ(results_.size(), 1u);
  const PendingConnect other = Dial("l");
  loop_.RunReady();
  Answer({asked_[1].question, true, ""});
  ASSERT_EQ(results_.size(), 2u);
  EXPECT_FALSE(results_[1].ok());
}

TEST_F(UnixDialerTest, SilenceEndsInTime) {
  const PendingConnect pending = Dial("l");
  loop_.Advance(absl::Seconds(6));
  ASSERT_EQ(results_.size(), 1u);
  EXPECT_TRUE(absl::IsDeadlineExceeded(results_[0].status()));
}

TEST_F(UnixDialerTest, WhatNobodyWaitsForIsClosed) {
  PendingConnect pending = Dial("l");
  loop_.RunReady();
  pending.reset();
  EXPECT_EQ(dialer_->open(), 0u);
  auto [server, client] = MakeDoorSockets();
  std::vector<OwnedFd> fds;
  fds.push_back(std::move(client));
  Answer({asked_[0].question, true, ""}, std::move(fds));
  EXPECT_TRUE(results_.empty());
  char byte;
  EXPECT_EQ(recv(server.get(), &byte, 1, MSG_DONTWAIT), 0);
}

}  // namespace
}  // namespace holdfast
