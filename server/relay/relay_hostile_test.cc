// A hostile next hop: every stage of the dialogue, every way to misbehave.
// What becomes of each recipient, within which time and with how much memory,
// and that nothing of what was sent gets into a log line as it is.
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "server/relay/relay_test_bed.h"

namespace holdfast {
namespace {

// How the first connection misbehaves; the next ones are what they should be.
struct Behaviour {
  const char* name;
  // Instead of the answer; several bytes of it are not what a log may show.
  std::string answer;
};

std::string Garbage() {
  return std::string("\x1b[2J\x07 what\0 is this\x7f\x9b", 22);
}

const std::vector<Behaviour>& Behaviours() {
  static const std::vector<Behaviour> all = {
      {"4xx", "451 4.3.0 later \x1b[31m\x07"},
      {"5xx", "550 5.7.1 never \x1b[31m\x07"},
      {"421", "421 4.3.2 closing \x1b[31m"},
      {"garbage", Garbage()},
      {"nul", std::string("250 \0\0\0 ok", 10)},
      {"code", "999 nine"},
      {"long line", "250 " + std::string(1 << 20, 'x')},
      {"endless", "(endless)"},
      {"close", ScriptedSmtpServer::kClose},
      {"silence", ScriptedSmtpServer::kSilence},
      {"twice", "(twice)"},
  };
  return all;
}

// One letter for each recipient (two of the first message, one of the second):
// O delivered, T and P failed for now and for good, R the destination as a
// whole is to be tried later.
struct Stage {
  const char* name;
  const char* fates;  // words, in order of Behaviours()
};

class RelayHostileTest : public RelayTestBed {
 protected:
  // What the server says at this stage in this way.
  static std::string Answer(const std::string& stage, const Behaviour& b) {
    std::string yes = "250 2.0.0 ok";
    if (stage == "banner") yes = "220 hello";
    if (stage == "STARTTLS") yes = "220 go";
    if (stage == "AUTH") yes = "235 ok";
    if (stage == "DATA") yes = "354 go";
    if (b.answer == "(twice)") return yes + "\r\n" + yes;
    if (b.answer == "(endless)") {
      std::string lines;
      for (int i = 0; i < 20000; ++i)
        lines += yes.substr(0, 3) + "-\x1bmore and more\r\n";
      return lines + yes.substr(0, 3) + "-and more";
    }
    return b.answer;
  }

  std::string Fates() {
    std::string fates = "???";
    for (const std::string& outcome : outcomes_) {
      const size_t index = static_cast<size_t>(outcome[2] - '0');
      EXPECT_EQ(fates[index], '?') << "two outcomes: " << outcome;
      fates[index] = outcome[4];
    }
    return fates;
  }

  // Plays one cell; the log.
  std::string Play(const std::string& stage, const Behaviour& behaviour) {
    Start();
    outcomes_.clear();
    finished_.clear();
    failure_.clear();
    slots_.clear();
    slot_ = 0;
    if (refuses_) dialer_->refusing = {"192.0.2.1"};
    if (hangs_) dialer_->hanging = {"192.0.2.1"};
    tls_->results = {handshake_};
    const std::string answer = Answer(stage, behaviour);
    dialer_->prepare = [&](size_t n, Server* s) {
      s->extensions = {"PIPELINING", "STARTTLS"};
      s->extensions_in_tls = {"PIPELINING"};
      if (absl::StartsWith(url_, "smtps"))
        s->extensions = {"PIPELINING", "AUTH PLAIN"};
      if (n == 0) s->answers[stage] = {answer};
    };
    RelayBatch batch = Batch(1, {{"a@a.test", "b@a.test"}, {"c@a.test"}});
    if (!url_.empty()) batch.target.domain = url_;
    batch.target.smarthost = !url_.empty();
    testing::internal::CaptureStderr();
    Give(batch);
    // Nobody can hold us for longer than an answer may take, at each of the
    // few stages that are left.
    for (int i = 0; i < 3 && finished_.empty(); ++i)
      loop_.Advance(kReplyTimeout);
    EXPECT_EQ(finished_, std::vector<uint64_t>{1});
    loop_.Advance(absl::Minutes(6));  // QUIT may be unanswered
    return testing::internal::GetCapturedStderr();
  }

  // What holds for every cell.
  void Check(const std::string& log) {
    EXPECT_TRUE(Harmless(log)) << log;
    EXPECT_TRUE(Harmless(failure_)) << failure_;
    EXPECT_LE(failure_.size(), 1000u);
    for (const std::string& outcome : outcomes_)
      EXPECT_LE(outcome.size(), 4500u);
    // Every slot has been given back, once.
    std::map<std::string, int> over;
    for (const std::string& slot : slots_)
      if (!absl::EndsWith(slot, "ready"))
        ++over[slot.substr(0, slot.find(' '))];
    EXPECT_EQ(over.size(), slot_);
    for (const auto& [slot, times] : over) EXPECT_EQ(times, 1) << slot;
    for (size_t i = 0; i < connections(); ++i) EXPECT_FALSE(open(i));
  }

  // No octet that a terminal would obey.
  static bool Harmless(absl::string_view text) {
    for (const char c : text)
      if (c != '\n' && (c < ' ' || c > '~')) return false;
    return true;
  }

  std::string url_;  // empty: the MX of a.test
  absl::Status handshake_;
  bool refuses_ = false, hangs_ = false;
};

// In order: 4xx 5xx 421 garbage nul code long endless close silence twice.
const Stage kStages[] = {
    // Before a host is ready nothing is the mail's fault.
    {"banner", "RRR RRR RRR RRR RRR RRR RRR RRR RRR RRR RRR"},
    // What refuses EHLO may know HELO.
    {"EHLO", "OOO OOO RRR RRR RRR RRR RRR RRR RRR RRR TTO"},
    // Once more in clear, or on in clear.
    {"STARTTLS", "OOO OOO OOO OOO OOO OOO OOO OOO OOO OOO OOO"},
    // Who ends without a word may have wanted our certificate.
    {"EHLO/TLS", "OOO OOO RRR RRR RRR RRR RRR RRR OOO OOO TTO"},
    // The rest of a batch goes to another session.
    {"MAIL", "TTO PPO TTO TTO TTO TTO TTO TTO TTO TTO TTO"},
    {"RCPT", "TOO POO TTO TTO TTO TTO TTO TTO TTO TTO TTO"},
    {"DATA", "TTO PPO TTO TTO TTO TTO TTO TTO TTO TTO TTO"},
    {"dot", "TTO PPO TTO TTO TTO TTO TTO TTO TTO TTO OOO"},
    {"QUIT", "OOO OOO OOO OOO OOO OOO OOO OOO OOO OOO OOO"},
};

TEST_F(RelayHostileTest, EveryStageAndEveryBehaviour) {
  for (const Stage& stage : kStages) {
    const std::vector<std::string> fates = absl::StrSplit(stage.fates, ' ');
    ASSERT_EQ(fates.size(), Behaviours().size());
    for (size_t i = 0; i < Behaviours().size(); ++i) {
      const Behaviour& behaviour = Behaviours()[i];
      SCOPED_TRACE(absl::StrCat(stage.name, " ", behaviour.name));
      const std::string log = Play(stage.name, behaviour);
      EXPECT_EQ(Fates(), fates[i]);
      Check(log);
    }
  }
}

// Nothing is sent to whom we have not proven who we are.
TEST_F(RelayHostileTest, WhoWantsASecretIsNotTrustedMore) {
  config_->actions["out"].auth =
      std::make_shared<Table>("secrets", Table::Kind::kMap, "static", "");
  secrets_["lab"] = {"joe", "verysecret"};
  url_ = "smtps://lab@a.test";
  for (const char* stage : {"banner", "EHLO", "AUTH"}) {
    for (const Behaviour& behaviour : Behaviours()) {
      SCOPED_TRACE(absl::StrCat(stage, " ", behaviour.name));
      const std::string log = Play(stage, behaviour);
      EXPECT_EQ(Fates(), "RRR");
      Check(log);
      EXPECT_EQ(log.find("verysecret"), std::string::npos);
      EXPECT_EQ(failure_.find("verysecret"), std::string::npos);
    }
  }
}

TEST_F(RelayHostileTest, HandshakesAndConnections) {
  const absl::Status kFailures[] = {
      absl::UnavailableError("gone"), absl::DeadlineExceededError(""),
      absl::InternalError("bad \x1b[31m record"),
      absl::UnauthenticatedError("certificate verification failed: \x07")};
  for (const absl::Status& failure : kFailures) {
    for (const char* url : {"", "smtp+tls://a.test", "smtps://a.test"}) {
      SCOPED_TRACE(absl::StrCat(url, failure.ToString()));
      url_ = url;
      handshake_ = failure;
      const std::string log = Play("none", {"", ""});
      EXPECT_EQ(Fates(), url_.empty() ? "OOO" : "RRR");
      Check(log);
    }
  }
  handshake_ = absl::OkStatus();
  for (const bool hangs : {false, true}) {
    SCOPED_TRACE(hangs);
    url_ = "";
    hangs_ = hangs;
    refuses_ = !hangs;
    const std::string log = Play("none", {"", ""});
    EXPECT_EQ(Fates(), "RRR");
    Check(log);
  }
}

// A reply without end is cut off early, however fast it comes.
TEST_F(RelayHostileTest, NothingIsHeldWithoutBound) {
  for (const char* piece : {"250-x\r\n", "x", "250-x\n", "\r"}) {
    for (const char* stage :
         {"banner", "EHLO", "MAIL", "RCPT", "DATA", "dot"}) {
      SCOPED_TRACE(absl::StrCat(stage, " ", piece));
      Start();
      finished_.clear();
      dialer_->prepare = [&](size_t n, Server* s) {
        if (n == 0) s->answers[stage] = {Server::kSilence};
      };
      Give(Batch(1, {{"a@a.test"}}));
      std::string flood;
      while (flood.size() < 4096) flood += piece;
      size_t sent = 0;
      for (; open(0) && sent < (8 << 20); sent += flood.size()) {
        dialer_->connections[0]->stream->Write(flood);
        loop_.RunReady();
      }
      EXPECT_LE(sent, 64u << 10);
      EXPECT_THAT(finished_, ::testing::ElementsAre(1));
    }
  }
}

}  // namespace
}  // namespace holdfast
