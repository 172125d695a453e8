// Several filters one after the other, and what they hear of each other.
#include "server/filters/chain_session.h"

#include <gmock/gmock.h>

#include "server/filters/filter_bed.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

using V = LinkAnswer::Verdict;

LinkAnswer Answer(V verdict, const std::string& text) {
  LinkAnswer answer;
  answer.verdict = verdict;
  answer.text = text;
  return answer;
}

// Answers what it is told to.
class ScriptedLink : public FilterLink {
 public:
  ScriptedLink(std::string name, uint32_t phases)
      : name_(std::move(name)), phases_(phases) {}
  const std::string& name() const override { return name_; }
  Source source() const override { return {"builtin", name_}; }
  bool ready() const override { return true; }
  uint32_t phases() const override { return phases_; }
  uint32_t events_in() const override { return events; }
  uint32_t events_out() const override { return 0; }
  std::unique_ptr<LinkSession> Begin(absl::Time, const SessionFacts&) override {
    return std::make_unique<Session>(this);
  }

  LinkAnswer answer;
  uint32_t events = 0;
  int asked = 0;
  std::string argument;
  std::vector<std::string> heard;

 private:
  class Session : public LinkSession {
   public:
    explicit Session(ScriptedLink* link) : link_(link) {}
    bool Wants(FilterPhase phase) const override {
      return (link_->phases() & MaskOf(phase)) != 0;
    }
    void Ask(const FilterQuestion& question, Done done) override {
      ++link_->asked;
      link_->argument = question.argument;
      done(link_->answer);
    }
    void OnReport(absl::Time, FilterEvent event,
                  const std::vector<std::string>& fields) override {
      std::string line(FilterEventName(event));
      for (const std::string& field : fields) line += "|" + field;
      link_->heard.push_back(line);
    }
    std::unique_ptr<TextStage> BeginText(TextSink*) override { return nullptr; }

   private:
    ScriptedLink* link_;
  };

  std::string name_;
  uint32_t phases_;
};

class ChainSessionTest : public FilterBed {
 protected:
  ScriptedLink* Add(const std::string& name, uint32_t phases = kAskedPhases) {
    scripted_.push_back(std::make_unique<ScriptedLink>(name, phases));
    chain_.links.push_back(scripted_.back().get());
    return scripted_.back().get();
  }
  ~ChainSessionTest() override { sessions_.clear(); }

  std::vector<std::unique_ptr<ScriptedLink>> scripted_;
};

TEST_F(ChainSessionTest, InOrderUntilOneDecides) {
  ScriptedLink* const a = Add("a");
  ScriptedLink* const b = Add("b");
  ScriptedLink* const c = Add("c");
  b->answer = Answer(V::kReject, "550 no");
  Begin();
  Ask(FilterPhase::kMailFrom, "x@y");
  EXPECT_EQ(Decision(), "r 550 no");
  EXPECT_EQ(a->asked, 1);
  EXPECT_EQ(b->asked, 1);
  EXPECT_EQ(c->asked, 0);
  EXPECT_EQ(b->argument, "x@y");
}

TEST_F(ChainSessionTest, EachDecisionAndTheRestOfTheChain) {
  ScriptedLink* const a = Add("a");
  ScriptedLink* const b = Add("b");
  b->answer = Answer(V::kReject, "550 last");
  const struct {
    V verdict;
    const char* text;
    const char* decision;
    int asked;  // b
  } cases[] = {
      {V::kProceed, "", "r 550 last", 1},
      {V::kReport, "seen", "r 550 last", 1},
      {V::kBypass, "", "p", 0},
      {V::kJunk, "", "j", 0},
      {V::kRewrite, "<a@b>", "w <a@b>", 0},
      {V::kReject, "451 later", "r 451 later", 0},
      {V::kDisconnect, "554 bye", "d 554 bye", 0},
      {V::kDiscard, "", "x", 0},
  };
  Begin();
  for (const auto& one : cases) {
    a->answer = Answer(one.verdict, one.text);
    b->asked = 0;
    Ask(FilterPhase::kRcptTo, "x@y");
    EXPECT_EQ(Decision(), one.decision);
    EXPECT_EQ(b->asked, one.asked) << one.decision;
  }
}

// (reference part 2, section 7.6)
TEST_F(ChainSessionTest, WhatIsNoReplyEndsTheSession) {
  ScriptedLink* const a = Add("a");
  Begin();
  const std::pair<std::string, std::string> cases[] = {
      {"550 no", "r 550 no"},
      {"421 gone", "d 421 gone"},
      {"no", "d 421 Internal server error"},
      {"250 fine", "d 421 Internal server error"},
      {"550-no", "d 421 Internal server error"},
      {"550 a\rb\nc", "r 550 a b c"},
      {"550 " + std::string(2000, 'x'),
       "r 550 " + std::string(kMaxFilterReply - 4, 'x')},
  };
  for (const auto& [text, decision] : cases) {
    a->answer = Answer(V::kReject, text);
    Ask(FilterPhase::kNoop);
    EXPECT_EQ(Decision(), decision);
  }
}

TEST_F(ChainSessionTest, LinksThatDoNotWantThePhaseAreNotAsked) {
  ScriptedLink* const a = Add("a", MaskOf(FilterPhase::kEhlo));
  ScriptedLink* const b = Add("b", MaskOf(FilterPhase::kNoop));
  EXPECT_EQ(chain_.Wants().phases,
            MaskOf(FilterPhase::kEhlo) | MaskOf(FilterPhase::kNoop));
  Begin();
  Ask(FilterPhase::kNoop);
  EXPECT_EQ(Decision(), "p");
  EXPECT_EQ(a->asked, 0);
  EXPECT_EQ(b->asked, 1);
}

TEST_F(ChainSessionTest, ResponsesAndReportsAreTold) {
  ScriptedLink* const a = Add("a", MaskOf(FilterPhase::kConnect));
  ScriptedLink* const b = Add("b", 0);
  b->events =
      MaskOf(FilterEvent::kFilterResponse) | MaskOf(FilterEvent::kFilterReport);
  a->answer = Answer(V::kReport, "a | b");
  // Of every command, whether somebody was asked or not; and not as events
  // that others report.
  EXPECT_EQ(chain_.Wants().phases, kAskedPhases);
  EXPECT_EQ(chain_.Wants().in, 0u);
  Begin();
  Ask(FilterPhase::kConnect);
  EXPECT_EQ(Decision(), "p");
  Ask(FilterPhase::kStartTls);
  EXPECT_EQ(Decision(), "p");
  a->answer = Answer(V::kDisconnect, "554 bye");
  Ask(FilterPhase::kConnect);
  EXPECT_EQ(Decision(), "d 554 bye");
  EXPECT_THAT(b->heard, ElementsAre("filter-report|builtin|a|a | b",
                                    "filter-response|connected|proceed",
                                    "filter-response|tls|proceed",
                                    "filter-response|connected|disconnect|"
                                    "554 bye"));
  EXPECT_THAT(a->heard, IsEmpty());
}

// A line `report|...` of a process.
TEST_F(ChainSessionTest, WhatAProcessReportsByItself) {
  FilterProgram* const program = AddProgram("virus");
  FakeFilter* const filter = StartReady(program, {"report filter-report"});
  ScriptedLink* const b = Add("b");
  b->events = MaskOf(FilterEvent::kFilterReport);
  Begin();
  filter->Say("report|1795324000.5|smtp-in|0123456789abcdef|found | it");
  // Of a session that is gone.
  filter->Say("report|1795324000.5|smtp-in|7|found");
  loop_.RunReady();
  EXPECT_THAT(b->heard, ElementsAre("filter-report|proc|virus|found | it"));
  EXPECT_THAT(filter->Lines(),
              ElementsAre("report|0.7|1795324000.000000|smtp-in|filter-report|"
                          "0123456789abcdef|proc|virus|found | it"));
  EXPECT_THAT(killed_, IsEmpty());
}

TEST_F(ChainSessionTest, OnlyOneQuestionAtATime) {
  FilterProgram* const program = AddProgram("f");
  StartReady(program, {"noop"});
  Begin();
  EXPECT_TRUE(Ask(FilterPhase::kNoop));
  EXPECT_FALSE(Ask(FilterPhase::kNoop));
}

TEST_F(ChainSessionTest, PhasesThatAreNoQuestionsAreRefused) {
  Add("a");
  Begin();
  for (const FilterPhase phase :
       {FilterPhase::kDataLine, FilterPhase::kHelp, FilterPhase::kWiz})
    EXPECT_FALSE(Ask(phase));
}

TEST_F(ChainSessionTest, WhatIsNoPhaseAndNoEventIsRefused) {
  ScriptedLink* const a = Add("a");
  a->events = kAllFilterEvents;
  ChainSession* const session = Begin();
  a->heard.clear();
  for (const int value : {kFilterPhases, 32 + 5, 255})
    EXPECT_FALSE(Ask(static_cast<FilterPhase>(value))) << value;
  FilterReport report;
  report.session = kSession;
  for (const int value : {kFilterEvents, 32 + 2, 64 + 2, 255}) {
    report.event = static_cast<FilterEvent>(value);
    EXPECT_FALSE(session->OnReport(report)) << value;
  }
  report.event = FilterEvent::kTimeout;
  EXPECT_TRUE(session->OnReport(report));
  EXPECT_EQ(a->asked, 0);
  EXPECT_THAT(a->heard, ElementsAre("timeout"));
}

// Where there is no argument, nothing is rewritten and the others are asked.
TEST_F(ChainSessionTest, OnlyArgumentsAreRewritten) {
  ScriptedLink* const a = Add("a");
  ScriptedLink* const b = Add("b");
  ScriptedLink* const c = Add("c");
  a->answer.add_recipients = {"<a@x>"};
  b->answer = Answer(V::kRewrite, "other");
  c->answer = Answer(V::kReject, "550 no");
  Begin();
  for (const FilterPhase phase :
       {FilterPhase::kConnect, FilterPhase::kStartTls, FilterPhase::kData,
        FilterPhase::kRset, FilterPhase::kQuit, FilterPhase::kNoop}) {
    Ask(phase);
    EXPECT_EQ(Decision(), "r 550 no");
  }
  c->answer = LinkAnswer();
  Ask(FilterPhase::kCommit);
  loop_.RunReady();
  ASSERT_THAT(decisions_, SizeIs(1));
  EXPECT_EQ(decisions_[0].verdict, FilterDecision::Verdict::kProceed);
  EXPECT_EQ(decisions_[0].text, "");
  EXPECT_THAT(decisions_[0].add_recipients, ElementsAre("<a@x>"));
  decisions_.clear();
  for (const FilterPhase phase :
       {FilterPhase::kHelo, FilterPhase::kEhlo, FilterPhase::kAuth,
        FilterPhase::kMailFrom, FilterPhase::kRcptTo}) {
    Ask(phase, "one");
    EXPECT_EQ(Decision(), "w other");
  }
}

// It may hold a password.
TEST_F(ChainSessionTest, ARewrittenAuthIsNotTold) {
  ScriptedLink* const a = Add("a");
  a->events = MaskOf(FilterEvent::kFilterResponse);
  a->answer = Answer(V::kRewrite, "PLAIN c2VjcmV0");
  Begin();
  Ask(FilterPhase::kAuth, "PLAIN b3RoZXI=");
  EXPECT_EQ(Decision(), "w PLAIN c2VjcmV0");
  a->answer = Answer(V::kReject, "535 no");
  Ask(FilterPhase::kAuth, "PLAIN b3RoZXI=");
  EXPECT_EQ(Decision(), "r 535 no");
  EXPECT_THAT(a->heard, ElementsAre("filter-response|auth|rewrite|********",
                                    "filter-response|auth|reject|535 no"));
}

TEST_F(ChainSessionTest, ChangesOfSeveralAreAddedUp) {
  ScriptedLink* const a = Add("a");
  ScriptedLink* const b = Add("b");
  a->answer.add_recipients = {"<a@x>"};
  a->answer.quarantine = true;
  a->answer.reason = "first";
  a->answer.changes_sender = true;
  a->answer.sender = "<s@x>";
  b->answer.add_recipients = {"<b@x>"};
  b->answer.remove_recipients = {"<c@x>"};
  b->answer.quarantine = true;
  b->answer.reason = "second";
  Begin();
  Ask(FilterPhase::kCommit);
  loop_.RunReady();
  ASSERT_THAT(decisions_, SizeIs(1));
  const FilterDecision& d = decisions_[0];
  EXPECT_EQ(d.verdict, FilterDecision::Verdict::kProceed);
  EXPECT_THAT(d.add_recipients, ElementsAre("<a@x>", "<b@x>"));
  EXPECT_THAT(d.remove_recipients, ElementsAre("<c@x>"));
  EXPECT_TRUE(d.quarantine);
  EXPECT_EQ(d.reason, "first");
  EXPECT_EQ(d.sender, "<s@x>");
}

// A session of another filter is none of a process's business.
TEST_F(ChainSessionTest, AProcessHearsOnlyOfSessionsThatPassIt) {
  FilterProgram* const program = AddProgram("f");
  FakeFilter* const filter = StartReady(program, {"report *"});
  chain_.links.clear();
  Add("other");
  Begin();
  Report(FilterEvent::kLinkGreeting, {"mx.test"});
  Ask(FilterPhase::kNoop);
  End();
  EXPECT_THAT(filter->Lines(), IsEmpty());
}

}  // namespace
}  // namespace holdfast
