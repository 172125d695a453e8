// What a filter hears of the sessions of its relay action.
#include "server/relay/filter_reports.h"
#include "server/relay/relay_test_bed.h"
#include "storage/body_codec.h"

namespace holdfast {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class RelayFilterTest : public RelayTestBed {
 protected:
  Action& action() { return config_->actions["out"]; }

  // The room `filters`, of which a filter wants these events.
  void NewFilters(uint32_t out = kAllFilterEvents) {
    auto [theirs, ours] = MakeDoorPair(&loop_);
    filters_ = std::move(ours);
    filters_->SetCallbacks(
        [this](Frame& frame) {
          EXPECT_TRUE(
              (Dispatch<FilterSession, FilterReport, FilterSessionEnded>(
                  frame, [this](const auto& m) { On(m); })));
        },
        [](absl::Status) {});
    NewDoor to;
    to.peer = Room::kFilters;
    room_->OnDoor(to, std::move(theirs));
    FilterWants wants;
    wants.filter = "watch";
    wants.out = out;
    filters_->Send(wants);
    loop_.RunReady();
  }

  // As a filter would read them, without version and time.
  void On(const FilterSession& m) {
    EXPECT_TRUE(m.outgoing);
    EXPECT_EQ(m.filter, "watch");
    EXPECT_NE(static_cast<uint64_t>(m.session), 0u);
    sessions_.push_back(m.session);
    told_.push_back(absl::StrJoin({std::string("link-connect"), m.rdns,
                                   m.fcrdns, m.source, m.destination},
                                  "|"));
  }
  void On(const FilterReport& m) {
    ASSERT_FALSE(sessions_.empty());
    EXPECT_EQ(m.session, sessions_.back());
    std::string line(FilterEventName(m.event));
    for (const std::string& f : m.fields) absl::StrAppend(&line, "|", f);
    told_.push_back(line);
  }
  void On(const FilterSessionEnded& m) {
    EXPECT_EQ(m.session, sessions_.back());
    told_.push_back("link-disconnect");
  }

  std::unique_ptr<Door> filters_;
  std::vector<std::string> told_;
  std::vector<SessionId> sessions_;
};

// The second half of the conversation in the reference (part 2, section 7.9),
// but for its other lines behind EHLO.
TEST_F(RelayFilterTest, TheConversationOfTheReference) {
  config_->server_name = "mx.example.org";
  action().filter = "watch";
  Start();
  NewFilters();
  resolver_->names["192.0.2.1"] = "localhost";
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"PIPELINING", "DSN"};
    s->answers["banner"] = {"220 sink.test ESMTP"};
    s->answers["RCPT TO:<temp@example.net>"] = {"450 4.2.1 Try later"};
    s->answers["dot"] = {"250 2.0.0 queued as SINK1"};
  };
  RelayBatch batch = Batch(1, {{"ok@example.net", "temp@example.net"}});
  BatchMessage& m = batch.messages[0];
  m.message = MessageId(0x686036a3);
  m.sender = {"sender", "example.com"};
  m.recipients[0].envelope = EnvelopeId(0x686036a322ceea0e);
  m.recipients[1].envelope = EnvelopeId(0x686036a3249f9a9c);
  const SmallBody body =
      CompressBody("Subject: test\n\n" + std::string(394, 'x') + "\n");
  m.body = body.info;
  m.stored = body.stored;
  Give(batch);
  EXPECT_THAT(
      told_,
      ElementsAre(
          "link-connect|localhost|pass|:0|192.0.2.1:25",
          "protocol-server|220 sink.test ESMTP", "link-greeting|sink.test",
          "protocol-client|EHLO mx.example.org",
          "link-identify|EHLO|mx.example.org", "protocol-server|250-me",
          "protocol-server|250-PIPELINING", "protocol-server|250 DSN",
          "protocol-client|MAIL FROM:<sender@example.com>",
          "protocol-server|250 2.0.0 ok", "tx-begin|686036a3",
          "tx-mail|686036a3|ok|sender@example.com",
          "protocol-client|RCPT TO:<ok@example.net>",
          "tx-envelope|686036a3|686036a322ceea0e",
          "protocol-server|250 2.0.0 ok", "tx-rcpt|686036a3|ok|ok@example.net",
          "protocol-client|RCPT TO:<temp@example.net>",
          "tx-envelope|686036a3|686036a3249f9a9c",
          "protocol-server|450 4.2.1 Try later", "tx-rollback|686036a3",
          "tx-reset|686036a3", "tx-rcpt|686036a3|tempfail|temp@example.net",
          "protocol-client|DATA", "protocol-server|354 go",
          "tx-data|686036a3|ok", "protocol-client|.",
          "protocol-server|250 2.0.0 queued as SINK1", "tx-commit|686036a3|413",
          "tx-reset|686036a3"));
  told_.clear();
  loop_.Advance(absl::Minutes(10));
  EXPECT_THAT(told_, ElementsAre("protocol-client|QUIT",
                                 "protocol-server|221 bye", "link-disconnect"));
}

TEST_F(RelayFilterTest, OnlyWhatIsWanted) {
  action().filter = "watch";
  Start();
  NewFilters(MaskOf(FilterEvent::kTxCommit));
  Give(Batch(1, {{"a@a.test"}}));
  loop_.Advance(absl::Minutes(10));
  // "Subject: 100", an empty line, "text", with CRLF.
  EXPECT_THAT(told_, ElementsAre(HasSubstr("link-connect|"),
                                 "tx-commit|00000064|22", "link-disconnect"));
}

TEST_F(RelayFilterTest, NothingWhereNobodyWantsAnything) {
  for (const char* filter : {"", "other", "watch"}) {
    action().filter = filter;
    Start();
    NewFilters(0);
    Give(Batch(1, {{"a@a.test"}}));
    loop_.Advance(absl::Minutes(10));
    EXPECT_THAT(server(0).messages(), SizeIs(1));
    EXPECT_THAT(told_, IsEmpty()) << filter;
  }
}

TEST_F(RelayFilterTest, TlsIsToldBetweenTheGreetings) {
  action().filter = "watch";
  Start();
  NewFilters();
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"STARTTLS"};
    s->extensions_in_tls = {"PIPELINING"};
  };
  Give(Batch(1, {{"a@a.test"}}));
  ASSERT_GT(told_.size(), 11u);
  EXPECT_THAT(
      std::vector<std::string>(told_.begin() + 5, told_.begin() + 12),
      ElementsAre("protocol-server|250-me", "protocol-server|250 STARTTLS",
                  "protocol-client|STARTTLS", "protocol-server|220 go",
                  "link-tls|TLSv1.3:TLS_AES_256_GCM_SHA384:256",
                  "protocol-client|EHLO me.test",
                  "link-identify|EHLO|me.test"));
}

// What TLS comes first for is told of from the connection on.
TEST_F(RelayFilterTest, TlsFromTheBeginning) {
  action().filter = "watch";
  for (const bool works : {true, false}) {
    Start();
    NewFilters();
    Hosts("mx.a.test", {"192.0.2.1"});
    told_.clear();
    if (!works) tls_->results = {absl::DeadlineExceededError("")};
    RelayBatch batch = Batch(1, {{"a@a.test"}});
    batch.target.domain = "smtps://mx.a.test";
    batch.target.smarthost = true;
    Give(batch);
    loop_.Advance(absl::Minutes(10));
    ASSERT_GT(told_.size(), 2u);
    EXPECT_THAT(told_[0], HasSubstr("|192.0.2.1:465"));
    EXPECT_EQ(told_[1], works ? "link-tls|TLSv1.3:TLS_AES_256_GCM_SHA384:256"
                              : "timeout");
    EXPECT_EQ(told_.back(), "link-disconnect");
  }
}

TEST_F(RelayFilterTest, InClearOnceMoreIsAnotherLink) {
  action().filter = "watch";
  Start();
  NewFilters(MaskOf(FilterEvent::kTxCommit));
  dialer_->prepare = [](size_t, Server* s) { s->extensions = {"STARTTLS"}; };
  tls_->results = {absl::InternalError("wrong version number")};
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_THAT(told_,
              ElementsAre(HasSubstr("link-connect|"), "link-disconnect",
                          HasSubstr("link-connect|"), HasSubstr("tx-commit|")));
}

TEST_F(RelayFilterTest, SecretsAreMasked) {
  action().filter = "watch";
  action().auth =
      std::make_shared<Table>("secrets", Table::Kind::kMap, "static", "");
  Start();
  NewFilters();
  Hosts("mx.a.test", {"192.0.2.1"});
  secrets_["lab"] = {"joe", "secret"};
  dialer_->prepare = [](size_t, Server* s) { s->extensions = {"AUTH PLAIN"}; };
  RelayBatch batch = Batch(1, {{"a@a.test"}});
  batch.target.domain = "smtps://lab@mx.a.test";
  batch.target.smarthost = true;
  Give(batch);
  EXPECT_THAT(told_, AllOf(Contains("protocol-client|AUTH PLAIN ********"),
                           Contains("link-auth|pass|joe"),
                           Not(Contains(HasSubstr("AGpvZQ")))));
  EXPECT_THAT(server(0).messages(), SizeIs(1));
}

TEST_F(RelayFilterTest, ATimeoutIsTold) {
  action().filter = "watch";
  Start();
  NewFilters();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test"}}));
  told_.clear();
  loop_.Advance(kReplyTimeout);
  EXPECT_THAT(told_, ElementsAre("timeout", "tx-rollback|00000064",
                                 "tx-reset|00000064", "link-disconnect"));
}

TEST_F(RelayFilterTest, TheNameIsWaitedForButNotLong) {
  action().filter = "watch";
  Start();
  NewFilters();
  resolver_->silent_names = true;
  Give(Batch(1, {{"a@a.test"}}));
  loop_.Advance(kMaxNameWait - absl::Seconds(1));
  EXPECT_EQ(connections(), 0u);
  loop_.Advance(absl::Seconds(1));
  ASSERT_THAT(told_, Not(IsEmpty()));
  EXPECT_EQ(told_[0], "link-connect|<unknown>|pass|:0|192.0.2.1:25");
  // Without a filter nobody waits.
  action().filter = "";
  Start();
  resolver_->silent_names = true;
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_EQ(connections(), 1u);
}

// The room is started again: sessions that it does not know are not told of.
TEST_F(RelayFilterTest, AnotherRoomHearsOfNewSessionsOnly) {
  action().filter = "watch";
  Start();
  NewFilters();
  Give(Batch(1, {{"a@a.test"}}));
  filters_.reset();
  loop_.RunReady();
  Give(Batch(2, {{"a@a.test"}}));  // over the same session
  told_.clear();
  NewFilters();
  Give(Batch(3, {{"a@a.test"}}));
  EXPECT_EQ(connections(), 1u);
  EXPECT_THAT(told_, IsEmpty());
  loop_.Advance(absl::Minutes(10));
  EXPECT_THAT(told_, IsEmpty());
  Give(Batch(4, {{"a@a.test"}}));
  EXPECT_EQ(connections(), 2u);
  EXPECT_THAT(told_, Contains(HasSubstr("tx-commit|")));
  EXPECT_THAT(outcomes_, Each(HasSubstr("Ok")));
}

// Who does not read hears less, and no mail waits for it.
TEST_F(RelayFilterTest, ASlowRoomLosesReportsNotEnds) {
  Start();
  auto [theirs, ours] = MakeDoorPair(&loop_);
  FilterReports reports(&loop_, nullptr);
  reports.SetDoor(std::move(theirs));
  std::vector<uint16_t> heard;
  ours->SetCallbacks([&](Frame& frame) { heard.push_back(frame.type); },
                     [](absl::Status) {});
  FilterWants wants;
  wants.filter = "watch";
  wants.out = kAllFilterEvents;
  ours->Send(wants);
  loop_.RunReady();
  ours->PauseReading();
  testing::internal::CaptureStderr();
  FilterReports::Link link;
  link.session = SessionId(7);
  link.filter = "watch";
  std::unique_ptr<SessionReports> session = reports.Begin(link);
  ASSERT_NE(session, nullptr);
  const std::string line(1000, 'x');
  size_t told = 0;
  for (; reports.dropped() < 10; ++told) {
    ASSERT_LT(told, 10 * FilterReports::kMaxBacklog / line.size());
    session->OnEvent({SmtpClientEvent::Kind::kServerLine, line});
    loop_.RunReady();
  }
  EXPECT_EQ(reports.Begin(link), nullptr);
  loop_.Advance(FilterReports::kLogEvery);
  loop_.Advance(FilterReports::kLogEvery);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("filters does not keep up: reports dropped: 1\n"));
  EXPECT_THAT(log,
              HasSubstr("filters does not keep up: reports dropped: 10\n"));
  session.reset();
  ours->ResumeReading();
  loop_.RunReady();
  EXPECT_THAT(heard, SizeIs(1 + told - 10 + 1));
  EXPECT_EQ(heard.back(), FilterSessionEnded::kType);
  // All is well again.
  EXPECT_NE(reports.Begin(link), nullptr);
}

}  // namespace
}  // namespace holdfast
