// Whatever a process does, it is named in one log line, killed, and its
// sessions are refused for now, or go on without it.
#include <gmock/gmock.h>

#include "protocol/filter_lines.h"
#include "server/filters/filter_bed.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr char kRefused[] = "d 421 4.3.0 Temporary failure";

class HostileProcessTest : public FilterBed {
 protected:
  void Make(bool accept = false) {
    FilterCare care;
    care.accept_on_failure = accept;
    program_ = AddProgram("f", care);
    filter_ = StartReady(
        program_, {"report link-connect", "noop", "commit", "data-line"});
  }
  // A session with a question that is open; its line.
  std::string Asked(FilterPhase phase = FilterPhase::kNoop) {
    Begin();
    filter_->Lines();
    Ask(phase);
    const auto lines = filter_->Lines();
    EXPECT_THAT(lines, SizeIs(1));
    return lines.empty() ? "" : lines[0];
  }
  void ExpectKilled(const std::string& what) {
    loop_.RunReady();
    EXPECT_THAT(killed_, ElementsAre("f 1"));
    EXPECT_THAT(log_, ElementsAre("warn: filter f: " + what +
                                  "; killed: its sessions are refused for "
                                  "now"));
    EXPECT_FALSE(program_->ready());
  }

  FilterProgram* program_ = nullptr;
  FakeFilter* filter_ = nullptr;
};

TEST_F(HostileProcessTest, WrongLines) {
  const std::pair<const char*, const char*> cases[] = {
      {"hello", "line without a field"},
      {"filter-result|x|1|proceed", "filter-result with an invalid session"},
      {"filter-result|0123456789abcdef|1|proceed",
       "answered with an unknown token"},
      {"filter-result|0123456789abcdef|100f|proceed",
       "answered with an unknown token"},
      {"filter-result|0123456789abcdef|1008|proceed",
       "answered data-line with filter-result"},
      {"filter-dataline|0123456789abcdef|100c|x",
       "answered another phase with filter-dataline"},
      {"filter-result|0123456789abcdef|1009|proceed",
       "answered without being asked"},
      {"filter-dataline|0123456789abcdef|1008|x",
       "said text of a message that it was not given"},
      {"register|filter|smtp-out|noop", "registration of a phase of smtp-out"},
  };
  for (const auto& [line, what] : cases) {
    chain_.links.clear();
    links_.clear();
    killed_.clear();
    log_.clear();
    starts_ = 0;
    Make();
    Asked();
    filter_->Say(line);
    filter_->Say("and more");
    ExpectKilled(what);
    EXPECT_EQ(Decision(), kRefused) << line;
    sessions_.clear();
  }
}

TEST_F(HostileProcessTest, TwoAnswersToOneQuestion) {
  Make();
  const std::string line = Asked();
  filter_->Say(AnswerTo(line, "proceed"));
  filter_->Say(AnswerTo(line, "reject|550 no"));
  loop_.RunReady();
  EXPECT_EQ(Decision(), "p");
  ExpectKilled("answered without being asked");
}

TEST_F(HostileProcessTest, JunkAtCommit) {
  Make();
  filter_->Say(AnswerTo(Asked(FilterPhase::kCommit), "junk"));
  EXPECT_EQ(Decision(), kRefused);
  ExpectKilled("said junk at commit");
}

TEST_F(HostileProcessTest, AnAnswerBeforeItIsReady) {
  program_ = AddProgram("f");
  filter_ = Start(program_);
  filter_->Say("filter-result|1|1|proceed");
  ExpectKilled("answered before register|ready");
}

TEST_F(HostileProcessTest, AnswersForSessionsThatAreGoneAreIgnored) {
  Make();
  const std::string line = Asked();
  End();
  filter_->Say(AnswerTo(line, "proceed"));
  loop_.RunReady();
  EXPECT_THAT(log_, IsEmpty());
  EXPECT_TRUE(program_->ready());
}

TEST_F(HostileProcessTest, AnswersForASessionOfAnother) {
  Make();
  const std::vector<FilterLink*> mine = std::exchange(chain_.links, {});
  AddProgram("g");
  StartReady(programs_.at("g").get(), {"noop"});
  Begin(SessionId(7));  // passes g alone
  filter_->Say("filter-result|7|100c|reject|550 no");
  loop_.RunReady();
  EXPECT_THAT(killed_, ElementsAre("f 1"));
  EXPECT_THAT(log_.back(),
              HasSubstr("answered for a session that is not its own"));
  EXPECT_TRUE(programs_.at("g")->ready());
}

TEST_F(HostileProcessTest, AFloodOfWhatNobodyAsked) {
  Make();
  const std::string line =
      "filter-result|7|1|reject|" + std::string(60000, 'x');
  size_t lines = 0;
  while (killed_.empty() && lines < kMaxUnasked / 50000) {
    filter_->Say(line);
    loop_.RunReady();
    ++lines;
  }
  EXPECT_GT(lines, kMaxUnasked / 61000);
  ExpectKilled("floods");
}

// As much, but over a long time.
TEST_F(HostileProcessTest, AFewWordsAMinuteAreNoFlood) {
  Make();
  const std::string line =
      "filter-result|7|1|reject|" + std::string(60000, 'x');
  for (size_t i = 0; i < kMaxUnasked / 50000; ++i) {
    if (i % 1000 == 0) loop_.Advance(absl::Minutes(1));
    filter_->Say(line);
    loop_.RunReady();
  }
  EXPECT_THAT(killed_, IsEmpty());
}

TEST_F(HostileProcessTest, ALineWithoutEnd) {
  Make();
  const std::string piece(100000, 'x');
  for (size_t sent = 0; sent <= kMaxFilterLine + kMaxFilterPrefix;
       sent += piece.size()) {
    filter_->SayRaw(piece);
    loop_.RunReady();
  }
  ExpectKilled("said a line without end");
}

TEST_F(HostileProcessTest, NoAnswer) {
  Make();
  Asked();
  loop_.Advance(absl::Minutes(2) - absl::Seconds(1));
  EXPECT_EQ(Decision(), "");
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(Decision(), kRefused);
  ExpectKilled("no answer for 2m");
}

// Each question has its own time.
TEST_F(HostileProcessTest, SlowAnswersAreAnswers) {
  Make();
  Begin();
  for (int i = 0; i < 5; ++i) {
    filter_->Lines();
    Ask(FilterPhase::kNoop);
    loop_.Advance(absl::Seconds(110));
    filter_->Say(AnswerTo(filter_->Lines().at(0), "proceed"));
    EXPECT_EQ(Decision(), "p");
  }
  EXPECT_THAT(killed_, IsEmpty());
}

TEST_F(HostileProcessTest, NoEndOfAMessage) {
  Make();
  Begin();
  Text("x\n", true);
  filter_->Lines();
  loop_.Advance(absl::Minutes(2));
  EXPECT_THAT(dropped_, ElementsAre("451 4.3.0 Temporary failure"));
  ExpectKilled("no answer for 2m");
}

// Answers to questions are not the end of the message before.
TEST_F(HostileProcessTest, NoEndOfAMessageThatWasGivenUp) {
  Make();
  ChainSession* const session = Begin();
  Text("a\n");
  session->OnDropped();
  loop_.RunReady();
  Ask(FilterPhase::kNoop);
  for (const std::string& line : filter_->Lines()) {
    if (line.find("|noop|") != line.npos)
      filter_->Say(AnswerTo(line, "proceed"));
  }
  EXPECT_EQ(Decision(), "p");
  loop_.Advance(absl::Minutes(4));
  ExpectKilled("no answer for 2m");
}

// Nor is that end the answer to a question.
TEST_F(HostileProcessTest, NoAnswerBehindAnEnd) {
  Make();
  ChainSession* const session = Begin();
  Text("a\n");
  session->OnDropped();
  loop_.RunReady();
  Ask(FilterPhase::kNoop);
  Echo(filter_);
  EXPECT_EQ(Decision(), "");
  loop_.Advance(absl::Minutes(4));
  ExpectKilled("no answer for 2m");
}

TEST_F(HostileProcessTest, AnEndBeforeOurs) {
  Make();
  Begin();
  Text("x\n");
  filter_->Say("filter-dataline|0123456789abcdef|1008|.");
  ExpectKilled("ended a message before it had all of it");
  EXPECT_THAT(dropped_, ElementsAre("451 4.3.0 Temporary failure"));
}

TEST_F(HostileProcessTest, ItReadsNothing) {
  Make();
  const std::string line(60000, 'x');
  Begin();
  std::string chunk = line + "\n";
  while (taken_ == 0 || taken_ % chunk.size() == 0) {
    Begin(SessionId(1000 + sessions_.size()));
    const size_t before = taken_;
    Text(chunk, false, SessionId(1000 + sessions_.size() - 1));
    if (taken_ == before) break;
    ASSERT_LT(sessions_.size(), 200u);
  }
  loop_.Advance(absl::Minutes(4));
  loop_.RunReady();
  EXPECT_THAT(killed_, ElementsAre("f 1"));
  EXPECT_THAT(log_.back(), HasSubstr("has read nothing for 2m"));
}

// In the middle of messages, when no answer is waited for.
TEST_F(HostileProcessTest, ItReadsNothingOfOneText) {
  Make();
  Begin();
  std::string chunk;
  while (chunk.size() < 60000) chunk += std::string(70, 'x') + "\n";
  size_t sent = 0;
  while (sent == taken_) {
    Text(chunk);
    sent += chunk.size();
    ASSERT_LT(sent, 64u << 20);
  }
  loop_.Advance(absl::Minutes(4));
  ExpectKilled("has read nothing for 2m");
  EXPECT_THAT(dropped_, ElementsAre("451 4.3.0 Temporary failure"));
}

TEST_F(HostileProcessTest, ReportsThatItDoesNotRead) {
  FilterProgram* const program = AddProgram("f");
  program_ = program;
  filter_ = StartReady(program, {"report protocol-client"});
  Begin();
  const std::string line(60000, 'x');
  size_t sent = 0;
  while (killed_.empty() && sent < 2 * kMaxUnreadReports) {
    Report(FilterEvent::kProtocolClient, {line});
    sent += line.size();
  }
  EXPECT_GT(sent, kMaxUnreadReports);
  ExpectKilled("does not read what it is told");
}

TEST_F(HostileProcessTest, ItEnds) {
  Make();
  Asked();
  filter_->Exit();
  loop_.RunReady();
  EXPECT_EQ(Decision(), kRefused);
  program_->OnEnded(1);
  loop_.Advance(absl::Hours(1));
  // Parent has said how.
  EXPECT_THAT(log_, IsEmpty());
  EXPECT_THAT(killed_, IsEmpty());
  EXPECT_EQ(chain_.Wants().phases, kAskedPhases);
}

TEST_F(HostileProcessTest, ItClosesItsOutputAndGoesOn) {
  Make();
  filter_->Exit();
  loop_.RunReady();
  EXPECT_THAT(killed_, IsEmpty());
  loop_.Advance(kTimeToEnd);
  EXPECT_THAT(killed_, ElementsAre("f 1"));
  EXPECT_THAT(log_, ElementsAre("warn: filter f: closed its output and goes "
                                "on; killed"));
}

// The next start knows nothing of a session that began before it.
TEST_F(HostileProcessTest, SessionsOfAStartThatIsLostStayRefused) {
  Make();
  Begin();
  program_->OnEnded(1);
  loop_.RunReady();
  FakeFilter* const next =
      StartReady(program_, {"report link-connect", "noop", "data-line"});
  EXPECT_TRUE(program_->ready());
  Ask(FilterPhase::kNoop);
  EXPECT_EQ(Decision(), kRefused);
  Text("x\n");
  EXPECT_THAT(dropped_, ElementsAre("451 4.3.0 Temporary failure"));
  End();
  EXPECT_THAT(next->Lines(), IsEmpty());
  // A new session passes it again.
  Begin(SessionId(2));
  Ask(FilterPhase::kNoop, "", SessionId(2));
  const auto lines = next->Lines();
  ASSERT_THAT(lines, SizeIs(2));
  next->Say(AnswerTo(lines[1], "proceed"));
  EXPECT_EQ(Decision(), "p");
}

TEST_F(HostileProcessTest, OrTheyGoOnWithoutIt) {
  Make(/*accept=*/true);
  Asked();
  filter_->Say("garbage");
  EXPECT_EQ(Decision(), "p");
  EXPECT_THAT(log_, ElementsAre("warn: filter f: line without a field; "
                                "killed: sessions go on without it"));
  // It may have had messages that are not taken yet.
  EXPECT_EQ(chain_.Wants().phases, MaskOf(FilterPhase::kCommit));
  EXPECT_EQ(chain_.Wants().in, MaskOf(FilterEvent::kTxReset));
  Ask(FilterPhase::kNoop);
  EXPECT_EQ(Decision(), "p");
  // A message that begins now passes as it is.
  Text("a\n");
  Text("b\n", true);
  EXPECT_EQ(text_, "a\nb\n");
  EXPECT_EQ(ends_, 1);
  EXPECT_EQ(taken_, 4u);
}

// But a message of which the process has a part cannot.
TEST_F(HostileProcessTest, TextThatIsUnderWayIsLostWithIt) {
  Make(/*accept=*/true);
  ChainSession* const session = Begin();
  Text("a\n");
  program_->OnEnded(1);
  loop_.RunReady();
  EXPECT_THAT(dropped_, ElementsAre("451 4.3.0 Temporary failure"));
  session->OnDropped();
  loop_.RunReady();
  Text("b\n", true);
  EXPECT_EQ(text_, "b\n");
}

// It has had the message, and was to say whether it may be taken.
TEST_F(HostileProcessTest, WhoHasHadAMessageAnswersForIt) {
  constexpr char kLater[] = "r 451 4.3.0 Temporary failure";
  for (const bool asked : {false, true}) {
    Make(/*accept=*/true);
    Begin();
    Text("x\n", true);
    Echo(filter_);
    EXPECT_EQ(text_, "x\n");
    if (asked) Ask(FilterPhase::kCommit);
    filter_->Exit();
    loop_.RunReady();
    if (!asked) Ask(FilterPhase::kCommit);
    EXPECT_EQ(Decision(), kLater) << asked;
    // The next one it has not had.
    Ask(FilterPhase::kCommit);
    EXPECT_EQ(Decision(), "p") << asked;
    sessions_.clear();
    chain_.links.clear();
    text_.clear();
  }
}

TEST_F(HostileProcessTest, NotForOneThatWasGivenUp) {
  Make(/*accept=*/true);
  Begin();
  Text("x\n", true);
  Echo(filter_);
  Report(FilterEvent::kTxReset, {"12345678"});
  filter_->Exit();
  loop_.RunReady();
  Ask(FilterPhase::kCommit);
  EXPECT_EQ(Decision(), "p");
}

// It had said all of it.
TEST_F(HostileProcessTest, TextThatCameBackWholeIsNotLost) {
  Make();
  Begin();
  std::string body(3 * kFilterWindow / 2, 'x');
  for (size_t i = 99; i < body.size(); i += 100) body[i] = '\n';
  body.back() = '\n';
  Text(body.substr(0, kFilterWindow));
  Echo(filter_);
  Text(body.substr(kFilterWindow), true);
  Echo(filter_);
  EXPECT_EQ(text_.size(), kFilterWindow);
  program_->OnEnded(1);
  loop_.RunReady();
  Take(kFilterWindow);
  EXPECT_EQ(text_, body);
  EXPECT_EQ(ends_, 1);
  EXPECT_THAT(dropped_, IsEmpty());
}

// What is asked next when the first link answers for the lost process is lost
// with it.
TEST_F(HostileProcessTest, AProcessTwiceInAChainIsLostOnce) {
  Make(/*accept=*/true);
  AddLink("again", "f");
  Asked();
  Begin(SessionId(2));
  Text("x\n", true, SessionId(2));
  filter_->Say("garbage");
  EXPECT_EQ(Decision(), "p");
  EXPECT_THAT(dropped_, ElementsAre("451 4.3.0 Temporary failure"));
}

// In one read with what it is killed for.
TEST_F(HostileProcessTest, TheEndOfATextAndThenNonsense) {
  Make();
  Begin();
  Text("x\n", true);
  const std::string prefix = "filter-dataline|0123456789abcdef|1008|";
  filter_->SayRaw(prefix + "y\n" + prefix + ".\n" + prefix + "more\n");
  ExpectKilled("said text of a message that it was not given");
  EXPECT_EQ(text_, "y\n");
  EXPECT_EQ(ends_, 1);
  EXPECT_THAT(dropped_, IsEmpty());
}

}  // namespace
}  // namespace holdfast
