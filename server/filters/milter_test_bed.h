// For tests: a milter filter in a session, and a scripted milter at the other
// end of its connection.
#ifndef HOLDFAST_SERVER_FILTERS_MILTER_TEST_BED_H_
#define HOLDFAST_SERVER_FILTERS_MILTER_TEST_BED_H_

#include <sys/socket.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/milter_header.h"
#include "protocol/milter_packets.h"
#include "server/filters/milter_filter.h"
#include "server/loop/event_loop.h"
#include "server/loop/fake_event_loop.h"
#include "server/loop/stream.h"

namespace holdfast {

inline constexpr absl::Duration kTimeout = absl::Minutes(2);

// A packet as it is on the wire.
inline std::string P(const std::string& body) {
  std::string out;
  PutMilterNumber(static_cast<uint32_t>(body.size()), &out);
  return out + body;
}

// What answers at the other end of the socket.
class ScriptedMilter {
 public:
  ScriptedMilter(EventLoop* loop, int fd, uint32_t steps)
      : steps_(steps), stream_(MakeStream(loop, fd)) {
    stream_->SetCallbacks({[this](absl::string_view bytes) { OnBytes(bytes); },
                           [this](absl::Status) { closed = true; }, [] {}});
    stream_->ResumeReading();
  }

  std::string heard;                   // commands, by letter, without macros
  std::map<char, std::string> told;    // their last data
  std::map<char, std::string> macros;  // by command
  std::string body, header;
  // What it answers; "" is silence, "close" the end.  Else it continues.
  std::map<char, std::string> answers;
  bool closed = false;

  void Say(const std::string& packets) { stream_->Write(packets); }

 private:
  void OnBytes(absl::string_view bytes) {
    while (!bytes.empty() && stream_ != nullptr) {
      auto packet = reader_.Read(&bytes);
      ASSERT_TRUE(packet.ok());
      if (packet->has_value()) OnPacket(**packet);
    }
  }
  void OnPacket(const MilterPacket& packet) {
    if (packet.code == 'D') {
      macros[packet.data[0]] = packet.data.substr(1);
      return;
    }
    if (packet.code != 'B' || heard.empty() || heard.back() != 'B')
      heard.push_back(packet.code);
    told[packet.code] = packet.data;
    if (packet.code == 'B') {
      EXPECT_LE(packet.data.size(), kMilterChunkBytes);
      body += packet.data;
    }
    if (packet.code == 'L')
      absl::StrAppend(
          &header,
          absl::StrReplaceAll(packet.data, {{absl::string_view("\0", 1), "="}}),
          ";");
    std::string answer = P("c");
    if (packet.code == 'O') {
      std::string data = "O";
      PutMilterNumber(6, &data);
      PutMilterNumber(kMilterActions, &data);
      PutMilterNumber(steps_, &data);
      answer = P(data);
    }
    if (packet.code == 'A' || packet.code == 'Q') answer.clear();
    const auto scripted = answers.find(packet.code);
    if (scripted != answers.end()) answer = scripted->second;
    if (answer == "close") {
      stream_ = nullptr;
    } else if (!answer.empty()) {
      stream_->Write(answer);
    }
  }

  const uint32_t steps_;
  std::unique_ptr<Stream> stream_;
  MilterPacketReader reader_;
};

class MilterFilterTest : public testing::Test, public TextSink {
 protected:
  explicit MilterFilterTest(
      std::unique_ptr<EventLoop> loop = std::make_unique<FakeEventLoop>())
      : loop_(std::move(loop)) {
    services_.loop = loop_.get();
    services_.background = &background_;
    services_.folder = absl::StrCat(testing::TempDir(), "/filters");
    std::filesystem::create_directories(services_.folder);
    services_.max_message_size = 1 << 20;
    services_.server_name = "mx.test";
    services_.connect =
        [this](const std::string& filter,
               absl::AnyInvocable<void(absl::StatusOr<OwnedFd>)> done) {
          EXPECT_EQ(filter, "m");
          ++connects_;
          loop_->Post([this, done = std::move(done)]() mutable {
            if (refuses_)
              return done(absl::UnavailableError("Connection refused"));
            int fds[2];
            ASSERT_EQ(
                socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                           0, fds),
                0);
            milter_ =
                std::make_unique<ScriptedMilter>(loop_.get(), fds[1], steps_);
            milter_->answers = answers_;
            done(OwnedFd(fds[0]));
          });
        };
    filter_.name = "m";
    filter_.kind = Filter::Kind::kMilter;
    filter_.milter = "unix:/milter";
    filter_.care.timeout = kTimeout;
    facts_.rdns = "client.test";
    facts_.fcrdns = "pass";
    facts_.source = "192.0.2.1:2525";
    facts_.destination = "[2001:db8::1]:25";
  }
  ~MilterFilterTest() override { session_ = nullptr; }

  void Begin() {
    link_ = MakeMilterFilter(filter_, services_);
    session_ = link_->Begin(absl::Now(), facts_);
  }

  // "kind text" of the answer; waits for it.
  std::string Ask(FilterPhase phase, const std::string& argument = "",
                  const std::string& parameters = "") {
    if (!session_->Wants(phase)) return "not asked";
    FilterQuestion question;
    question.phase = phase;
    question.argument = argument;
    question.parameters = parameters;
    std::optional<std::string> said;
    session_->Ask(question, [&](LinkAnswer answer) {
      answer_ = answer;
      static const char* const kNames[] = {"proceed",    "report",  "bypass",
                                           "junk",       "rewrite", "reject",
                                           "disconnect", "discard"};
      said = absl::StrCat(kNames[int(answer.verdict)],
                          answer.text.empty() ? "" : " ", answer.text);
      loop_->Stop();
    });
    if (!said.has_value()) loop_->Run();
    if (!said.has_value()) LetTimePass();
    return said.value_or("nothing");
  }
  // A session up to DATA.
  void UpToData() {
    Begin();
    ASSERT_EQ(Ask(FilterPhase::kConnect), "proceed");
    ASSERT_EQ(Ask(FilterPhase::kEhlo, "client"), "proceed");
    Envelope();
  }
  void Envelope() {
    ASSERT_EQ(Ask(FilterPhase::kMailFrom, "a@b", "SIZE=10 BODY=8BITMIME"),
              "proceed");
    facts_.message = "0123abcd";
    facts_.sender = "a@b";
    ASSERT_EQ(Ask(FilterPhase::kRcptTo, "c@d"), "proceed");
    ASSERT_EQ(Ask(FilterPhase::kData), "proceed");
  }

  void OnText(absl::string_view bytes) override {
    untaken_ += bytes.size();
    EXPECT_LE(untaken_, kFilterWindow);
    absl::StrAppend(&output_, bytes);
    // Taken a turn later.
    loop_->Post([this, n = bytes.size()] {
      untaken_ -= n;
      if (stage_ != nullptr) stage_->OutputTaken(n);
    });
  }
  void OnTextEnd() override {
    end_ = "end";
    loop_->Stop();
  }
  void OnTextFailed(std::string reply) override {
    end_ = reply;
    loop_->Stop();
  }
  void OnInputTaken(size_t bytes) override {
    ASSERT_LE(bytes, in_);
    in_ -= bytes;
    loop_->Post([this] { Feed(); });
  }
  void Feed() {
    while (stage_ != nullptr && end_.empty() && in_ < kFilterWindow &&
           !input_.empty()) {
      const std::string piece =
          input_.substr(0, std::min<size_t>(kFilterWindow - in_, 10000));
      input_.erase(0, piece.size());
      in_ += piece.size();
      stage_->Write(piece);
      if (input_.empty()) stage_->End();
    }
  }
  // What becomes of `text`: "end" or the reply; the text is in output_.
  std::string Pass(const std::string& text) {
    output_.clear();
    end_.clear();
    input_ = text;
    in_ = untaken_ = 0;
    stage_ = session_->BeginText(this);
    if (stage_ == nullptr) return "without";
    Feed();
    if (end_.empty()) loop_->Run();
    if (end_.empty()) LetTimePass();
    stage_ = nullptr;
    return end_;
  }
  virtual void LetTimePass() {
    static_cast<FakeEventLoop*>(loop_.get())->Advance(kTimeout * 4);
  }

  std::unique_ptr<EventLoop> loop_;
  BackgroundWork background_{loop_.get()};
  MilterServices services_;
  Filter filter_;
  SessionFacts facts_;
  uint32_t steps_ = 0;
  std::map<char, std::string> answers_;
  bool refuses_ = false;
  int connects_ = 0;
  std::unique_ptr<ScriptedMilter> milter_;
  std::unique_ptr<FilterLink> link_;
  std::unique_ptr<LinkSession> session_;
  LinkAnswer answer_;
  std::unique_ptr<TextStage> stage_;
  std::string input_, output_, end_;
  size_t in_ = 0, untaken_ = 0;
};

// With texts that go through a file, on a thread.
class MilterFilterFileTest : public MilterFilterTest {
 protected:
  MilterFilterFileTest() : MilterFilterTest(MakeUvEventLoop()) {}
  void LetTimePass() override {}
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_MILTER_TEST_BED_H_
