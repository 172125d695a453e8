// The text of messages through processes: order, stuffing, credits, what
// becomes of messages that are given up.
#include <gmock/gmock.h>

#include "protocol/filter_lines.h"
#include "server/filters/filter_bed.h"

namespace holdfast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class ProcessTextTest : public FilterBed {
 protected:
  static constexpr char kPrefix[] =
      "filter|0.7|1795324000.000000|smtp-in|data-line|0123456789abcdef|"
      "0000000000001008|";
  static std::string Dataline(const std::string& line) {
    return "filter-dataline|0123456789abcdef|0000000000001008|" + line;
  }
  FakeFilter* Ready(const std::string& name) {
    return StartReady(AddProgram(name), {"data-line"});
  }
};

TEST_F(ProcessTextTest, LinesGoAndComeBack) {
  FakeFilter* const filter = Ready("f");
  Begin();
  EXPECT_TRUE(Text("Subject: x\n\n.\n"));
  EXPECT_TRUE(Text(".dot", true));
  const std::string p = kPrefix;
  EXPECT_THAT(filter->Lines(),
              ElementsAre(p + "Subject: x", p, p + "..", p + "..dot", p + "."));
  EXPECT_EQ(taken_, 18u);
  for (const char* line : {"X-Seen: yes", "Subject: x", "", "..", "."})
    filter->Say(Dataline(line));
  loop_.RunReady();
  EXPECT_EQ(text_, "X-Seen: yes\nSubject: x\n\n.\n");
  EXPECT_EQ(ends_, 1);
  EXPECT_THAT(log_, IsEmpty());
}

TEST_F(ProcessTextTest, AllAtTheEndIsFineToo) {
  FakeFilter* const filter = Ready("f");
  Begin();
  Text("a\nb\n");
  EXPECT_EQ(text_, "");
  Text("c\n", true);
  EXPECT_EQ(Echo(filter), 4u);
  EXPECT_EQ(text_, "a\nb\nc\n");
  EXPECT_EQ(ends_, 1);
}

TEST_F(ProcessTextTest, OneAfterTheOther) {
  FakeFilter* const first = Ready("first");
  FakeFilter* const second = Ready("second");
  Begin();
  Text("a\n");
  Text("b\n", true);
  EXPECT_THAT(second->Lines(), IsEmpty());
  first->Say(Dataline("one"));
  loop_.RunReady();
  const auto lines = second->Lines();
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_EQ(Fields(lines[0])[7], "one");
  EXPECT_EQ(ends_, 0);
  first->Say(Dataline("."));
  loop_.RunReady();
  second->Say("filter-dataline|0123456789abcdef|0000000000002008|from second");
  second->Say("filter-dataline|0123456789abcdef|0000000000002008|.");
  loop_.RunReady();
  EXPECT_EQ(text_, "from second\n");
  EXPECT_EQ(ends_, 1);
}

TEST_F(ProcessTextTest, ASecondMessageOfTheSession) {
  FakeFilter* const filter = Ready("f");
  Begin();
  for (int i = 0; i < 3; ++i) {
    text_.clear();
    Text("x\n", true);
    Echo(filter);
    EXPECT_EQ(text_, "x\n");
    EXPECT_EQ(ends_, i + 1);
    Take(2);
  }
}

// What comes out waits for credit, and what goes in for the process.
TEST_F(ProcessTextTest, NoMoreComesThanIsTaken) {
  FakeFilter* const filter = Ready("f");
  Begin();
  const std::string line(1023, 'x');
  Text(line + "\n", true);
  filter->Lines();
  for (int i = 0; i < 100; ++i) {
    filter->Say(Dataline(line));
    loop_.RunReady();
  }
  filter->Say(Dataline("."));
  loop_.RunReady();
  EXPECT_EQ(text_.size(), kFilterWindow);
  EXPECT_EQ(ends_, 0);
  Take(1000);
  EXPECT_EQ(text_.size(), kFilterWindow + 1000);
  Take(kFilterWindow);
  EXPECT_EQ(text_.size(), 100u * 1024);
  EXPECT_EQ(ends_, 1);
}

TEST_F(ProcessTextTest, AProcessThatIsBehindGetsNoMore) {
  FakeFilter* const filter = Ready("f");
  // Fills what the kernel holds, and then the backlog.
  const std::string line(1023, 'x');
  std::string chunk;
  for (size_t i = 0; i < kFilterWindow / 1024; ++i) chunk += line + "\n";
  size_t sessions = 0;
  while (taken_ == sessions * kFilterWindow && sessions < 1000) {
    ++sessions;
    Begin(SessionId(sessions));
    ASSERT_TRUE(Text(chunk, false, SessionId(sessions)));
  }
  // The last has been told nothing, and no other is.
  EXPECT_LT(sessions, 100u);
  EXPECT_GT(taken_, kMaxProcessBacklog);
  EXPECT_LT(taken_, 4 * kMaxProcessBacklog);
  Begin();
  EXPECT_TRUE(Text("other\n", true));
  const size_t before = taken_;
  // As soon as it reads, all goes on, in turn.
  size_t lines = 0;
  for (int i = 0; i < 1000; ++i) {
    lines += filter->Lines().size();
    loop_.RunReady();
  }
  EXPECT_EQ(taken_, sessions * kFilterWindow + 6);
  EXPECT_GT(taken_, before);
  EXPECT_EQ(lines, sessions * (kFilterWindow / 1024) + 2);
  EXPECT_THAT(killed_, IsEmpty());
}

TEST_F(ProcessTextTest, MoreTextThanItsCreditIsRefused) {
  Ready("f");
  Begin();
  EXPECT_FALSE(Text(std::string(kFilterWindow + 1, 'x')));
}

TEST_F(ProcessTextTest, NoTextBehindTheEnd) {
  Ready("f");
  Begin();
  EXPECT_TRUE(Text("a\n", true));
  EXPECT_FALSE(Text("b\n"));
}

// The process learns that it ends; what it still says is nobody's, and the
// next message waits for it.
TEST_F(ProcessTextTest, AMessageThatIsGivenUp) {
  FakeFilter* const filter = Ready("f");
  ChainSession* const session = Begin();
  Text("old\nhal");
  session->OnDropped();
  loop_.RunReady();
  EXPECT_THAT(dropped_, ElementsAre(""));
  const std::string p = kPrefix;
  EXPECT_THAT(filter->Lines(), ElementsAre(p + "old", p + "hal", p + "."));
  Text("new\n", true);
  EXPECT_THAT(filter->Lines(), IsEmpty());
  filter->Say(Dataline("old"));
  filter->Say(Dataline("."));
  loop_.RunReady();
  EXPECT_EQ(text_, "");
  EXPECT_EQ(ends_, 0);
  EXPECT_THAT(filter->Lines(), ElementsAre(p + "new", p + "."));
  filter->Say(Dataline("new"));
  filter->Say(Dataline("."));
  loop_.RunReady();
  EXPECT_EQ(text_, "new\n");
  EXPECT_EQ(ends_, 1);
}

TEST_F(ProcessTextTest, ADropWithoutTextIsAnswered) {
  Ready("f");
  Begin()->OnDropped();
  loop_.RunReady();
  EXPECT_THAT(dropped_, ElementsAre(""));
}

// A client that goes away has not sent a whole message: no end is made up.
TEST_F(ProcessTextTest, AMessageOfASessionThatEndsHasNoEnd) {
  FakeFilter* const filter = Ready("f");
  Begin();
  Text("half\n");
  EXPECT_THAT(filter->Lines(), SizeIs(1));
  End();
  EXPECT_THAT(filter->Lines(), IsEmpty());
  filter->Say(Dataline("half"));
  loop_.RunReady();
  EXPECT_THAT(killed_, IsEmpty());
}

TEST_F(ProcessTextTest, ALineThatIsTooLong) {
  FakeFilter* const filter = Ready("f");
  ChainSession* const session = Begin();
  for (size_t sent = 0; sent <= kMaxFilterLine; sent += kFilterWindow)
    ASSERT_TRUE(Text(std::string(kFilterWindow, 'x')));
  EXPECT_THAT(dropped_, ElementsAre("500 5.6.0 Line too long"));
  // What was on its way is not taken for another message.
  EXPECT_TRUE(Text("more\n", true));
  session->OnDropped();
  loop_.RunReady();
  EXPECT_THAT(dropped_, ElementsAre("500 5.6.0 Line too long", ""));
  EXPECT_THAT(killed_, IsEmpty());
  filter->Lines();
}

TEST_F(ProcessTextTest, IncompleteLinesOfAllTogetherAreBounded) {
  Ready("f");
  uint64_t sessions = 0;
  while (dropped_.empty() && sessions < 200) {
    Begin(SessionId(++sessions));
    for (size_t sent = 0; sent < kMaxFilterLine; sent += kFilterWindow)
      ASSERT_TRUE(
          Text(std::string(kFilterWindow, 'x'), false, SessionId(sessions)));
  }
  EXPECT_THAT(dropped_, ElementsAre("451 4.3.0 Temporary failure"));
  EXPECT_EQ(sessions, kMaxHeldLines / (kMaxFilterLine - kFreeLineBytes) + 1);
  // Lines as they are go on.
  Begin();
  EXPECT_TRUE(Text("short", true));
  EXPECT_THAT(dropped_, SizeIs(1));
}

// Of text that came back and cannot go on, no more than a bound is held.
TEST_F(ProcessTextTest, AFilterThatSaysMoreThanCanGoOnIsNotReadFrom) {
  FakeFilter* const filter = Ready("f");
  Begin();
  Text("x\n", true);
  filter->Lines();
  const std::string line = Dataline(std::string(60000, 'x'));
  size_t said = 0;
  std::string rest;
  for (int i = 0; i < 1000; ++i) {
    filter->Say(line);
    loop_.RunReady();
    said += 60001;
    if (said > kMaxHeldOutput + kFilterWindow + 100000) break;
  }
  // It is full: the kernel takes a little more, and then nothing.
  EXPECT_EQ(text_.size(), kFilterWindow);
  // An answer that could not come is no reason to kill it, and while something
  // is taken nothing is given up.
  for (int i = 0; i < 60; ++i) {
    Take(100);
    loop_.Advance(absl::Minutes(1));
  }
  EXPECT_THAT(killed_, IsEmpty());
  EXPECT_THAT(dropped_, IsEmpty());
  while (text_.size() < said) {
    const size_t had = text_.size();
    Take(kFilterWindow);
    if (text_.size() == had) break;
  }
  EXPECT_EQ(text_.size(), said);
}

// Two processes that wait for each other would wait for ever.
TEST_F(ProcessTextTest, WhatNobodyTakesIsGivenUp) {
  FakeFilter* const filter = Ready("f");
  Begin();
  Text("x\n", true);
  Begin(SessionId(5));
  Text("y\n", true, SessionId(5));
  const std::vector<std::string> lines = filter->Lines();
  const std::string line = Dataline(std::string(60000, 'x'));
  for (size_t said = 0; said < kMaxHeldOutput + 3 * kFilterWindow;
       said += line.size()) {
    filter->Say(line);
    loop_.RunReady();
  }
  loop_.Advance(absl::Minutes(1));
  EXPECT_THAT(dropped_, IsEmpty());
  loop_.Advance(absl::Minutes(1));
  loop_.RunReady();
  // That of the session which holds most.
  EXPECT_THAT(dropped_, ElementsAre("451 4.3.0 Temporary failure"));
  EXPECT_THAT(log_, ElementsAre("warn: filter f: nothing of what it says was "
                                "taken for 2m; messages refused for now: 1"));
  EXPECT_THAT(killed_, IsEmpty());
  // It is heard again.
  text_.clear();
  filter->Say("filter-dataline|0000000000000005|0000000000001008|z");
  filter->Say("filter-dataline|0000000000000005|0000000000001008|.");
  loop_.RunReady();
  EXPECT_EQ(text_, "z\n");
  EXPECT_EQ(ends_, 1);
}

// The process is gone and may be missing: the text comes back unchanged, no
// faster than it is taken.
TEST_F(ProcessTextTest, TheTextThatNobodyWantsHasCreditsToo) {
  FilterCare care;
  care.accept_on_failure = true;
  FilterProgram* const program = AddProgram("f", care);
  FakeFilter* const filter = StartReady(program, {"data-line"});
  Begin();
  filter->Exit();
  loop_.RunReady();
  StartReady(program, {"data-line"});
  const std::string bytes(60000, 'x');
  EXPECT_TRUE(Text(bytes));
  EXPECT_EQ(text_.size(), bytes.size());
  EXPECT_EQ(taken_, 0u);
  for (size_t i = 1; i < 5; ++i) {
    Take(bytes.size());
    EXPECT_EQ(taken_, i * bytes.size());
    EXPECT_TRUE(Text(bytes));
  }
  // All but what is on its way.
  EXPECT_FALSE(Text(bytes));
  EXPECT_EQ(text_.size(), 5 * bytes.size());
}

}  // namespace
}  // namespace holdfast
