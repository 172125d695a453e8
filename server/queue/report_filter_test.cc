// Reports that pass the filter of the local socket.
#include <deque>
#include <map>

#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/queue/report_job.h"
#include "server/queue/report_test_bed.h"

namespace holdfast {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Verdict = FilterDecision::Verdict;

constexpr uint32_t kAllPhases = (uint32_t{1} << kFilterPhases) - 1;
constexpr FilterPhase kAsked[] = {FilterPhase::kConnect,  FilterPhase::kEhlo,
                                  FilterPhase::kMailFrom, FilterPhase::kRcptTo,
                                  FilterPhase::kData,     FilterPhase::kCommit};

class ReportFilterTest : public ReportTestBed {
 protected:
  ReportFilterTest() { services_.config_.socket_listener.filter = "f"; }

  // The room `filters`, whose filter wants these.
  void NewFilters(uint32_t phases = kAllPhases) {
    auto [theirs, ours] = MakeDoorPair(services_.loop());
    filters_ = std::move(ours);
    filters_->SetCallbacks(
        [this](Frame& frame) {
          EXPECT_TRUE(
              (Dispatch<FilterSession, FilterReport, FilterQuestion, FilterText,
                        FilterTextTaken, FilterTextDropped, FilterSessionEnded>(
                  frame, [this](const auto& m) { On(m); })));
        },
        [](absl::Status) {});
    services_.filters()->SetDoor(std::move(theirs));
    FilterWants wants;
    wants.filter = "f";
    wants.phases = phases;
    wants.in = kAllFilterEvents;
    filters_->Send(wants);
    services_.loop()->RunReady();
  }

  void On(const FilterSession& m) {
    EXPECT_FALSE(m.outgoing);
    told_.push_back(absl::StrJoin({std::string("link-connect"), m.rdns,
                                   m.fcrdns, m.source, m.destination},
                                  "|"));
    open_ = m.session;
  }
  void On(const FilterReport& m) {
    EXPECT_EQ(m.session, open_);
    std::string line(FilterEventName(m.event));
    for (const std::string& f : m.fields) absl::StrAppend(&line, "|", f);
    told_.push_back(line);
  }
  void On(const FilterQuestion& m) {
    EXPECT_EQ(m.session, open_);
    told_.push_back(
        absl::StrCat("? ", FilterPhaseName(m.phase), " ", m.argument));
    if (m.phase == silent_) return;
    FilterDecision decision;
    decision.verdict = Verdict::kProceed;
    auto planned = decisions_.find(m.phase);
    if (planned != decisions_.end() && !planned->second.empty()) {
      decision = planned->second.front();
      planned->second.pop_front();
    }
    decision.session = m.session;
    decision.question = m.question;
    filters_->Send(decision);
  }
  void On(const FilterText& m) {
    untaken_ += m.bytes.size();
    most_untaken_ = std::max(most_untaken_, untaken_);
    text_ += m.bytes;
    if (hold_text_) return;
    FilterTextTaken taken{m.session, static_cast<uint32_t>(m.bytes.size())};
    untaken_ = 0;
    if (taken.bytes > 0) filters_->Send(taken);
    if (!fail_text_.empty())
      return filters_->Send(FilterTextDropped{m.session, fail_text_});
    to_return_ += change_ ? change_(m.bytes) : m.bytes;
    returned_end_ = m.end;
    Return();
  }
  // As much as the other side has room for.
  void Return() {
    const size_t n = std::min(to_return_.size(), kFilterWindow - returned_);
    const bool end = returned_end_ && n == to_return_.size();
    if (n == 0 && !end) return;
    returned_ += n;
    filters_->Send(FilterText{open_, to_return_.substr(0, n), end});
    to_return_.erase(0, n);
    if (end) returned_ = 0, returned_end_ = false;
  }
  void On(const FilterTextTaken& m) {
    returned_ -= std::min<size_t>(returned_, m.bytes);
    Return();
  }
  void On(const FilterTextDropped& m) {
    to_return_.clear();
    returned_ = 0;
    returned_end_ = false;
    filters_->Send(FilterTextDropped{m.session, ""});
  }
  void On(const FilterSessionEnded&) { told_.push_back("link-disconnect"); }

  static FilterDecision Decide(Verdict verdict, std::string text = "") {
    FilterDecision decision;
    decision.verdict = verdict;
    decision.text = std::move(text);
    return decision;
  }

  // One report, with time to be made.
  std::string Send(PendingReport report) {
    store().AddReport(report);
    sender_ = std::make_unique<ReportSender>(&services_);
    testing::internal::CaptureStderr();
    Advance(absl::Seconds(2));
    return testing::internal::GetCapturedStderr();
  }
  PendingReport Full() {
    PendingReport report = Report(1);
    report.envelope.dsn_ret = DsnReturn::kFull;
    return report;
  }
  // It was not made, and nothing of it is left.
  void ExpectWaiting() {
    EXPECT_THAT(store().accepted, IsEmpty());
    EXPECT_THAT(store().reports, SizeIs(1));
    EXPECT_THAT(store().incoming, IsEmpty());
  }
  void ExpectMadeOnce() {
    EXPECT_THAT(store().accepted, SizeIs(1));
    EXPECT_THAT(store().reports, IsEmpty());
    EXPECT_THAT(store().incoming, IsEmpty());
    Advance(absl::Hours(1));
    EXPECT_THAT(store().accepted, SizeIs(1));
  }

  std::unique_ptr<ReportSender> sender_;
  std::unique_ptr<Door> filters_;
  std::vector<std::string> told_;
  std::map<FilterPhase, std::deque<FilterDecision>> decisions_;
  FilterPhase silent_ = FilterPhase::kWiz;
  std::function<std::string(const std::string&)> change_;
  std::string fail_text_;
  bool hold_text_ = false;
  SessionId open_{};
  std::string text_, to_return_;
  size_t untaken_ = 0, most_untaken_ = 0, returned_ = 0;
  bool returned_end_ = false;
};

TEST_F(ReportFilterTest, ASessionAsOnTheLocalSocket) {
  NewFilters();
  const std::string log = Send(Report(1));
  const std::string evpid = ToString(store().accepted[0].envelopes[0].id);
  EXPECT_THAT(
      told_,
      ElementsAre(
          "link-connect|mx.example.org|pass|unix:/var/run/smtpd.sock|"
          "unix:/var/run/smtpd.sock",
          "? connect ", "protocol-server|220 mx.example.org ESMTP Holdfast",
          "link-greeting|mx.example.org", "protocol-client|EHLO in.example.org",
          "? ehlo in.example.org", "link-identify|EHLO|in.example.org",
          "protocol-server|250-mx.example.org Hello in.example.org [local], "
          "pleased to meet you",
          "protocol-server|250-8BITMIME",
          "protocol-server|250-ENHANCEDSTATUSCODES", "protocol-server|250 HELP",
          "protocol-client|MAIL FROM:<>", "? mail-from ",
          "protocol-server|250 2.0.0 Ok", "tx-begin|10000000",
          "tx-mail|10000000|ok|", "protocol-client|RCPT TO:<alice@example.com>",
          "? rcpt-to alice@example.com", "tx-envelope|10000000|" + evpid,
          "protocol-server|250 2.1.5 Destination address valid: Recipient ok",
          "tx-rcpt|10000000|ok|alice@example.com", "protocol-client|DATA",
          "? data ",
          "protocol-server|354 Enter mail, end with \".\" on a line by itself",
          "tx-data|10000000|ok", "protocol-client|.", "? commit ",
          "protocol-server|250 2.0.0 10000000 Message accepted for delivery",
          absl::StrCat("tx-commit|10000000|", OnlyReport().size()),
          "tx-reset|10000000", "protocol-client|QUIT", "? quit ",
          "protocol-server|221 2.0.0 Bye", "link-disconnect"));
  EXPECT_EQ(text_, OnlyReport());
  EXPECT_THAT(text_, StartsWith("Received: from in.example.org "));
  // The log speaks of the same session.
  EXPECT_THAT(log, HasSubstr(absl::StrCat(ToString(open_), " smtp message ")));
  ExpectMadeOnce();
}

TEST_F(ReportFilterTest, WhatIsNotWantedIsNotAsked) {
  NewFilters(MaskOf(FilterPhase::kCommit));
  Send(Report(1));
  std::erase_if(told_, [](const std::string& s) { return s[0] != '?'; });
  EXPECT_THAT(told_, ElementsAre("? commit "));
  EXPECT_EQ(text_, "");
  EXPECT_THAT(OnlyReport(), HasSubstr("550 No such user"));
}

// Whatever it says and when: the report waits, then is made, once.
TEST_F(ReportFilterTest, ARefusalIsForNow) {
  for (const FilterPhase phase : kAsked) {
    for (const Verdict verdict : {Verdict::kReject, Verdict::kDisconnect}) {
      SCOPED_TRACE(FilterPhaseName(phase));
      store().accepted.clear();
      told_.clear();
      NewFilters();
      decisions_[phase] = {Decide(verdict, "550 5.7.1 Not this one")};
      const std::string log = Send(Report(1));
      EXPECT_THAT(log, HasSubstr("warn: TempFail injecting failure report on "
                                 "message 00000a01 to <alice@example.com> for "
                                 "1 envelope: 550 5.7.1 Not this one\n"));
      ExpectWaiting();
      EXPECT_EQ(told_.back(), "link-disconnect");
      const std::string all = absl::StrJoin(told_, "\n");
      EXPECT_EQ(all.find("tx-begin") == std::string::npos,
                all.find("tx-rollback") == std::string::npos);
      Advance(absl::Seconds(11));
      ExpectMadeOnce();
    }
  }
}

TEST_F(ReportFilterTest, TheRoomMayDieAtAnyTime) {
  for (const FilterPhase phase : kAsked) {
    SCOPED_TRACE(FilterPhaseName(phase));
    store().accepted.clear();
    NewFilters();
    silent_ = phase;
    Send(Report(1));
    ExpectWaiting();
    filters_.reset();
    Advance(absl::Minutes(1));
    ExpectWaiting();
    silent_ = FilterPhase::kWiz;
    NewFilters();
    Advance(absl::Minutes(1));
    ExpectMadeOnce();
  }
}

TEST_F(ReportFilterTest, TheRoomDiesWithTheText) {
  NewFilters();
  hold_text_ = true;
  Send(Report(1));
  ExpectWaiting();
  filters_.reset();
  Advance(absl::Seconds(1));
  ExpectWaiting();
  hold_text_ = false;
  NewFilters();
  Advance(absl::Minutes(1));
  ExpectMadeOnce();
}

// Not known yet what it wants: nothing is tried, and the log says so.
TEST_F(ReportFilterTest, WaitsForTheFilter) {
  std::string log = Send(Report(1));
  EXPECT_THAT(log, HasSubstr("warn: queue: reports wait for filter f\n"));
  testing::internal::CaptureStderr();
  Advance(absl::Seconds(30));
  log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(log, "");
  ExpectWaiting();
  NewFilters();
  sender_->OnFilterKnown();
  Advance(absl::ZeroDuration());
  ExpectMadeOnce();
}

TEST_F(ReportFilterTest, JunkIsMarked) {
  NewFilters();
  decisions_[FilterPhase::kRcptTo] = {Decide(Verdict::kJunk)};
  Send(Report(1));
  EXPECT_THAT(OnlyReport(), StartsWith("X-Spam: Yes\nReceived: "));
  EXPECT_EQ(text_, OnlyReport());
}

TEST_F(ReportFilterTest, NameAndRecipientMayBeRewritten) {
  NewFilters();
  decisions_[FilterPhase::kEhlo] = {Decide(Verdict::kRewrite, "other.test")};
  decisions_[FilterPhase::kMailFrom] = {Decide(Verdict::kRewrite, "<x@y>")};
  decisions_[FilterPhase::kRcptTo] = {
      Decide(Verdict::kRewrite, "<archive@example.org>")};
  Send(Report(1));
  EXPECT_THAT(OnlyReport(), AllOf(StartsWith("Received: from other.test "),
                                  HasSubstr("\tfor <archive@example.org>;"),
                                  HasSubstr("\nTo: alice@example.com\n")));
  const Envelope& e = store().accepted[0].envelopes[0];
  EXPECT_TRUE(e.sender.IsNull());
  EXPECT_EQ(e.rcpt.ToString(), "archive@example.org");
  EXPECT_EQ(e.helo, "other.test");
  ASSERT_THAT(services_.expanded, SizeIs(1));
  EXPECT_EQ(services_.expanded[0].rcpt.ToString(), "archive@example.org");
}

// What a filter thinks up is no reason to lose the report.
TEST_F(ReportFilterTest, ARecipientThatIsNone) {
  for (const char* recipient : {"no address", "<nobody@example.org>"}) {
    store().accepted.clear();
    NewFilters();
    decisions_[FilterPhase::kRcptTo] = {Decide(Verdict::kRewrite, recipient)};
    services_.expand = [](const ExpandRequest& request) {
      ExpandAnswer answer;
      answer.refusal = "550 Invalid recipient";
      if (request.rcpt.user == "nobody") return answer;
      answer.refusal.clear();
      answer.recipients.resize(1);
      answer.recipients[0].dest = request.rcpt;
      return answer;
    };
    EXPECT_THAT(Send(Report(1)), HasSubstr("warn: TempFail injecting"));
    ExpectWaiting();
    Advance(absl::Seconds(11));
    ExpectMadeOnce();
  }
}

TEST_F(ReportFilterTest, TheTextMayBeChanged) {
  NewFilters();
  change_ = [](const std::string& bytes) {
    return absl::StrReplaceAll(bytes, {{"No such user", "Gone fishing"}});
  };
  Send(Report(1));
  EXPECT_THAT(OnlyReport(), HasSubstr("550 Gone fishing"));
  EXPECT_THAT(OnlyReport(), Not(HasSubstr("No such user")));
  ExpectMadeOnce();
}

// A text of many windows, which comes back as large as it was.
TEST_F(ReportFilterTest, ALargeTextFlows) {
  std::string body;
  while (body.size() < kMaxReturnedMessage - 100)
    absl::StrAppend(&body, body.size(), "\n");
  store().AddMessage(kOriginal, "Subject: x\n\n" + body);
  NewFilters();
  Send(Full());
  EXPECT_GT(OnlyReport().size(), body.size());
  EXPECT_EQ(text_, OnlyReport());
  EXPECT_LE(most_untaken_, kFilterWindow);
  ExpectMadeOnce();
}

TEST_F(ReportFilterTest, NothingIsSentBeyondTheWindow) {
  store().AddMessage(kOriginal,
                     "Subject: x\n\n" + std::string(500000, 'x') + "\n");
  NewFilters();
  hold_text_ = true;
  Send(Full());
  EXPECT_EQ(text_.size(), kFilterWindow);
  ExpectWaiting();
}

// A filter that makes more and more of it.
TEST_F(ReportFilterTest, ATextWithoutEnd) {
  services_.config_.max_message_size = 200000;
  NewFilters();
  change_ = [](const std::string&) { return std::string(60000, 'x'); };
  store().AddMessage(kOriginal,
                     "Subject: x\n\n" + std::string(500000, 'x') + "\n");
  EXPECT_THAT(Send(Full()), HasSubstr("552 5.3.4 Message too big for system"));
  ExpectWaiting();
  change_ = nullptr;
  services_.config_.max_message_size = 2000000;
  Advance(absl::Seconds(11));
  ExpectMadeOnce();
}

TEST_F(ReportFilterTest, TheTextFails) {
  NewFilters();
  fail_text_ = "451 4.3.0 Temporary failure";
  EXPECT_THAT(Send(Report(1)), HasSubstr("1 envelope: 451 4.3.0 Temporary"));
  ExpectWaiting();
  fail_text_.clear();
  Advance(absl::Seconds(11));
  ExpectMadeOnce();
}

// What turns out to be too long is sent without its body, in a new session.
TEST_F(ReportFilterTest, TheOriginalIsTooLong) {
  store().AddMessage(
      kOriginal,
      "Subject: x\n\n" + std::string(kMaxReturnedMessage + 1, 'x') + "\n");
  NewFilters();
  Send(Full());
  EXPECT_THAT(OnlyReport(), HasSubstr("text/rfc822-headers"));
  const std::string all = absl::StrJoin(told_, "\n");
  EXPECT_THAT(all, AllOf(HasSubstr("tx-rollback|10000000"),
                         HasSubstr("tx-commit|10000001|")));
  ExpectMadeOnce();
}

TEST_F(ReportFilterTest, DiscardedIsDiscarded) {
  NewFilters();
  decisions_[FilterPhase::kCommit] = {Decide(Verdict::kDiscard)};
  const std::string log = Send(Report(1));
  EXPECT_THAT(log, HasSubstr("warn: PermFail injecting failure report on "
                             "message 00000a01 to <alice@example.com> for 1 "
                             "envelope: discarded by the filter\n"));
  EXPECT_THAT(store().accepted, IsEmpty());
  EXPECT_THAT(store().reports, IsEmpty());
}

TEST_F(ReportFilterTest, AStoreThatIsFull) {
  std::string body;  // which does not shrink
  for (uint32_t i = 1; body.size() < 200000; ++i)
    absl::StrAppend(&body, i * 2654435761u, "\n");
  store().AddMessage(kOriginal, "Subject: x\n\n" + body);
  store().room = 20000;
  NewFilters();
  Send(Full());
  EXPECT_THAT(OnlyReport(), HasSubstr("text/rfc822-headers"));
  ExpectMadeOnce();
}

}  // namespace
}  // namespace holdfast
