#include "server/parent/lmtp_connector.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

class LmtpConnectorTest : public ::testing::Test {
 protected:
  LmtpConnectorTest() {
    char name[] = "/tmp/lmtp.XXXXXX";
    folder_ = mkdtemp(name);
    path_ = absl::StrCat(folder_, "/socket");
  }
  ~LmtpConnectorTest() override {
    unlink(path_.c_str());
    rmdir(folder_.c_str());
  }

  void Add(const std::string& name, ActionMethod method,
           const std::string& to) {
    Action& action = config_->actions[name];
    action.name = name;
    action.method = method;
    action.lmtp = to;
  }

  OwnedFd Listen() {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    OwnedFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(
        bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address),
        0);
    EXPECT_EQ(listen(fd.get(), 4), 0);
    return fd;
  }

  std::shared_ptr<Config> config_ = std::make_shared<Config>();
  std::string folder_, path_;
};

TEST_F(LmtpConnectorTest, ConnectsToTheSocketOfTheAction) {
  Add("l", ActionMethod::kLmtp, path_);
  const OwnedFd server = Listen();
  const LmtpConnector connector(config_);
  absl::StatusOr<OwnedFd> client = connector.ConnectFor("l");
  ASSERT_TRUE(client.ok()) << client.status();
  OwnedFd accepted(accept(server.get(), nullptr, nullptr));
  ASSERT_TRUE(accepted);
  ASSERT_EQ(write(client->get(), "x", 1), 1);
  char byte = 0;
  ASSERT_EQ(read(accepted.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
}

TEST_F(LmtpConnectorTest, SaysWhatTheSystemSays) {
  Add("l", ActionMethod::kLmtp, path_);
  const absl::Status s = LmtpConnector(config_).ConnectFor("l").status();
  EXPECT_TRUE(absl::IsUnavailable(s));
  EXPECT_EQ(s.message(), "No such file or directory");
}

// Who does not take them does not use up our descriptors.
TEST_F(LmtpConnectorTest, AnswersThatAreNotTakenAreBounded) {
  Add("l", ActionMethod::kLmtp, path_);
  const OwnedFd server = Listen();
  ASSERT_EQ(fcntl(server.get(), F_SETFL, O_NONBLOCK), 0);
  FakeEventLoop loop;
  auto [parents, own] = MakeDoorPair(&loop);
  size_t fds = 0, refused = 0;
  own->SetCallbacks(
      [&](Frame& frame) {
        EXPECT_TRUE(Dispatch<LmtpConnected>(frame, [&](auto& answer) {
          answer.ok ? fds += frame.fds.size() : ++refused;
        }));
      },
      [](absl::Status) {});
  own->PauseReading();
  const LmtpConnector connector(config_);
  LmtpConnect question;
  question.action = "l";
  for (size_t i = 0; i < 2 * kMaxLmtpAnswers; ++i) {
    connector.OnQuestion(parents.get(), question);
    OwnedFd accepted(accept(server.get(), nullptr, nullptr));
  }
  own->ResumeReading();
  loop.RunReady();
  EXPECT_EQ(fds + refused, 2 * kMaxLmtpAnswers);
  EXPECT_GT(fds, 100u);
  EXPECT_LE(fds, kMaxLmtpAnswers);
}

TEST_F(LmtpConnectorTest, OnlyWhatTheConfigurationNames) {
  const OwnedFd server = Listen();
  Add("tcp", ActionMethod::kLmtp, "localhost:24");
  Add("mbox", ActionMethod::kMbox, path_);
  Add("shell", ActionMethod::kLmtp, path_ + " -x");
  Add("wrapped", ActionMethod::kLmtp, path_);
  config_->actions["wrapped"].wrapper = "w";
  const LmtpConnector connector(config_);
  for (const std::string& action :
       {std::string("tcp"), std::string("mbox"), std::string("shell"),
        std::string("wrapped"), std::string("nobody"), path_}) {
    EXPECT_TRUE(absl::IsPermissionDenied(connector.ConnectFor(action).status()))
        << action;
  }
}

}  // namespace
}  // namespace holdfast
