#include "server/filter_client/filter_client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr SessionId kSession{0x103e0bd67641321e};

class FilterClientTest : public testing::Test, protected FilteredSessionOwner {
 protected:
  FilterClientTest() { Connect(); }

  void Connect() {
    auto [ours, theirs] = MakeDoorPair(&loop_);
    filters_ = std::move(theirs);
    filters_->SetCallbacks([this](Frame& frame) { OnFrame(frame); },
                           [](absl::Status) {});
    client_.SetDoor(std::move(ours));
    loop_.RunReady();
  }
  void Tell(const char* filter, uint32_t phases, uint32_t in) {
    FilterWants wants;
    wants.filter = filter;
    wants.phases = phases;
    wants.in = in;
    Say(wants);
  }
  template <class Message>
  void Say(const Message& message) {
    filters_->Send(message);
    loop_.RunReady();
  }
  void Give(absl::string_view bytes, bool end) {
    FilterText text;
    text.session = kSession;
    text.bytes = std::string(bytes);
    text.end = end;
    Say(text);
  }
  void Take(uint32_t bytes) {
    FilterTextTaken taken;
    taken.session = kSession;
    taken.bytes = bytes;
    Say(taken);
  }
  void Drop(const std::string& reply) {
    FilterTextDropped dropped;
    dropped.session = kSession;
    dropped.reply = reply;
    Say(dropped);
  }
  std::shared_ptr<FilteredSession> Begin() {
    FilterSession session;
    session.session = kSession;
    session.filter = "f";
    std::shared_ptr<FilteredSession> link = client_.Begin(session, this);
    loop_.RunReady();
    return link;
  }
  std::vector<std::string> TakeHeard() {
    loop_.RunReady();
    return std::exchange(heard_, {});
  }

  void OnFrame(Frame& frame) {
    const auto hear = [this](const auto&... words) {
      heard_.push_back(absl::StrCat(words...));
    };
    Dispatch<FilterSession, FilterSessionEnded, FilterReport, FilterQuestion,
             FilterText, FilterTextTaken, FilterTextDropped>(
        frame, [&](const auto& m) {
          using M = std::decay_t<decltype(m)>;
          if constexpr (std::is_same_v<M, FilterSession>) {
            hear("session ", m.filter);
          } else if constexpr (std::is_same_v<M, FilterSessionEnded>) {
            hear("ended");
          } else if constexpr (std::is_same_v<M, FilterReport>) {
            hear("report ", std::string(FilterEventName(m.event)), " ",
                 absl::StrJoin(m.fields, "|"));
          } else if constexpr (std::is_same_v<M, FilterQuestion>) {
            hear("question ", m.question, " ",
                 std::string(FilterPhaseName(m.phase)), " ", m.argument);
          } else if constexpr (std::is_same_v<M, FilterText>) {
            hear("text ", m.bytes, m.end ? "." : "");
          } else if constexpr (std::is_same_v<M, FilterTextTaken>) {
            hear("taken ", m.bytes);
          } else {
            hear("dropped ", m.reply);
          }
        });
  }
  void OnFilterText(absl::string_view bytes, bool end) override {
    absl::StrAppend(&text_, bytes, end ? "." : "");
  }
  void OnFilterTextRoom() override { ++rooms_; }
  void OnFilterTextFailed(const std::string& reply) override {
    failed_.push_back(reply);
  }

  FakeEventLoop loop_;
  std::unique_ptr<Door> filters_;
  std::vector<std::string> heard_;
  std::string text_;
  int rooms_ = 0;
  std::vector<std::string> failed_;
  int wants_told_ = 0;
  int taken_told_ = 0;
  int broken_told_ = 0;
  FilterClient client_{&loop_, "receive", [this] { ++wants_told_; },
                       [this] { ++taken_told_; }, [this] { ++broken_told_; }};
};

TEST_F(FilterClientTest, NoSessionBeginsUntilItIsKnownWhatIsWanted) {
  EXPECT_EQ(client_.Wants("f"), nullptr);
  EXPECT_EQ(Begin(), nullptr);
  Tell("other", 0, 0);
  EXPECT_EQ(Begin(), nullptr);
  Tell("f", MaskOf(FilterPhase::kHelo), MaskOf(FilterEvent::kTxBegin));
  EXPECT_EQ(wants_told_, 2);
  {
    const std::shared_ptr<FilteredSession> link = Begin();
    ASSERT_NE(link, nullptr);
    EXPECT_TRUE(link->Wants(FilterPhase::kHelo));
    EXPECT_FALSE(link->Wants(FilterPhase::kEhlo));
    link->Report(FilterEvent::kTxBegin, {"686036a3"});
    link->Report(FilterEvent::kTxReset, {"686036a3"});
    EXPECT_THAT(TakeHeard(),
                ElementsAre("session f", "report tx-begin 686036a3"));
  }
  EXPECT_THAT(TakeHeard(), ElementsAre("ended"));
}

TEST_F(FilterClientTest, OnlyTheOpenQuestionIsAnswered) {
  Tell("f", MaskOf(FilterPhase::kHelo), 0);
  std::shared_ptr<FilteredSession> link = Begin();
  std::vector<std::string> decided;
  link->Ask(FilterPhase::kHelo, "c2", "", [&](const FilterDecision* decision) {
    decided.push_back(decision->text);
  });
  EXPECT_THAT(TakeHeard(), ElementsAre("session f", "question 1 helo c2"));
  FilterDecision decision;
  decision.session = kSession;
  decision.question = 2;
  decision.text = "other";
  Say(decision);
  decision.session = SessionId{7};
  decision.question = 1;
  Say(decision);
  EXPECT_THAT(decided, IsEmpty());
  decision.session = kSession;
  decision.text = "mine";
  Say(decision);
  Say(decision);
  EXPECT_THAT(decided, ElementsAre("mine"));
}

TEST_F(FilterClientTest, TextGoesBothWaysWithCredit) {
  Tell("f", MaskOf(FilterPhase::kDataLine), 0);
  std::shared_ptr<FilteredSession> link = Begin();
  TakeHeard();
  EXPECT_EQ(link->TextRoom(), kFilterWindow);
  link->SendText("abc", false);
  EXPECT_EQ(link->TextRoom(), kFilterWindow - 3);
  Take(2);
  EXPECT_EQ(rooms_, 1);
  EXPECT_EQ(link->TextRoom(), kFilterWindow - 1);
  link->SendText("", true);
  EXPECT_THAT(TakeHeard(), ElementsAre("text abc", "text ."));
  Give("ABC", false);
  Give("", true);
  EXPECT_EQ(text_, "ABC.");
  EXPECT_FALSE(link->text_open());
  link->TookText(3);
  link->TookText(3);
  EXPECT_THAT(TakeHeard(), ElementsAre("taken 3"));
  EXPECT_TRUE(client_.connected());
}

TEST_F(FilterClientTest, WhatComesBackOfADroppedTextIsIgnored) {
  Tell("f", MaskOf(FilterPhase::kDataLine), 0);
  std::shared_ptr<FilteredSession> link = Begin();
  link->SendText("old", false);
  link->DropText();
  link->DropText();
  link->SendText("new", false);
  EXPECT_THAT(TakeHeard(),
              ElementsAre("session f", "text old", "dropped ", "text new"));
  Give("OLD", false);
  Take(3);
  // Theirs crossed ours.
  Drop("451 4.3.0 Temporary failure");
  EXPECT_EQ(text_, "");
  EXPECT_EQ(rooms_, 0);
  Drop("");
  EXPECT_THAT(failed_, IsEmpty());
  Take(3);
  Give("NEW", false);
  EXPECT_EQ(text_, "NEW");
  EXPECT_EQ(rooms_, 1);
}

TEST_F(FilterClientTest, AFilterThatCannotGivesTheReply) {
  Tell("f", MaskOf(FilterPhase::kDataLine), 0);
  std::shared_ptr<FilteredSession> link = Begin();
  link->SendText("x", true);
  TakeHeard();
  Drop("500 5.6.0 Line too long");
  EXPECT_THAT(failed_, ElementsAre("500 5.6.0 Line too long"));
  EXPECT_FALSE(link->text_open());
  // So that the room knows where the old text ends.
  EXPECT_THAT(TakeHeard(), ElementsAre("dropped "));
  Drop("");
  EXPECT_EQ(failed_.size(), 1u);
}

TEST_F(FilterClientTest, WithTheRoomEverythingOfItIsLost) {
  Tell("f", MaskOf(FilterPhase::kDataLine), kAllFilterEvents);
  std::shared_ptr<FilteredSession> asks = Begin();
  int answers = 0;
  asks->Ask(FilterPhase::kHelo, "", "", [&](const FilterDecision* decision) {
    EXPECT_EQ(decision, nullptr);
    ++answers;
  });
  asks->SendText("x", false);
  filters_.reset();
  loop_.RunReady();
  EXPECT_EQ(answers, 1);
  EXPECT_THAT(failed_, ElementsAre(kFiltersLost));
  EXPECT_TRUE(asks->lost());
  EXPECT_EQ(client_.Wants("f"), nullptr);
  // The next one knows nothing of it, and hears nothing.
  Connect();
  Tell("f", 0, kAllFilterEvents);
  TakeHeard();
  asks->Ask(FilterPhase::kHelo, "", "",
            [&](const FilterDecision*) { ++answers; });
  EXPECT_EQ(answers, 2);
  asks->Report(FilterEvent::kTxBegin, {"1"});
  asks.reset();
  EXPECT_THAT(TakeHeard(), IsEmpty());
  EXPECT_NE(Begin(), nullptr);
}

TEST_F(FilterClientTest, ARoomThatIsNotSaneIsDropped) {
  const auto lost = [this](const std::function<void()>& lie) {
    if (!client_.connected()) Connect();
    Tell("f", MaskOf(FilterPhase::kDataLine), 0);
    std::shared_ptr<FilteredSession> link = Begin();
    link->SendText("x", false);
    loop_.RunReady();
    lie();
    return link->lost();
  };
  EXPECT_TRUE(
      lost([this] { Give(std::string(kFilterWindow + 1, 'x'), false); }));
  EXPECT_TRUE(lost([this] { Give("x", true); }));  // before our end
  EXPECT_TRUE(lost([this] { Take(2); }));
  EXPECT_TRUE(lost([this] { Say(FilterQuestion{}); }));
  // Who lives would give no other door.
  EXPECT_EQ(broken_told_, 4);
  EXPECT_FALSE(lost([this] { Take(1); }));
  // Its end is nobody's fault here: another comes.
  EXPECT_TRUE(lost([this] {
    filters_.reset();
    loop_.RunReady();
  }));
  EXPECT_EQ(broken_told_, 4);
}

TEST_F(FilterClientTest, TheEndOfASessionSaysAllOfItsText) {
  Tell("f", MaskOf(FilterPhase::kDataLine), 0);
  std::shared_ptr<FilteredSession> link = Begin();
  link->SendText("x", false);
  Give("x", false);
  TakeHeard();
  link->ForgetText();
  link->TookText(1);
  link->DropText();
  link.reset();
  EXPECT_THAT(TakeHeard(), ElementsAre("ended"));
}

TEST_F(FilterClientTest, TheSameNumberMayBeginAnew) {
  Tell("f", 0, kAllFilterEvents);
  std::shared_ptr<FilteredSession> link = Begin();
  link.reset();
  link = Begin();
  EXPECT_THAT(TakeHeard(), ElementsAre("session f", "ended", "session f"));
  int answers = 0;
  link->Ask(FilterPhase::kConnect, "", "",
            [&](const FilterDecision*) { ++answers; });
  FilterDecision decision;
  decision.session = kSession;
  decision.question = 1;
  Say(decision);
  EXPECT_EQ(answers, 1);
}

TEST_F(FilterClientTest, WhatIsNotTakenStopsSessions) {
  Tell("f", 0, kAllFilterEvents);
  std::shared_ptr<FilteredSession> link = Begin();
  filters_->PauseReading();
  size_t reports = 0;
  for (; client_.MayGoOn() && reports < 1000; ++reports) {
    link->Report(FilterEvent::kProtocolClient, {std::string(100000, 'x')});
    loop_.RunReady();
  }
  EXPECT_LT(reports, 1000u);
  EXPECT_EQ(taken_told_, 0);
  filters_->ResumeReading();
  loop_.RunReady();
  EXPECT_EQ(taken_told_, 1);
  EXPECT_TRUE(client_.MayGoOn());
}

}  // namespace
}  // namespace holdfast
