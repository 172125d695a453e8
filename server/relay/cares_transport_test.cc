// Real sockets on the loopback interface, our own name server at their end.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"
#include "server/relay/dns_transport.h"
#include "server/relay/fake_dns.h"

namespace holdfast {
namespace {

class CaresTransportTest : public ::testing::Test {
 protected:
  CaresTransportTest() {
    fd_ = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address),
              0);
    socklen_t size = sizeof address;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    transport_ = MakeCaresTransport(
        &loop_,
        ParseResolvConf(absl::StrCat("nameserver [127.0.0.1]:", port_,
                                     "\noptions timeout:1 attempts:2\n")),
        random_);
  }
  ~CaresTransportTest() override {
    transport_.reset();
    if (fd_ >= 0) close(fd_);
  }

  void Ask(const std::string& name) {
    transport_->Ask(name, DnsType::kMx, [this](absl::StatusOr<std::string> a) {
      answer_ = std::move(a);
    });
    EXPECT_FALSE(answer_.has_value()) << "answered within the call";
    loop_.RunReady();
  }
  // The server's turn: answers what came.  False: nothing came.
  bool Serve(const std::vector<DnsRecord>& answers, DnsRcode rcode) {
    char question[512];
    sockaddr_in from{};
    socklen_t size = sizeof from;
    const ssize_t n = recvfrom(fd_, question, sizeof question, 0,
                               reinterpret_cast<sockaddr*>(&from), &size);
    if (n <= 0) return false;
    const std::string reply = MakeDnsResponse(
        absl::string_view(question, static_cast<size_t>(n)), answers, rcode);
    sendto(fd_, reply.data(), reply.size(), 0,
           reinterpret_cast<sockaddr*>(&from), size);
    loop_.RunReady();
    return true;
  }

  FakeEventLoop loop_;
  absl::BitGen random_;
  int fd_ = -1;
  int port_ = 0;
  std::unique_ptr<DnsTransport> transport_;
  std::optional<absl::StatusOr<std::string>> answer_;
};

TEST_F(CaresTransportTest, BringsTheBytesOfAnAnswer) {
  Ask("example.org");
  ASSERT_FALSE(answer_.has_value());
  DnsRecord mx;
  mx.name = "example.org";
  mx.type = DnsType::kMx;
  mx.target = "mx.example.org";
  mx.preference = 10;
  mx.ttl = 77;
  ASSERT_TRUE(Serve({mx}, DnsRcode::kNoError));
  ASSERT_TRUE(answer_.has_value());
  ASSERT_TRUE(answer_->ok()) << answer_->status();
  const absl::StatusOr<DnsMessage> message = ParseDnsMessage(**answer_);
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(message->answers.at(0).ttl, 77u);
}

TEST_F(CaresTransportTest, NegativeAnswersComeWithTheirSoa) {
  Ask("none.example.org");
  ASSERT_TRUE(Serve({}, DnsRcode::kNxDomain));
  ASSERT_TRUE(answer_.has_value() && answer_->ok());
  const absl::StatusOr<DnsMessage> message = ParseDnsMessage(**answer_);
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(message->rcode, DnsRcode::kNxDomain);
  EXPECT_EQ(message->authority.size(), 1u);
}

TEST_F(CaresTransportTest, AServerThatDoesNotWorkForUsIsNoServer) {
  for (const DnsRcode rcode : {DnsRcode::kRefused, DnsRcode::kServFail}) {
    answer_.reset();
    Ask("a.example.org");
    while (!answer_.has_value() && Serve({}, rcode)) {
    }
    ASSERT_TRUE(answer_.has_value());
    EXPECT_TRUE(absl::IsUnavailable(answer_->status()));
  }
}

TEST_F(CaresTransportTest, NobodyThereFailsAtOnce) {
  close(std::exchange(fd_, -1));  // the kernel says "refused" from here on
  Ask("example.org");
  ASSERT_TRUE(answer_.has_value()) << "still waiting";
  EXPECT_TRUE(absl::IsUnavailable(answer_->status())) << answer_->status();
}

TEST_F(CaresTransportTest, WhatIsNoNameIsNotAsked) {
  Ask("a..b");
  ASSERT_TRUE(answer_.has_value());
  EXPECT_TRUE(absl::IsInvalidArgument(answer_->status()));
}

TEST_F(CaresTransportTest, DroppedWithOpenQuestions) {
  Ask("example.org");
  transport_.reset();
  loop_.RunReady();
  EXPECT_FALSE(answer_.has_value());
}

}  // namespace
}  // namespace holdfast
