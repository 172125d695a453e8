// A server that does its worst at every stage: what becomes of each recipient,
// and that nothing else happens.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/smtp_client_dialogue.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;

using Dialogue = SmtpClientDialogue;
using Server = ScriptedSmtpServer;

// The longest text of a result: of a reply, with some words before it.
constexpr size_t kMaxResultText = kMaxReplyTextBytes + 100;

struct Behaviour {
  const char* name;
  std::string answer;
};

std::vector<Behaviour> Behaviours() {
  std::string endless;
  for (int i = 0; i < 100'000; ++i) endless += "250-more\r\n";
  return {
      {"2xx", "250 yes"},
      {"4xx", "451 later"},
      {"5xx", "554 never"},
      {"421", "421 busy"},
      {"garbage", "\x1b[2J\x07\rHTTP/1.1\x9b"},
      {"NUL", std::string("250 a\0b", 7)},
      {"endless", endless},
      {"1 MB line", "250 " + std::string(1 << 20, 'x')},
      {"close", Server::kClose},
      {"silence", Server::kSilence},
      {"early", "250 yes\r\n250 not asked for"},
      {"controls", "554-\x1b]0;x\x07 \x7f\t\r\r\n554 5.1.1 \x9b\xff"},
      {"mixed codes", "250-yes\r\n550 no"},
  };
}

// Of the first message, for each of Behaviours(): O ok, T not now, P never,
// - was never begun.
struct Stage {
  const char* name;
  const char* outcomes;
};

// "early" for DATA: its 250 is no go-ahead; for AUTH: MAIL was not sent yet.
constexpr Stage kStages[] = {
    {"banner", "O------------"},   {"EHLO", "-------------"},
    {"STARTTLS", "O------------"}, {"EHLO/TLS", "-------------"},
    {"AUTH", "O---------T--"},     {"SASL", "O---------T--"},
    {"MAIL", "OTPTTTTTTTTPT"},     {"RCPT", "OTPTTTTTTTTPT"},
    {"DATA", "TTPTTTTTTTTPT"},     {"body", "TTPTTTTTTTTPT"},
    {"dot", "OTPTTTTTTTOPT"},      {"RSET", "PPPPPPPPPPPPP"},
    {"QUIT", "OOOOOOOOOOOOO"},
};

void CheckText(const std::string& text) {
  EXPECT_LE(text.size(), kMaxResultText);
  for (const char c : VisEncode(text))
    EXPECT_TRUE(absl::ascii_isprint(static_cast<unsigned char>(c)));
}

size_t CountOk(const std::vector<std::string>& results) {
  return static_cast<size_t>(std::count_if(
      results.begin(), results.end(),
      [](const std::string& r) { return absl::StartsWith(r, "Ok"); }));
}

class HostileServer : public Dialogue {
 public:
  explicit HostileServer(const SmtpClientSession::Options& options)
      : Dialogue(options) {
    server.extensions = {"STARTTLS"};
    server.extensions_in_tls = {"AUTH LOGIN", "8BITMIME"};
    server.answers["AUTH"] = {"334 VXNlcm5hbWU6"};
    server.answers["SASL"] = {"334 UGFzc3dvcmQ6"};
    to_send = {MessageTo({"a@b.test"}), MessageTo({"b@b.test"})};
  }

  void Meet(const std::string& stage, const std::string& answer) {
    const bool ends = answer == Server::kClose || answer == Server::kSilence;
    if (stage == "RSET") server.answers["RCPT"] = {"550 no"};
    if (stage == "body") {
      finish = false;
      if (!ends) server.early_answer = answer;
    } else {
      server.answers[stage] = {answer};
    }
    Run(16 << 10);
    if (!session->over()) Timeout();
  }
};

void TryCell(const Stage& stage, const Behaviour& behaviour, char want,
             bool pipelining) {
  SmtpClientSession::Options options = {"me.test"};
  options.tls = SmtpClientSession::Tls::kOpportunistic;
  options.auth = true;
  HostileServer d(options);
  if (pipelining) d.server.extensions_in_tls.push_back("PIPELINING");
  d.Meet(stage.name, behaviour.answer);

  EXPECT_TRUE(d.session->over());
  const std::string first = d.results.empty() ? "-" : d.results[0].substr(0, 1);
  EXPECT_EQ(first, std::string(1, want)) << d.end;
  // The second one may be sent, fail, or be left for another session; nothing
  // counts as delivered that the server has not got.
  EXPECT_LE(CountOk(d.results), d.server.messages().size());
  for (const std::string& result : d.results) {
    EXPECT_NE(result, "") << "no result";
    CheckText(result);
  }
  CheckText(d.end);
  EXPECT_LE(d.session->backlog(), 4096u);
}

TEST(SmtpClientHostileTest, EveryStageAndBehaviour) {
  const std::vector<Behaviour> behaviours = Behaviours();
  for (const Stage& stage : kStages) {
    ASSERT_EQ(std::string(stage.outcomes).size(), behaviours.size());
    for (size_t i = 0; i < behaviours.size(); ++i)
      for (const bool pipelining : {false, true}) {
        SCOPED_TRACE(absl::StrCat(stage.name, ", ", behaviours[i].name,
                                  pipelining ? ", pipelining" : ""));
        TryCell(stage, behaviours[i], stage.outcomes[i], pipelining);
      }
  }
}

// After some of LMTP's answers: those decided stay so, the rest is for another
// time.
TEST(SmtpClientHostileTest, LmtpEndsBetweenItsAnswers) {
  const std::string answers[] = {"250 2.1.5 a", "550 5.1.1 b", "250 2.1.5 c"};
  const char* const kDecided[] = {"Ok 250 2.1.5 a", "Perm 550 5.1.1 b",
                                  "Ok 250 2.1.5 c"};
  for (const Behaviour& behaviour : Behaviours()) {
    const std::string name = behaviour.name;
    // These are answers like others.
    if (name == "2xx" || name == "4xx" || name == "5xx" || name == "early" ||
        name == "controls")
      continue;
    for (size_t decided = 0; decided < 3; ++decided) {
      for (const size_t piece : {1, 7, 1 << 20}) {
        SCOPED_TRACE(absl::StrCat(name, decided, " ", piece));
        const bool close = behaviour.answer == Server::kClose;
        const bool ends = close || behaviour.answer == Server::kSilence;
        SmtpClientSession::Options options = {"me.test"};
        options.lmtp = true;
        Dialogue d(options);
        std::string text;
        for (size_t i = 0; i < decided; ++i) text += answers[i] + "\r\n";
        if (!ends) text += behaviour.answer;
        // Of an empty text a line end would remain, which is no answer.
        if (text.empty()) text = behaviour.answer;
        if (absl::EndsWith(text, "\r\n")) text.resize(text.size() - 2);
        d.server.answers["dot"] = {text};
        d.to_send = {MessageTo({"a@x", "b@x", "c@x"})};
        d.quit_at_end = false;
        d.Run(piece);
        if (!d.session->over())
          d.session->ConnectionLost(close ? "closed" : "Connection timeout");
        ASSERT_EQ(d.results.size(), 3u);
        for (size_t i = 0; i < 3; ++i) {
          if (i < decided)
            EXPECT_EQ(d.results[i], kDecided[i]);
          else
            EXPECT_THAT(d.results[i], ::testing::StartsWith("Temp "));
          CheckText(d.results[i]);
        }
      }
    }
  }
}

TEST(SmtpClientHostileTest, LmtpAnswersInOneReadAreEachForTheirRecipient) {
  for (const size_t piece : {1, 3, 1 << 20}) {
    SmtpClientSession::Options options = {"me.test"};
    options.lmtp = true;
    Dialogue d(options);
    d.server.answers["dot"] = {
        "250-2.1.5 a\r\n250 2.1.5 more\r\n452 4.2.2 b\r\n550 5.1.1 c"};
    d.to_send = {MessageTo({"a@x", "b@x", "c@x"}), MessageTo({"d@x"})};
    d.Run(piece);
    EXPECT_THAT(d.results,
                ElementsAre("Ok 250-2.1.5 a more", "Temp 452 4.2.2 b",
                            "Perm 550 5.1.1 c", "Ok 250 2.0.0 queued"));
  }
  // One more than there are recipients.
  SmtpClientSession::Options options = {"me.test"};
  options.lmtp = true;
  Dialogue d(options);
  d.server.answers["dot"] = {"250 a\r\n250 b\r\n250 c"};
  d.to_send = {MessageTo({"a@x", "b@x"})};
  d.quit_at_end = false;
  d.Run();
  EXPECT_THAT(d.results, ElementsAre("Ok 250 a", "Ok 250 b"));
  EXPECT_EQ(d.end, "Remote host sent too much data");
}

// A server that never ends its reply is not a sign of life, and costs nothing.
TEST(SmtpClientHostileTest, DrippedBytesAreNoAnswer) {
  Dialogue d;
  d.Run();  // to QUIT
  Dialogue slow;
  slow.session->OutputTaken();
  for (int i = 0; i < 3000; ++i) slow.session->Receive("2");
  EXPECT_EQ(slow.session->replies(), 0u);
  EXPECT_FALSE(slow.session->over());
  for (int i = 0; i < 3000; ++i) slow.session->Receive("2");
  EXPECT_EQ(slow.end, "Input too long");
}

}  // namespace
}  // namespace holdfast
