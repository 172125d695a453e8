// One filter process: handshake, events, questions.
#include <gmock/gmock.h>

#include "server/filters/filter_bed.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::SizeIs;

using ProcessLinkTest = FilterBed;

TEST_F(ProcessLinkTest, HandshakeAsTheReference) {
  FilterProgram* const program = AddProgram("f");
  EXPECT_FALSE(program->known());
  FakeFilter* const filter = Start(program);
  EXPECT_THAT(
      filter->Lines(),
      ElementsAre("config|smtpd-version|7.8.0-portable", "config|protocol|0.7",
                  "config|smtp-session-timeout|300", "config|subsystem|smtp-in",
                  "config|admd|mx.test", "config|ready"));
  filter->Say("register|report|smtp-in|link-connect");
  filter->Say("register|report|smtp-out|*");
  filter->Say("register|filter|smtp-in|ehlo");
  loop_.RunReady();
  EXPECT_FALSE(program->known());
  EXPECT_EQ(changes_, 0);
  filter->Say("register|ready");
  loop_.RunReady();
  EXPECT_TRUE(program->ready());
  EXPECT_EQ(changes_, 1);
  const FilterWants wants = chain_.Wants();
  EXPECT_EQ(wants.phases, MaskOf(FilterPhase::kEhlo));
  EXPECT_EQ(wants.in, MaskOf(FilterEvent::kLinkConnect));
  EXPECT_EQ(wants.out & MaskOf(FilterEvent::kTxMail),
            MaskOf(FilterEvent::kTxMail));
}

// libopensmtpd registers before it has read a line.
TEST_F(ProcessLinkTest, RegistrationsBeforeTheGreetingWasSent) {
  FilterProgram* const program = AddProgram("f");
  FakeFilter filter;
  filter.Say("register|filter|smtp-in|connect");
  filter.Say("register|ready");
  program->OnStarted(1, filter.TakeIo(), filter.TakeError());
  loop_.RunReady();
  EXPECT_TRUE(program->ready());
}

TEST_F(ProcessLinkTest, RegistrationsAfterReadyCount) {
  FilterProgram* const program = AddProgram("f");
  FakeFilter* const filter = StartReady(program, {"connect"});
  Begin();
  EXPECT_EQ(changes_, 1);
  filter->Say("register|filter|smtp-in|noop");
  loop_.RunReady();
  EXPECT_EQ(changes_, 2);
  EXPECT_EQ(chain_.Wants().phases,
            MaskOf(FilterPhase::kConnect) | MaskOf(FilterPhase::kNoop));
  Ask(FilterPhase::kNoop);
  ASSERT_THAT(filter->Lines(), SizeIs(1));
}

TEST_F(ProcessLinkTest, EventsThatItWants) {
  FilterProgram* const program = AddProgram("f");
  FakeFilter* const filter = StartReady(
      program,
      {"report link-connect", "report tx-mail", "report link-disconnect"});
  Begin();
  Report(FilterEvent::kTxBegin, {"686036a3"});
  Report(FilterEvent::kTxMail, {"686036a3", "ok", "a@b"});
  End();
  EXPECT_THAT(
      filter->Lines(),
      ElementsAre("report|0.7|1795324000.000000|smtp-in|link-connect|"
                  "0123456789abcdef|client.test|pass|192.0.2.1:2525|"
                  "192.0.2.2:25",
                  "report|0.7|1795324000.000000|smtp-in|tx-mail|"
                  "0123456789abcdef|686036a3|ok|a@b",
                  "report|0.7|1795324000.000000|smtp-in|link-disconnect|"
                  "0123456789abcdef"));
}

TEST_F(ProcessLinkTest, TokensAreTheSameForAPhase) {
  FilterProgram* const program = AddProgram("f");
  FakeFilter* const filter = StartReady(program, {"connect", "mail-from"});
  std::set<std::string> connect, mail;
  for (const uint64_t id : {1, 2}) {
    Begin(SessionId(id));
    Ask(FilterPhase::kConnect, "", SessionId(id));
    const auto first = filter->Lines();
    ASSERT_THAT(first, SizeIs(1));
    EXPECT_THAT(first[0],
                MatchesRegex("filter.0\\.7.1795324000\\.000000.smtp-in.connect."
                             "000000000000000[12].[0-9a-f]{16}.client\\.test."
                             "192\\.0\\.2\\.1"));
    connect.insert(Fields(first[0])[6]);
    filter->Say(AnswerTo(first[0], "proceed"));
    EXPECT_EQ(Decision(), "p");
    Ask(FilterPhase::kMailFrom, "a@b", SessionId(id));
    const auto second = filter->Lines();
    ASSERT_THAT(second, SizeIs(1));
    mail.insert(Fields(second[0])[6]);
    EXPECT_EQ(Fields(second[0])[7], "a@b");
    filter->Say(AnswerTo(second[0], "proceed"));
    EXPECT_EQ(Decision(), "p");
  }
  EXPECT_THAT(connect, SizeIs(1));
  EXPECT_THAT(mail, SizeIs(1));
  EXPECT_NE(connect, mail);
}

// The parameter is there, even if it is empty.
TEST_F(ProcessLinkTest, EmptyParametersEndWithABar) {
  FilterProgram* const program = AddProgram("f");
  FakeFilter* const filter = StartReady(program, {"commit"});
  Begin();
  Ask(FilterPhase::kCommit);
  const auto lines = filter->Lines();
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_EQ(lines[0].back(), '|');
  EXPECT_THAT(Fields(lines[0]), SizeIs(8));
}

TEST_F(ProcessLinkTest, EveryDecision) {
  FilterProgram* const program = AddProgram("f");
  FakeFilter* const filter = StartReady(program, {"rcpt-to"});
  Begin();
  const std::pair<const char*, const char*> cases[] = {
      {"proceed", "p"},
      {"junk", "j"},
      {"reject|550 no | never", "r 550 no | never"},
      {"disconnect|554 bye", "d 554 bye"},
      {"rewrite|<x@y>", "w <x@y>"},
      {"report|seen", "p"},
  };
  for (const auto& [said, decided] : cases) {
    Ask(FilterPhase::kRcptTo, "a@b");
    EXPECT_EQ(Decision(), "");
    const auto lines = filter->Lines();
    ASSERT_THAT(lines, SizeIs(1));
    filter->Say(AnswerTo(lines[0], said));
    EXPECT_EQ(Decision(), decided) << said;
  }
  EXPECT_THAT(log_, IsEmpty());
}

TEST_F(ProcessLinkTest, OneThatHasNotComeIsMissedAfterItsTime) {
  FilterCare care;
  care.timeout = absl::Seconds(5);
  FilterProgram* const program = AddProgram("f", care);
  loop_.Advance(absl::Seconds(4));
  EXPECT_FALSE(chain_.ready());
  loop_.Advance(absl::Seconds(1));
  EXPECT_TRUE(chain_.ready());
  EXPECT_THAT(log_, ElementsAre("warn: filter f: not started after 5s; until "
                                "it is, its sessions are refused for now"));
  EXPECT_EQ(chain_.Wants().phases, kAskedPhases);
  Begin();
  Ask(FilterPhase::kConnect);
  EXPECT_EQ(Decision(), "d 421 4.3.0 Temporary failure");
  End();
  // It may come later.
  StartReady(program, {"connect"});
  EXPECT_EQ(chain_.Wants().phases, MaskOf(FilterPhase::kConnect));
  EXPECT_EQ(log_.back(), "info: filter f: ready again");
}

TEST_F(ProcessLinkTest, OneThatIsNeverReadyIsKilled) {
  FilterProgram* const program = AddProgram("f");
  for (uint64_t start = 1; start <= 2; ++start) {
    Start(program);
    loop_.Advance(absl::Minutes(2) - absl::Seconds(1));
    EXPECT_THAT(killed_, SizeIs(start - 1));
    loop_.Advance(absl::Seconds(1));
    EXPECT_THAT(killed_, SizeIs(start));
    EXPECT_EQ(log_.back(),
              "warn: filter f: not ready after 2m; killed: its sessions are "
              "refused for now");
    EXPECT_TRUE(chain_.ready());
  }
}

TEST_F(ProcessLinkTest, OneThatMayBeMissedIsNot) {
  FilterCare care;
  care.accept_on_failure = true;
  AddProgram("f", care);
  loop_.Advance(care.timeout);
  EXPECT_TRUE(chain_.ready());
  EXPECT_EQ(chain_.Wants().phases, 0u);
  Begin();
  Ask(FilterPhase::kConnect);
  EXPECT_EQ(Decision(), "p");
  EXPECT_THAT(log_, ElementsAre("warn: filter f: not started after 2m; until "
                                "it is, sessions go on without it"));
}

TEST_F(ProcessLinkTest, StandardErrorIsLogged) {
  FilterProgram* const program = AddProgram("f");
  FakeFilter* const filter = StartReady(program, {});
  filter->Complain("hello\n");
  loop_.RunReady();
  EXPECT_THAT(log_, ElementsAre("f: hello"));
  // Its last words come after its end, too.
  filter->Complain("last");
  program->OnEnded(1);
  loop_.RunReady();
  filter->Exit();
  loop_.RunReady();
  EXPECT_THAT(log_, ElementsAre("f: hello", "f: last"));
}

TEST_F(ProcessLinkTest, OnlyTheLastStartsAreListenedTo) {
  FilterProgram* const program = AddProgram("f");
  std::vector<FakeFilter*> starts;
  for (size_t i = 0; i <= kMaxStderrs; ++i) starts.push_back(Start(program));
  starts[1]->Complain("second\n");
  loop_.RunReady();
  EXPECT_EQ(log_.back(), "f: second");
  // Nobody holds the other side of the first any more.
  const size_t lines = log_.size();
  EXPECT_FALSE(starts[0]->CanComplain());
  loop_.RunReady();
  EXPECT_THAT(log_, SizeIs(lines));
}

// What comes in the turn in which it is given up is not heard.
TEST_F(ProcessLinkTest, AStartThatIsReplacedIsNotHeard) {
  FilterProgram* const program = AddProgram("f");
  FakeFilter* const old = StartReady(program, {"noop"});
  FakeFilter next;
  old->Say("nonsense");
  program->OnStarted(2, next.TakeIo(), next.TakeError());
  loop_.RunReady();
  EXPECT_THAT(log_, IsEmpty());
  EXPECT_THAT(killed_, IsEmpty());
  next.Say("register|ready");
  loop_.RunReady();
  EXPECT_TRUE(program->ready());
}

TEST_F(ProcessLinkTest, OlderProtocol) {
  FilterProgram* const program = AddProgram("f", {}, "0.6");
  FakeFilter* const filter = StartReady(program, {"report link-auth", "noop"});
  Begin();
  Report(FilterEvent::kLinkAuth, {"pass", "joe"});
  Ask(FilterPhase::kNoop);
  const auto lines = filter->Lines();
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_EQ(lines[0],
            "report|0.6|1795324000.000000|smtp-in|link-auth|"
            "0123456789abcdef|joe|pass");
  EXPECT_EQ(Fields(lines[1])[1], "0.6");
}

TEST_F(ProcessLinkTest, AProcessTwiceInAChainHearsAnEventOnce) {
  FilterProgram* const program = AddProgram("f");
  AddLink("again", "f");
  FakeFilter* const filter =
      StartReady(program, {"report link-connect", "noop"});
  Begin();
  EXPECT_THAT(filter->Lines(), SizeIs(1));
  Ask(FilterPhase::kNoop);
  auto lines = filter->Lines();
  ASSERT_THAT(lines, SizeIs(1));
  const std::string token = Fields(lines[0])[6];
  filter->Say(AnswerTo(lines[0], "proceed"));
  EXPECT_EQ(Decision(), "");
  lines = filter->Lines();
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_NE(Fields(lines[0])[6], token);
  filter->Say(AnswerTo(lines[0], "proceed"));
  EXPECT_EQ(Decision(), "p");
}

}  // namespace
}  // namespace holdfast
