#include "server/loop/stream.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

class StreamTest : public ::testing::Test {
 protected:
  StreamTest() : loop_(MakeUvEventLoop()) {
    // Nothing here takes a second; a hang is a failure, not a stuck test.
    guard_ = loop_->RunAfter(absl::Seconds(20), [this] {
      ADD_FAILURE() << "still waiting";
      loop_->Stop();
    });
  }

  std::unique_ptr<EventLoop> loop_;
  EventLoop::Timer guard_;
};

TEST_F(StreamTest, CarriesMoreThanTheKernelTakesAtOnce) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  auto a = MakeStream(loop_.get(), fds[0]);
  auto b = MakeStream(loop_.get(), fds[1]);
  const std::string sent(5 << 20, 'x');
  std::string got;
  std::optional<absl::Status> closed;
  bool drained = false;
  a->SetCallbacks(
      {[](absl::string_view) {}, [](absl::Status) {}, [&] { drained = true; }});
  b->SetCallbacks(
      {[&](absl::string_view bytes) { got.append(bytes.data(), bytes.size()); },
       [&](absl::Status status) {
         closed = status;
         loop_->Stop();
       },
       nullptr});
  a->Write(sent);
  EXPECT_GT(a->backlog(), 0u);
  a->Shutdown();
  b->ResumeReading();
  loop_->Run();
  EXPECT_EQ(got, sent);
  EXPECT_TRUE(drained);
  EXPECT_EQ(a->backlog(), 0u);
  ASSERT_TRUE(closed.has_value());
  EXPECT_TRUE(closed->ok());
}

TEST_F(StreamTest, APausedStreamDeliversNothingUntilResumed) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  auto a = MakeStream(loop_.get(), fds[0]);
  auto b = MakeStream(loop_.get(), fds[1]);
  int chunks = 0;
  EventLoop::Timer later;
  b->SetCallbacks({[&](absl::string_view) {
                     ++chunks;
                     b->PauseReading();
                     a->Write("second");
                     later = loop_->RunAfter(absl::Milliseconds(5), [&] {
                       EXPECT_EQ(chunks, 1);
                       loop_->Stop();
                     });
                   },
                   [](absl::Status) {}, nullptr});
  b->ResumeReading();
  a->Write("first");
  loop_->Run();
}

TEST_F(StreamTest, WritingToAGoneReaderEndsWithAnError) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  close(fds[1]);
  auto a = MakeStream(loop_.get(), fds[0]);
  std::optional<absl::Status> closed;
  a->SetCallbacks({[](absl::string_view) {},
                   [&](absl::Status status) {
                     closed = status;
                     loop_->Stop();
                   },
                   nullptr});
  a->Write("x");
  EXPECT_FALSE(closed.has_value());  // never inside the call
  loop_->Run();
  ASSERT_TRUE(closed.has_value());
  EXPECT_EQ(closed->message(), "Broken pipe");
}

TEST_F(StreamTest, APeerThatSaysNothingMoreIsStillTold) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  auto a = MakeStream(loop_.get(), fds[0]);
  auto b = MakeStream(loop_.get(), fds[1]);
  const std::string answer(5 << 20, 'x');
  int ends = 0;
  EventLoop::Timer later;
  a->SetCallbacks({[](absl::string_view) {},
                   [&](absl::Status status) {
                     EXPECT_TRUE(status.ok());
                     ++ends;
                     a->ResumeReading();  // changes nothing
                     later = loop_->RunAfter(absl::ZeroDuration(),
                                             [&] { a->Write(answer); });
                   },
                   [&] { a->Shutdown(); }});
  std::string got;
  b->SetCallbacks(
      {[&](absl::string_view bytes) { got.append(bytes.data(), bytes.size()); },
       [&](absl::Status) { loop_->Stop(); }, nullptr});
  a->ResumeReading();
  b->ResumeReading();
  b->Shutdown();
  loop_->Run();
  EXPECT_EQ(got, answer);
  EXPECT_EQ(ends, 1);
}

TEST_F(StreamTest, AResetBehindTheLastWordsIsNoticed) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  auto a = MakeStream(loop_.get(), fds[0]);
  a->Write("never read");
  ASSERT_EQ(send(fds[1], "554 no", 6, 0), 6);
  close(fds[1]);  // a reset, since something was not read
  std::string heard;
  a->SetCallbacks({[&](absl::string_view bytes) {
                     heard.append(bytes.data(), bytes.size());
                   },
                   [&](absl::Status status) {
                     absl::StrAppend(&heard, " (", status.message(), ")");
                     loop_->Stop();
                   },
                   nullptr});
  a->ResumeReading();
  loop_->Run();
  EXPECT_EQ(heard, "554 no (Connection reset by peer)");
}

TEST_F(StreamTest, TheLastWordsOfAPeerThatIsGoneAreHeard) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  ASSERT_EQ(send(fds[1], "554 no", 6, 0), 6);
  close(fds[1]);
  auto a = MakeStream(loop_.get(), fds[0]);
  std::string heard;
  a->SetCallbacks({[&](absl::string_view bytes) {
                     heard.append(bytes.data(), bytes.size());
                   },
                   [&](absl::Status) {
                     heard += " (closed)";
                     loop_->Stop();
                   },
                   nullptr});
  a->ResumeReading();
  a->Write("x");  // fails
  loop_->Run();
  EXPECT_EQ(heard, "554 no (closed)");
}

TEST_F(StreamTest, ConnectsAcceptsAndReportsRefusal) {
  const int listening =
      socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(bind(listening, any, size), 0);
  ASSERT_EQ(listen(listening, 5), 0);
  ASSERT_EQ(getsockname(listening, any, &size), 0);
  int accepted = -1;
  std::unique_ptr<Stream> client;
  auto stop_when_both = [&] {
    if (accepted >= 0 && client != nullptr) loop_->Stop();
  };
  auto acceptor = MakeAcceptor(
      loop_.get(), listening,
      [&](int fd) {
        accepted = fd;
        stop_when_both();
      },
      nullptr);
  auto connect = Connect(loop_.get(), any, size, nullptr, 0, absl::Seconds(5),
                         [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                           ASSERT_TRUE(stream.ok()) << stream.status();
                           client = std::move(*stream);
                           stop_when_both();
                         });
  loop_->Run();
  EXPECT_EQ(client->LocalAddress(), "127.0.0.1");
  EXPECT_NE(client->LocalPort(), 0);
  acceptor.reset();
  close(accepted);
  close(listening);

  absl::Status refused;
  connect = Connect(loop_.get(), any, size, nullptr, 0, absl::Seconds(5),
                    [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                      refused = stream.status();
                      loop_->Stop();
                    });
  loop_->Run();
  EXPECT_EQ(refused.message(), "Connection refused");
}

}  // namespace
}  // namespace holdfast
