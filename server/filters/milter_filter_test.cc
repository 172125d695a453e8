#include "server/filters/milter_filter.h"

#include <fcntl.h>
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
#include "server/loop/event_loop.h"
#include "server/loop/fake_event_loop.h"
#include "server/loop/stream.h"

namespace holdfast {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Verdict = LinkAnswer::Verdict;

constexpr absl::Duration kTimeout = absl::Minutes(2);

std::string P(const std::string& body) {
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
      absl::StrAppend(&header, absl::StrReplaceAll(packet.data, {{"\0"s, "="}}),
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

constexpr char kReceived[] =
    "Received: from client (client.test [192.0.2.1])\n"
    "\tby mx.test (Holdfast) with ESMTP id 0123abcd;\n\tnow\n";

TEST_F(MilterFilterTest, AWholeMessage) {
  UpToData();
  ASSERT_TRUE(session_->Wants(FilterPhase::kDataLine));
  const std::string text =
      absl::StrCat(kReceived, "Subject: hi\n there\n\nbody\n.\n");
  EXPECT_EQ(Pass(text), "end");
  EXPECT_EQ(output_, text);
  EXPECT_EQ(milter_->heard, "OCHMRTLNBE");
  EXPECT_EQ(milter_->told['C'],
            "client.test\0"
            "4\x9\xdd"
            "192.0.2.1\0"s);
  EXPECT_THAT(milter_->macros['C'], HasSubstr("j\0mx.test\0"s));
  EXPECT_THAT(milter_->macros['C'], HasSubstr("{client_port}\0"
                                              "2525\0"s));
  EXPECT_THAT(milter_->macros['C'], HasSubstr("_\0client.test [192.0.2.1]\0"s));
  EXPECT_EQ(milter_->told['H'], "client\0"s);
  EXPECT_EQ(milter_->told['M'], "<a@b>\0SIZE=10\0BODY=8BITMIME\0"s);
  EXPECT_EQ(milter_->macros['M'], "{mail_addr}\0a@b\0"s);
  EXPECT_EQ(milter_->told['R'], "<c@d>\0"s);
  EXPECT_EQ(milter_->macros['R'],
            "i\0"
            "0123abcd\0{rcpt_addr}\0c@d\0"s);
  EXPECT_EQ(milter_->header, "Subject=hi\n there=;");
  EXPECT_EQ(milter_->body, "body\r\n.\r\n");
  EXPECT_FALSE(session_->Wants(FilterPhase::kCommit));
  // Another message on the same connection.
  session_->OnReport(absl::Now(), FilterEvent::kTxReset, {"0123abcd"});
  Envelope();
  EXPECT_EQ(Pass("To: x\n\n"), "end");
  EXPECT_EQ(milter_->heard, "OCHMRTLNBEMRTLNE");
  EXPECT_EQ(connects_, 1);
  session_ = nullptr;
  loop_->Run();
  EXPECT_EQ(milter_->heard, "OCHMRTLNBEMRTLNEQ");
  EXPECT_TRUE(milter_->closed);
}

TEST_F(MilterFilterTest, UnknownAndLocalClients) {
  facts_.rdns = "<unknown>";
  facts_.fcrdns = "error";
  facts_.source = "[2001:db8::2]:25";
  Begin();
  EXPECT_EQ(Ask(FilterPhase::kConnect), "proceed");
  EXPECT_EQ(milter_->told['C'],
            "[IPv6:2001:db8::2]\0"
            "6\0\x19"
            "2001:db8::2\0"s);
  EXPECT_THAT(milter_->macros['C'], HasSubstr("{client_name}\0unknown\0"s));
  facts_.source = "unix:/run/smtpd.sock";
  Begin();
  EXPECT_EQ(Ask(FilterPhase::kConnect), "proceed");
  EXPECT_EQ(milter_->told['C'],
            "localhost\0"
            "4\0\0"
            "127.0.0.1\0"s);
}

TEST_F(MilterFilterTest, EveryChange) {
  answers_['E'] = P("hX-New\0yes\0"s) + P("i\0\0\0\0X-Top\0a\nb\0"s) +
                  P("m\0\0\0\1Subject\0changed\0"s) + P("m\0\0\0\1X-Bad\0\0"s) +
                  P("bnew\r") + P("b\nbody") + P("e<new@a>\0"s) +
                  P("+<add@a>\0"s) + P("2add2@a\0NOTIFY=NEVER\0"s) +
                  P("-<c@d>\0"s) + P("qodd\0"s) + P("p") + P("a");
  UpToData();
  EXPECT_EQ(
      Pass(absl::StrCat(kReceived, "Subject: x\nX-Bad: y\n\nold\nbody\n")),
      "end");
  EXPECT_EQ(output_,
            absl::StrCat("X-Top: a\n\tb\n", kReceived,
                         "Subject: changed\nX-New: yes\n\nnew\nbody\n"));
  EXPECT_EQ(Ask(FilterPhase::kCommit), "proceed");
  EXPECT_TRUE(answer_.changes_sender);
  EXPECT_EQ(answer_.sender, "<new@a>");
  EXPECT_THAT(answer_.add_recipients, ElementsAre("<add@a>", "<add2@a>"));
  EXPECT_THAT(answer_.remove_recipients, ElementsAre("<c@d>"));
  EXPECT_TRUE(answer_.quarantine);
  EXPECT_EQ(answer_.reason, "odd");
  EXPECT_EQ(Ask(FilterPhase::kCommit), "not asked");
}

TEST_F(MilterFilterFileTest, LargeBodiesBothWays) {
  std::string body, replaced;
  while (body.size() < 700000) absl::StrAppend(&body, body.size(), "\n");
  for (int i = 0; i < 12; ++i) {
    const std::string chunk(60000, 'a' + i);
    absl::StrAppend(&answers_['E'], P("b" + chunk));
    absl::StrAppend(&replaced, chunk);
  }
  answers_['E'] += P("c");
  UpToData();
  EXPECT_EQ(Pass("To: x\n\n" + body), "end");
  EXPECT_EQ(output_, "To: x\n\n" + replaced + "\n");
  EXPECT_EQ(milter_->body, absl::StrReplaceAll(body, {{"\n", "\r\n"}}));
  milter_->answers.erase('E');
  Envelope();
  EXPECT_EQ(Pass("To: x\n\n" + body), "end");
  EXPECT_EQ(output_, "To: x\n\n" + body);
}

TEST_F(MilterFilterTest, RefusalsInEachPhase) {
  const std::string no = P("y550 5.7.1 no\0"s);
  const struct {
    char at;
    std::string answer, expected;
  } kCases[] = {
      {'C', P("r"), "reject 554 5.7.1 Command rejected"},
      {'C', P("t"), "disconnect 421 4.7.1 Please try again later"},
      {'H', no, "reject 550 5.7.1 no"},
      {'M', no, "reject 550 5.7.1 no"},
      {'R', P("t"), "reject 451 4.7.1 Please try again later"},
      {'T', P("4"), "disconnect 421 4.7.0 Service not available"},
      {'L', no, "550 5.7.1 no"},
      {'N', no, "550 5.7.1 no"},
      {'B', no, "550 5.7.1 no"},
      {'E', P("r"), "550 5.7.1 Command rejected"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.at);
    answers_ = {{c.at, c.answer}};
    Begin();
    facts_.message.clear();
    std::string said = Ask(FilterPhase::kConnect);
    if (said == "proceed") said = Ask(FilterPhase::kHelo, "x");
    // A session refused at HELO stays refused.
    if (c.at == 'H') {
      EXPECT_EQ(Ask(FilterPhase::kMailFrom, "a@b"), said);
    }
    if (said == "proceed") said = Ask(FilterPhase::kMailFrom, "");
    if (said == "proceed") said = Ask(FilterPhase::kRcptTo, "c@d");
    if (said == "proceed") said = Ask(FilterPhase::kData);
    if (said == "proceed") said = Pass("To: x\n\nbody\n");
    EXPECT_EQ(said, c.expected);
    if (c.at == 'R') {
      milter_->answers.clear();
      EXPECT_EQ(Ask(FilterPhase::kRcptTo, "e@d"), "proceed");
    }
  }
}

TEST_F(MilterFilterTest, Discard) {
  for (const char at : {'M', 'R', 'T', 'L', 'N', 'B', 'E'}) {
    SCOPED_TRACE(at);
    answers_ = {{at, P("d")}};
    UpToData();
    if (session_->Wants(FilterPhase::kDataLine)) {
      EXPECT_EQ(Pass("To: x\n\nbody\n"), "end");
    }
    EXPECT_EQ(Ask(FilterPhase::kCommit), "discard");
    // The next message is another one.
    milter_->answers.clear();
    Envelope();
    EXPECT_TRUE(session_->Wants(FilterPhase::kDataLine));
    EXPECT_EQ(Ask(FilterPhase::kCommit), "not asked");
  }
}

TEST_F(MilterFilterTest, AcceptedEarly) {
  answers_['L'] = P("a");
  UpToData();
  EXPECT_EQ(Pass("To: x\nCc: y\n\nbody\n"), "end");
  EXPECT_EQ(output_, "To: x\nCc: y\n\nbody\n");
  EXPECT_EQ(milter_->heard, "OCHMRTL");
  Envelope();
  loop_->Run();
  EXPECT_THAT(milter_->heard, StartsWith("OCHMRTLAMRT"));
}

TEST_F(MilterFilterTest, FailuresInEachPhase) {
  for (const bool accept : {false, true}) {
    filter_.care.accept_on_failure = accept;
    for (const std::string& how : {"close"s, ""s, "garbage!"s}) {
      for (const char at : {'O', 'C', 'H', 'M', 'R', 'T', 'L', 'B', 'E'}) {
        SCOPED_TRACE(absl::StrCat(absl::string_view(&at, 1), how, accept));
        answers_ = {{at, how}};
        Begin();
        std::string said = Ask(FilterPhase::kConnect);
        if (said == "proceed") said = Ask(FilterPhase::kHelo, "x");
        if (said != "disconnect 421 4.3.0 Temporary failure")
          said = Ask(FilterPhase::kMailFrom, "a@b");
        if (said == "proceed") said = Ask(FilterPhase::kRcptTo, "c@d");
        if (said == "proceed") said = Ask(FilterPhase::kData);
        if (accept && absl::string_view("LBE").find(at) == std::string::npos) {
          EXPECT_EQ(Ask(FilterPhase::kRcptTo, "e@d"), "not asked");
          EXPECT_FALSE(session_->Wants(FilterPhase::kDataLine));
          continue;
        }
        if (said == "proceed") said = Pass("To: x\n\nbody\n");
        if (accept) {
          EXPECT_EQ(said, "end");
          EXPECT_EQ(output_, "To: x\n\nbody\n");
          EXPECT_EQ(Ask(FilterPhase::kCommit), "not asked");
          continue;
        }
        EXPECT_THAT(said,
                    testing::AnyOf("disconnect 421 4.3.0 Temporary failure",
                                   "451 4.3.0 Temporary failure"));
        EXPECT_EQ(Ask(FilterPhase::kMailFrom, "a@b"),
                  "disconnect 421 4.3.0 Temporary failure");
      }
    }
  }
}

TEST_F(MilterFilterTest, NothingOfAFailedMiltersChangesIsDone) {
  filter_.care.accept_on_failure = true;
  answers_['E'] = P("hX-New\0yes\0"s) + P("bnew") + P("-<c@d>\0"s) + P("z");
  UpToData();
  EXPECT_EQ(Pass("To: x\n\nbody\n"), "end");
  EXPECT_EQ(output_, "To: x\n\nbody\n");
  EXPECT_EQ(Ask(FilterPhase::kCommit), "not asked");
}

TEST_F(MilterFilterTest, ConnectionRefused) {
  refuses_ = true;
  Begin();
  EXPECT_EQ(Ask(FilterPhase::kConnect),
            "disconnect 421 4.3.0 Temporary failure");
  EXPECT_EQ(connects_, 1);
  filter_.care.accept_on_failure = true;
  Begin();
  EXPECT_EQ(Ask(FilterPhase::kConnect), "proceed");
  EXPECT_EQ(Ask(FilterPhase::kEhlo, "x"), "not asked");
  EXPECT_EQ(connects_, 2);
}

TEST_F(MilterFilterTest, GivenUpWhileItThinks) {
  answers_['E'] = "";
  UpToData();
  output_.clear();
  end_.clear();
  stage_ = session_->BeginText(this);
  in_ = 7;
  stage_->Write("To: x\n\n");
  stage_->End();
  loop_->Run();
  EXPECT_EQ(milter_->heard, "OCHMRTLNE");
  stage_ = nullptr;  // the client gave the message up
  session_->OnReport(absl::Now(), FilterEvent::kTxReset, {"0123abcd"});
  // What comes next waits for the answer that is due; there is none in time.
  EXPECT_EQ(Ask(FilterPhase::kMailFrom, "a@b"),
            "disconnect 421 4.3.0 Temporary failure");
  EXPECT_EQ(end_, "");
}

TEST_F(MilterFilterTest, QuestionsKeptFromItAreMadeUpFor) {
  Begin();
  facts_.sender = "a@b";
  facts_.message = "0123abcd";
  EXPECT_EQ(Ask(FilterPhase::kRcptTo, "c@d"), "proceed");
  EXPECT_EQ(milter_->heard, "OCMR");
  EXPECT_EQ(milter_->told['M'], "<a@b>\0"s);
}

TEST_F(MilterFilterTest, TheSessionEndsInTheMiddle) {
  UpToData();
  output_.clear();
  end_.clear();
  stage_ = session_->BeginText(this);
  in_ = 12;
  stage_->Write("To: x\n\nbo");
  session_ = nullptr;
  stage_->Write("dy\n");
  stage_->End();
  stage_ = nullptr;
  loop_->Run();
  EXPECT_EQ(end_, "");
  EXPECT_TRUE(milter_->closed);
}

TEST_F(MilterFilterFileTest, TextThatIsTooLarge) {
  UpToData();
  EXPECT_EQ(Pass("A: " + std::string(kMaxMilterHeaderBytes, 'x') + "\n\n"),
            "552 5.3.4 Message header too large");
  Envelope();
  services_.folder = "/nonexistent";
  EXPECT_EQ(Pass("A: x\n\n" + std::string(300000, 'x') + "\n"),
            "451 4.3.0 Temporary failure");
  services_.folder = absl::StrCat(testing::TempDir(), "/filters");
  services_.max_message_size = 1000;
  Envelope();
  EXPECT_EQ(Pass("A: x\n\n" + std::string(300000, 'x') + "\n"),
            "552 5.3.4 Message too big for system");
  milter_->answers['E'] = P("b" + std::string(1001, 'x')) + P("c");
  Envelope();
  EXPECT_EQ(Pass("A: x\n\nbody\n"), "552 5.3.4 Message too big for system");
  // Changes without end.
  milter_->answers['E'].clear();
  for (int i = 0; i < 20; ++i)
    milter_->answers['E'] += P("-<" + std::string(60000, 'x') + ">\0"s);
  Envelope();
  EXPECT_EQ(Pass("A: x\n\nbody\n"), "451 4.3.0 Temporary failure");
}

TEST_F(MilterFilterTest, OutgoingSessionsAreNotItsOwn) {
  facts_.outgoing = true;
  Begin();
  EXPECT_FALSE(session_->Wants(FilterPhase::kConnect));
  EXPECT_EQ(link_->events_out(), 0u);
}

TEST_F(MilterFilterTest, ProgressExtendsTheTime) {
  answers_['M'] = "";
  Begin();
  ASSERT_EQ(Ask(FilterPhase::kConnect), "proceed");
  // A sign of life before each limit, then the answer.
  EventLoop::Timer timers[3];
  for (int i = 0; i < 3; ++i)
    timers[i] = loop_->RunAfter(kTimeout * (i + 1) * 2 / 3, [this, i] {
      milter_->Say(i < 2 ? P("p") : P("c"));
    });
  EXPECT_EQ(Ask(FilterPhase::kMailFrom, "a@b"), "proceed");
}

}  // namespace
}  // namespace holdfast
