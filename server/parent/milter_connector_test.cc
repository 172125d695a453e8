#include "server/parent/milter_connector.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr WorkerId kWorker{3}, kOther{4};

class MilterConnectorTest : public testing::Test {
 protected:
  MilterConnectorTest() {
    char name[] = "/tmp/milter.XXXXXX";
    folder_ = mkdtemp(name);
    path_ = absl::StrCat(folder_, "/socket");
    std::tie(parents_, own_) = MakeDoorPair(&loop_);
    own_->SetCallbacks(
        [this](Frame& frame) {
          ASSERT_TRUE(Dispatch<MilterConnected>(frame, [&](auto& answer) {
            answers_.push_back(answer);
            EXPECT_EQ(frame.fds.size(), answer.ok ? 1u : 0u);
            for (OwnedFd& fd : frame.fds) fds_.push_back(std::move(fd));
          }));
        },
        [](absl::Status) {});
    Add("unix", absl::StrCat("unix:", path_));
    config_->filters["proc"].kind = Filter::Kind::kProc;
    config_->filters["proc"].milter = absl::StrCat("unix:", path_);
  }
  ~MilterConnectorTest() override {
    unlink(path_.c_str());
    rmdir(folder_.c_str());
  }
  void Add(const std::string& name, const std::string& where) {
    Filter& filter = config_->filters[name];
    filter.name = name;
    filter.kind = Filter::Kind::kMilter;
    filter.milter = where;
  }
  OwnedFd ListenUnix(int backlog = 4) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    return Listen(reinterpret_cast<sockaddr*>(&address), sizeof address,
                  backlog);
  }
  OwnedFd ListenInet(uint16_t* port) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    OwnedFd fd = Listen(reinterpret_cast<sockaddr*>(&address), size, 4);
    EXPECT_EQ(
        getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
  }
  static OwnedFd Listen(const sockaddr* address, socklen_t size, int backlog) {
    OwnedFd fd(socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(fd.get(), address, size), 0);
    EXPECT_EQ(listen(fd.get(), backlog), 0);
    return fd;
  }
  void Ask(const std::string& filter, uint64_t question = 1,
           WorkerId worker = kWorker) {
    MilterConnect message;
    message.filter = filter;
    message.question = question;
    connector_.OnQuestion(worker, parents_.get(), message);
    loop_.RunReady();
  }
  // Until one waits.
  void Fill() {
    while (answers_.size() == asked_ && asked_ < 8) Ask("unix", ++asked_);
  }
  void ExpectConnectedTo(const OwnedFd& server) {
    ASSERT_EQ(answers_.size(), 1u);
    EXPECT_TRUE(answers_[0].ok) << answers_[0].error;
    OwnedFd accepted(accept(server.get(), nullptr, nullptr));
    ASSERT_TRUE(accepted);
    ASSERT_EQ(write(fds_.at(0).get(), "x", 1), 1);
    char byte = 0;
    ASSERT_EQ(read(accepted.get(), &byte, 1), 1);
    EXPECT_EQ(byte, 'x');
    EXPECT_NE(fcntl(fds_[0].get(), F_GETFL) & O_NONBLOCK, 0);
  }

  FakeEventLoop loop_;
  std::shared_ptr<Config> config_ = std::make_shared<Config>();
  std::unique_ptr<Door> parents_, own_;
  std::vector<MilterConnected> answers_;
  std::vector<OwnedFd> fds_;
  std::string folder_, path_;
  size_t asked_ = 0;
  MilterConnector connector_{&loop_, config_};
};

TEST_F(MilterConnectorTest, ConnectsToAUnixSocket) {
  const OwnedFd server = ListenUnix();
  Ask("unix", 77);
  ExpectConnectedTo(server);
  EXPECT_EQ(answers_[0].question, 77u);
}

TEST_F(MilterConnectorTest, ConnectsByTcp) {
  uint16_t port = 0;
  const OwnedFd server = ListenInet(&port);
  Add("inet", absl::StrCat("inet:", port, "@127.0.0.1"));
  Ask("inet");
  ExpectConnectedTo(server);
}

TEST_F(MilterConnectorTest, SaysWhatTheSystemSays) {
  Ask("unix");
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_FALSE(answers_[0].ok);
  EXPECT_EQ(answers_[0].error, "No such file or directory");
  uint16_t port = 0;
  ListenInet(&port).Reset();
  Add("inet", absl::StrCat("inet:", port, "@127.0.0.1"));
  Ask("inet");
  ASSERT_EQ(answers_.size(), 2u);
  EXPECT_EQ(answers_[1].error, "Connection refused");
}

TEST_F(MilterConnectorTest, OnlyWhatTheConfigurationNames) {
  const OwnedFd server = ListenUnix();
  for (const std::string& name :
       {std::string("proc"), std::string("nobody"), path_, std::string("")}) {
    answers_.clear();
    testing::internal::CaptureStderr();
    Ask(name);
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                HasSubstr("warn: filters: no such milter"));
    ASSERT_EQ(answers_.size(), 1u);
    EXPECT_FALSE(answers_[0].ok);
    EXPECT_EQ(answers_[0].error, "no such milter");
  }
}

// Who does not take them does not use up our descriptors.
TEST_F(MilterConnectorTest, AnswersThatAreNotTakenAreBounded) {
  const OwnedFd server = ListenUnix(1 << 12);
  ASSERT_EQ(fcntl(server.get(), F_SETFL, O_NONBLOCK), 0);
  own_->PauseReading();
  MilterConnect message;
  message.filter = "unix";
  for (size_t i = 0; i < 3 * kMaxMilterConnects; ++i) {
    connector_.OnQuestion(kWorker, parents_.get(), message);
    OwnedFd accepted(accept(server.get(), nullptr, nullptr));
  }
  own_->ResumeReading();
  loop_.RunReady();
  ASSERT_EQ(answers_.size(), 3 * kMaxMilterConnects);
  EXPECT_GT(fds_.size(), 100u);
  EXPECT_LE(fds_.size(), kMaxMilterConnects);
  EXPECT_EQ(answers_.back().error, "too many connections at once");
}

TEST_F(MilterConnectorTest, ASocketThatStaysFullIsTriedMoreAndMoreRarely) {
  const OwnedFd server = ListenUnix(0);
  Fill();
  const size_t before = answers_.size();
  absl::Duration wait = kMilterConnectRetry;
  for (int round = 0; round < 6; ++round) {
    loop_.Advance(wait);
    EXPECT_EQ(answers_.size(), before);
    wait = std::min(2 * wait, kMaxMilterConnectRetry);
  }
  EXPECT_EQ(wait, kMaxMilterConnectRetry);
  const OwnedFd accepted(accept(server.get(), nullptr, nullptr));
  loop_.Advance(wait - absl::Milliseconds(1));
  EXPECT_EQ(answers_.size(), before);
  loop_.Advance(absl::Milliseconds(1));
  ASSERT_EQ(answers_.size(), before + 1);
  EXPECT_TRUE(answers_.back().ok);
}

TEST_F(MilterConnectorTest, WhoWaitsForAFullSocketIsServedInTurn) {
  const OwnedFd server = ListenUnix(0);
  Fill();
  const uint64_t first = asked_;
  Ask("unix", ++asked_);
  const size_t before = answers_.size();
  OwnedFd accepted(accept(server.get(), nullptr, nullptr));
  // There is room now, but not for one who comes later.
  Ask("unix", ++asked_, kOther);
  EXPECT_EQ(answers_.size(), before);
  loop_.Advance(kMilterConnectRetry);
  ASSERT_EQ(answers_.size(), before + 1);
  EXPECT_EQ(answers_.back().question, first);
  // It went well: the next round is soon.
  accepted.Reset(accept(server.get(), nullptr, nullptr));
  loop_.Advance(kMilterConnectRetry);
  ASSERT_EQ(answers_.size(), before + 2);
  EXPECT_EQ(answers_.back().question, first + 1);
  connector_.OnRoomDied(kOther);
  accepted.Reset(accept(server.get(), nullptr, nullptr));
  loop_.Advance(kMilterConnectTimeout);
  EXPECT_EQ(answers_.size(), before + 2);
  Ask("unix", ++asked_);
  EXPECT_EQ(answers_.size(), before + 3);
}

TEST_F(MilterConnectorTest, AFullUnixSocketIsTriedAgain) {
  const OwnedFd server = ListenUnix(0);
  Fill();
  ASSERT_EQ(answers_.size() + 1, asked_);  // the last one waits
  loop_.Advance(kMilterConnectRetry);
  EXPECT_EQ(answers_.size() + 1, asked_);
  const OwnedFd accepted(accept(server.get(), nullptr, nullptr));
  loop_.Advance(2 * kMilterConnectRetry);
  ASSERT_EQ(answers_.size(), asked_);
  EXPECT_TRUE(answers_.back().ok);
  // Not for ever.
  Ask("unix", ++asked_);
  loop_.Advance(kMilterConnectTimeout);
  ASSERT_EQ(answers_.size(), asked_);
  EXPECT_EQ(answers_.back().error, "Connection timed out");
  // One that goes away meanwhile.
  Ask("unix", ++asked_);
  unlink(path_.c_str());
  loop_.Advance(kMilterConnectRetry);
  ASSERT_EQ(answers_.size(), asked_);
  EXPECT_EQ(answers_.back().error, "No such file or directory");
}

// A peer that never answers: packets to it go nowhere.
class SilentPeerTest : public MilterConnectorTest {
 protected:
  void SetUp() override {
    // A full backlog drops what comes.
    full_ = ListenInet(&port_);
    ASSERT_EQ(listen(full_.get(), 0), 0);
    Add("silent", absl::StrCat("inet:", port_, "@127.0.0.1"));
    // Until one is left hanging.
    for (uint64_t i = 0; i < 8; ++i) Ask("silent", i);
    answered_ = answers_.size();
    ASSERT_LT(answered_, 8u);
  }
  OwnedFd full_;
  uint16_t port_ = 0;
  size_t answered_ = 0;
};

TEST_F(SilentPeerTest, IsGivenUpAfterAWhile) {
  loop_.Advance(kMilterConnectTimeout - absl::Milliseconds(1));
  EXPECT_EQ(answers_.size(), answered_);
  loop_.Advance(absl::Milliseconds(1));
  ASSERT_EQ(answers_.size(), 8u);
  EXPECT_EQ(answers_.back().error, "Connection timed out");
}

TEST_F(SilentPeerTest, ADeadRoomGetsNoAnswer) {
  Ask("silent", 100, kOther);
  connector_.OnRoomDied(kWorker);
  loop_.Advance(kMilterConnectTimeout);
  ASSERT_EQ(answers_.size(), answered_ + 1);
  EXPECT_EQ(answers_.back().question, 100u);
}

TEST_F(SilentPeerTest, AreNotWaitedForWithoutBound) {
  for (uint64_t i = 0; i < kMaxMilterConnects + 1; ++i) Ask("silent", i);
  EXPECT_EQ(answers_.back().error, "too many connections at once");
  loop_.Advance(kMilterConnectTimeout);
  answers_.clear();
  Ask("silent");
  EXPECT_THAT(answers_, IsEmpty());
}

}  // namespace
}  // namespace holdfast
