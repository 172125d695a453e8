// What becomes of sessions and messages when a milter fails, hangs, or wants
// too much.
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/milter_header.h"
#include "server/filters/milter_filter.h"
#include "server/filters/milter_test_bed.h"

namespace holdfast {
namespace {

using namespace std::string_literals;

TEST_F(MilterFilterTest, AcceptedForTheWholeSession) {
  answers_['H'] = P("a");
  Begin();
  EXPECT_EQ(Ask(FilterPhase::kAuth, "PLAIN secret"), "not asked");
  EXPECT_EQ(Ask(FilterPhase::kConnect), "proceed");
  EXPECT_EQ(Ask(FilterPhase::kHelo, "x"), "proceed");
  EXPECT_EQ(Ask(FilterPhase::kMailFrom, "a@b"), "not asked");
  EXPECT_FALSE(session_->Wants(FilterPhase::kDataLine));
  loop_->Run();
  // It is let go, and not missed.
  EXPECT_TRUE(milter_->closed);
  EXPECT_EQ(milter_->heard, "OCHQ");
}

TEST_F(MilterFilterTest, ADisconnectAtTheEndOfAMessageIsForTheSession) {
  answers_['E'] = P("4");
  UpToData();
  EXPECT_EQ(Pass("To: x\n\n"), "421 4.7.0 Service not available");
  EXPECT_EQ(Ask(FilterPhase::kMailFrom, "a@b"),
            "disconnect 421 4.3.0 Temporary failure");
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

// A milter that goes away while the text, as it wants it, is on its way.
template <class Base>
class GoneBehindItsVerdict : public Base {
 protected:
  void OnText(absl::string_view bytes) override {
    if (this->output_.empty())
      this->loop_->Post([this] { this->milter_ = nullptr; });
    absl::StrAppend(&this->output_, bytes);
    TakeLater(6, bytes.size());
  }
  void TakeLater(int turns, size_t bytes) {
    this->loop_->Post([this, turns, bytes] {
      if (turns > 0) return TakeLater(turns - 1, bytes);
      if (this->stage_ != nullptr) this->stage_->OutputTaken(bytes);
    });
  }
  void ExpectVerdictDone(size_t body) {
    for (const bool accept : {false, true}) {
      this->filter_.care.accept_on_failure = accept;
      this->answers_['E'].clear();
      for (size_t n = 0; n < body; n += 32000)
        this->answers_['E'] += P("b" + std::string(32000, 'N'));
      this->answers_['E'] += P("hX-Big\0"s + std::string(3000, 'h') + "\0"s) +
                             P("qvirus\0"s) + P("c");
      this->UpToData();
      EXPECT_EQ(this->Pass("To: x\n\nvirus\n"), "end");
      EXPECT_EQ(this->output_,
                absl::StrCat("To: x\nX-Big: ", std::string(3000, 'h'), "\n\n",
                             std::string(body, 'N'), "\n"));
      EXPECT_EQ(this->Ask(FilterPhase::kCommit), "proceed");
      EXPECT_TRUE(this->answer_.quarantine);
      EXPECT_EQ(
          this->Ask(FilterPhase::kMailFrom, "a@b"),
          accept ? "not asked" : "disconnect 421 4.3.0 Temporary failure");
    }
  }
};
using GoneBehindItsVerdictTest = GoneBehindItsVerdict<MilterFilterTest>;
using GoneBehindItsVerdictFileTest = GoneBehindItsVerdict<MilterFilterFileTest>;

TEST_F(GoneBehindItsVerdictTest, ItStands) { ExpectVerdictDone(64000); }

TEST_F(GoneBehindItsVerdictFileTest, ItStands) { ExpectVerdictDone(640000); }

TEST_F(MilterFilterTest, ADiscardOutlivesItsMilter) {
  for (const char at : {'M', 'E'}) {
    SCOPED_TRACE(at);
    filter_.care.accept_on_failure = true;
    answers_ = {{at, P("d")}};
    UpToData();
    if (at == 'E') {
      EXPECT_EQ(Pass("To: x\n\nvirus\n"), "end");
    }
    milter_ = nullptr;
    loop_->Run();
    EXPECT_FALSE(session_->Wants(FilterPhase::kDataLine));
    EXPECT_EQ(Ask(FilterPhase::kCommit), "discard");
    EXPECT_EQ(Ask(FilterPhase::kCommit), "not asked");
  }
}

// It says goodbye when the message that it was asked about is given up.
TEST_F(MilterFilterTest, GoneWhileItsMessageIsDropped) {
  for (const bool asked_before : {false, true}) {
    SCOPED_TRACE(asked_before);
    answers_['B'] = "";
    UpToData();
    stage_ = session_->BeginText(this);
    in_ = 12;
    stage_->Write("To: x\n\nbody\n");
    stage_->End();
    loop_->Run();
    EXPECT_EQ(milter_->heard, "OCHMRTLNB");
    stage_ = nullptr;
    session_->OnReport(absl::Now(), FilterEvent::kTxRollback, {});
    if (asked_before) {
      loop_->Post([this] { milter_->Say(P("f")); });
    } else {
      milter_->Say(P("f"));
      loop_->Run();
    }
    EXPECT_EQ(Ask(FilterPhase::kMailFrom, "evil@b"),
              "disconnect 421 4.3.0 Temporary failure");
    EXPECT_EQ(Ask(FilterPhase::kRcptTo, "c@d"),
              "disconnect 421 4.3.0 Temporary failure");
    EXPECT_EQ(Pass("To: x\n\nbody\n"), "451 4.3.0 Temporary failure");
  }
}

TEST_F(MilterFilterTest, ReadOnWhenAPausedMessageIsDropped) {
  answers_['E'].clear();
  for (int i = 0; i < 12; ++i)
    answers_['E'] += P("b" + std::string(60000, 'N'));
  UpToData();
  // The file gets nothing for now.
  absl::Notification release;
  background_.Run([&release] {
    release.WaitForNotification();
    return [] {};
  });
  stage_ = session_->BeginText(this);
  in_ = 12;
  stage_->Write("To: x\n\nbody\n");
  stage_->End();
  for (int i = 0; i < 100; ++i)
    static_cast<FakeEventLoop*>(loop_.get())->RunReady();
  stage_ = nullptr;
  release.Notify();
  session_->OnReport(absl::Now(), FilterEvent::kTxReset, {"0123abcd"});
  milter_->Say(P("c"));
  EXPECT_EQ(Ask(FilterPhase::kMailFrom, "a@b"), "proceed");
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

TEST_F(MilterFilterTest, TooManyFields) {
  UpToData();
  std::string header;
  for (size_t i = 0; i <= kMaxMilterHeaderFields; ++i) header += "A:\n";
  EXPECT_EQ(Pass(header + "\n"), "552 5.3.4 Message header too large");
  EXPECT_EQ(milter_->heard, "OCHMRT");
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
