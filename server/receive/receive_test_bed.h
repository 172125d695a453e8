// A receive room with its enqueue socket, and whom it asks, for tests.
#ifndef HOLDFAST_SERVER_RECEIVE_RECEIVE_TEST_BED_H_
#define HOLDFAST_SERVER_RECEIVE_RECEIVE_TEST_BED_H_

#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"
#include "server/receive/receive_room.h"
#include "storage/body_codec.h"

namespace holdfast {

// A client on a socket pair, read without blocking.
class Client {
 public:
  Client(FakeEventLoop* loop, ReceiveRoom* room) : loop_(loop) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    fd_.Reset(fds[0]);
    room->AddClient(room->listeners().front().get(), fds[1]);
    loop_->RunReady();
  }
  // Sends all of it, running the loop when the socket is full; how much was
  // taken before nothing moved any more.
  size_t Send(absl::string_view bytes) {
    size_t sent = 0;
    for (int stuck = 0; sent < bytes.size() && stuck < 3;) {
      const ssize_t n = send(fd_.get(), bytes.data() + sent,
                             bytes.size() - sent, MSG_NOSIGNAL);
      if (n > 0) sent += n;
      stuck = n > 0 ? 0 : stuck + 1;
      loop_->RunReady();
    }
    return sent;
  }
  std::string Read() {
    loop_->RunReady();
    std::string all;
    char buffer[4096];
    for (;;) {
      const ssize_t n = recv(fd_.get(), buffer, sizeof buffer, 0);
      if (n == 0) ended_ = true;
      if (n <= 0) return all;
      all.append(buffer, n);
    }
  }
  std::string Say(absl::string_view bytes) {
    Send(bytes);
    return Read();
  }
  bool ended() {
    Read();
    return ended_;
  }
  void CloseSendingSide() {
    shutdown(fd_.get(), SHUT_WR);
    loop_->RunReady();
  }
  void Close() {
    fd_.Reset();
    loop_->RunReady();
  }

 private:
  FakeEventLoop* loop_;
  OwnedFd fd_;
  bool ended_ = false;
};

class ReceiveRoomTest : public testing::Test {
 protected:
  // `filter`: of the enqueue socket; empty: none.
  explicit ReceiveRoomTest(const std::string& filter = "",
                           uint64_t max_message_size = kMaxMessageSize) {
    auto config = std::make_shared<Config>();
    config->server_name = "mx.test";
    config->max_message_size = max_message_size;
    config->socket_listener.filter = filter;
    RoomContext context{.loop = &loop_,
                        .parent = nullptr,
                        .start = &start_,
                        .config = config,
                        .fds = {},
                        .random = random_,
                        .exit = [this](int status) { exited_ = status; }};
    start_.has_enqueue = true;
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    context.fds.emplace_back(fds[0]);
    listening_.Reset(fds[1]);
    room_ = std::make_unique<ReceiveRoom>(std::move(context), 100);
    EXPECT_TRUE(room_->Begin().ok());
    ConnectQueue();
    ConnectLookup();
  }

  void ConnectQueue() {
    auto [ours, theirs] = MakeDoorPair(&loop_);
    queue_ = std::move(theirs);
    queue_->SetCallbacks([this](Frame& frame) { OnQueueFrame(frame); },
                         [](absl::Status) {});
    room_->OnDoor({.peer = Room::kQueue}, std::move(ours));
    loop_.RunReady();
  }
  void ConnectLookup() {
    auto [ours, theirs] = MakeDoorPair(&loop_);
    lookup_ = std::move(theirs);
    lookup_->SetCallbacks(
        [this](Frame& frame) {
          Dispatch<ExpandRequest>(frame, [this](const ExpandRequest& r) {
            expands_.push_back(r);
            if (answer_expands_) AnswerExpand(r);
          });
        },
        [](absl::Status) {});
    room_->OnDoor({.peer = Room::kLookup}, std::move(ours));
    loop_.RunReady();
  }

  void OnQueueFrame(Frame& frame) {
    Dispatch<LeaseRequest>(frame, [this](const LeaseRequest& request) {
      if (!give_leases_) return;
      Lease lease;
      lease.first = MessageId(next_id_);
      lease.count = request.count;
      next_id_ += request.count;
      queue_->Send(lease);
    });
    Dispatch<AcceptRequest>(frame, [this](const AcceptRequest& request) {
      accepts_.push_back(request);
    });
    Dispatch<ChunkRequest>(frame, [this](const ChunkRequest& request) {
      chunks_.push_back(request);
      if (answer_chunks_) AnswerChunks();
    });
    Dispatch<DropBody>(frame, [this](const DropBody& drop) {
      dropped_.push_back(drop.message);
    });
    Dispatch<SessionCounts>(
        frame, [this](const SessionCounts& counts) { counts_ = counts; });
  }

  void AnswerExpand(const ExpandRequest& request) {
    ExpandAnswer answer;
    answer.question = request.question;
    if (request.rcpt.user == "nobody") {
      answer.refusal = "550 Invalid recipient";
    } else {
      ExpandedRecipient to;
      to.action = "relay";
      to.dest = request.rcpt;
      to.routing_key = request.rcpt.domain;
      to.ttl = absl::Hours(1);
      if (request.rcpt.user == "fat") to.mda_exec = std::string(3 << 20, 'x');
      answer.recipients.assign(request.rcpt.user == "two"    ? 2
                               : request.rcpt.user == "many" ? 6000
                                                             : 1,
                               to);
    }
    lookup_->Send(answer);
  }
  void AnswerAccept(AcceptResult result) {
    Accepted accepted;
    accepted.question = accepts_.back().question;
    accepted.result = result;
    queue_->Send(accepted);
    loop_.RunReady();
  }
  void AnswerChunks(AcceptResult result = AcceptResult::kOk) {
    for (; answered_chunks_ < chunks_.size(); ++answered_chunks_) {
      ChunkStored stored;
      stored.question = chunks_[answered_chunks_].question;
      stored.result = result;
      queue_->Send(stored);
    }
  }
  void Tell(bool paused, bool room) {
    SmtpState state;
    state.paused = paused;
    state.room = room;
    queue_->Send(state);
    loop_.RunReady();
  }
  // The body that the queue has of the last accepted message.
  std::string AcceptedBody() {
    const AcceptRequest& accepted = accepts_.back();
    BodyDecompressor body(accepted.body);
    std::string text;
    size_t next = 0;
    for (;;) {
      const auto progress = body.Read(1 << 20, &text);
      if (!progress.ok()) return std::string(progress.status().message());
      if (*progress == BodyDecompressor::kEnd) return text;
      if (*progress == BodyDecompressor::kNeedsChunk) {
        body.Feed(accepted.stored.empty() ? chunks_.at(next++).bytes
                                          : accepted.stored);
      }
    }
  }

  static constexpr size_t kMaxMessageSize = 64 << 20;
  static constexpr absl::Duration kCommandTimeout = absl::Seconds(300);
  static constexpr char kOpening[] =
      "EHLO localhost\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@c.test>\r\n"
      "DATA\r\n";

  FakeEventLoop loop_;
  std::mt19937_64 random_{1};
  Start start_;
  OwnedFd listening_;
  std::unique_ptr<Door> queue_, lookup_;
  std::vector<ExpandRequest> expands_;
  std::vector<AcceptRequest> accepts_;
  std::vector<ChunkRequest> chunks_;
  std::vector<MessageId> dropped_;
  SessionCounts counts_;
  size_t answered_chunks_ = 0;
  uint32_t next_id_ = 0x30e4722c;
  bool give_leases_ = true;
  bool answer_expands_ = true;
  bool answer_chunks_ = true;
  int exited_ = -1;
  std::unique_ptr<ReceiveRoom> room_;
};

inline std::string RandomText(size_t lines) {
  std::mt19937 random(7);
  std::string text;
  for (size_t i = 0; i < lines; ++i) {
    for (int j = 0; j < 75; ++j)
      text.push_back(static_cast<char>('!' + random() % 90));
    text += "\r\n";
  }
  return text;
}

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_RECEIVE_TEST_BED_H_
