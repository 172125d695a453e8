#include "server/receive/proxy_reader.h"

#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

class ProxyReaderTest : public testing::Test {
 protected:
  ProxyReaderTest() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    peer_.Reset(fds[0]);
    reader_ = std::make_unique<ProxyReader>(
        &loop_, OwnedFd(fds[1]), ProxyVersion::kV1,
        [this](absl::StatusOr<ProxyReader::Client> client) {
          ++calls_;
          result_ = std::move(client);
          reader_.reset();
        });
  }
  void Send(absl::string_view bytes) {
    EXPECT_EQ(write(peer_.get(), bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
    loop_.RunReady();
  }
  std::string Rest() {
    char bytes[100];
    const ssize_t n = read(result_->fd.get(), bytes, sizeof bytes);
    return std::string(bytes, n < 0 ? 0 : static_cast<size_t>(n));
  }

  FakeEventLoop loop_;
  OwnedFd peer_;
  std::unique_ptr<ProxyReader> reader_;
  int calls_ = 0;
  absl::StatusOr<ProxyReader::Client> result_ = absl::UnknownError("");
};

TEST_F(ProxyReaderTest, LeavesWhatFollows) {
  Send("PROXY TCP4 192.0.2.1 198");
  EXPECT_EQ(calls_, 0);
  Send(".51.100.1 1025 25\r\nEHLO x\r\n");
  ASSERT_EQ(calls_, 1);
  ASSERT_TRUE(result_.ok());
  EXPECT_EQ(result_->address->ToString(), "192.0.2.1");
  EXPECT_EQ(result_->port, 1025);
  EXPECT_EQ(Rest(), "EHLO x\r\n");
}

TEST_F(ProxyReaderTest, NobodyBehindIt) {
  Send("PROXY UNKNOWN\r\n");
  ASSERT_TRUE(result_.ok());
  EXPECT_FALSE(result_->address);
}

TEST_F(ProxyReaderTest, TheHeaderMustCome) {
  Send("PROXY ");
  loop_.Advance(kProxyHeaderTimeout - absl::Seconds(1));
  EXPECT_EQ(calls_, 0);
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(calls_, 1);
  EXPECT_EQ(result_.status().message(), "timeout");
}

TEST_F(ProxyReaderTest, AnErrorIsNamed) {
  Send("EHLO x\r\n");
  EXPECT_EQ(calls_, 1);
  EXPECT_EQ(result_.status().message(), "protocol error (invalid signature)");
}

TEST_F(ProxyReaderTest, ThePeerMayGo) {
  Send("PROXY");
  peer_.Reset();
  loop_.RunReady();
  EXPECT_EQ(calls_, 1);
  EXPECT_EQ(result_.status().message(), "disconnected");
}

}  // namespace
}  // namespace holdfast
