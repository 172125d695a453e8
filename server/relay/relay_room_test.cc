#include "server/relay/relay_room.h"

#include <sys/socket.h>

#include <deque>
#include <functional>
#include <optional>
#include <set>

#include "absl/random/random.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/scripted_smtp_server.h"
#include "server/loop/fake_event_loop.h"
#include "storage/body_codec.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

using Server = ScriptedSmtpServer;

// Knows what it is told.
class FakeResolver : public Resolver {
 public:
  explicit FakeResolver(EventLoop* loop) : loop_(loop) {}
  std::map<std::string, MailHosts> domains;
  std::map<std::string, std::string> names;  // of addresses

  void SetFiles(ResolvConf, HostsFile) override {}
  void FindMx(const std::string& domain, const std::string&,
              HostsDone done) override {
    Later([this, domain, done = std::move(done)]() mutable {
      done(domains[domain]);
    });
  }
  void FindHost(const std::string& name, HostsDone done) override {
    FindMx(name, "", std::move(done));
  }
  void FindName(const IpAddress& a, NameDone done) override {
    Later([this, a, done = std::move(done)]() mutable {
      const bool known = names.count(a.ToString()) > 0;
      done({names[a.ToString()],
            known ? HostName::Confirmed::kPass : HostName::Confirmed::kFail});
    });
  }
  void FindPtr(const IpAddress& a,
               absl::AnyInvocable<void(std::string)> done) override {
    Later([this, a, done = std::move(done)]() mutable {
      done(names[a.ToString()]);
    });
  }

 private:
  void Later(Task task) {
    timers_.push_back(loop_->RunAfter(absl::ZeroDuration(), std::move(task)));
  }
  EventLoop* loop_;
  std::deque<EventLoop::Timer> timers_;
};

// One accepted connection: a scripted server at the other end of a socket pair.
struct Connection {
  std::string address;
  uint16_t port = 0;
  std::string source;
  Server server;
  std::unique_ptr<Stream> stream;
};

// Connects to scripted servers.
class FakeDialer : public Dialer {
 public:
  explicit FakeDialer(EventLoop* loop) : loop_(loop) {}

  std::set<std::string> refusing, hanging;
  // Prepares the server of the n-th connection.
  std::function<void(size_t, Server*)> prepare;
  std::vector<std::unique_ptr<Connection>> connections;
  std::string cannot_bind;

  PendingConnect Dial(const IpAddress& address, uint16_t port,
                      const std::optional<IpAddress>& source,
                      absl::Duration timeout, Done done) override {
    const std::string text = address.ToString();
    if (hanging.count(text) > 0)
      return loop_->RunAfter(timeout, [done = std::move(done)]() mutable {
        done(absl::DeadlineExceededError("Connection timeout"));
      });
    return loop_->RunAfter(
        absl::ZeroDuration(),
        [this, text, port, source, done = std::move(done)]() mutable {
          if (source && source->ToString() == cannot_bind)
            return done(
                absl::UnavailableError("Cannot assign requested address"));
          if (refusing.count(text) > 0)
            return done(absl::UnavailableError("Connection refused"));
          done(Accept(text, port, source ? source->ToString() : ""));
        });
  }

  void Send(Connection* c, const std::string& bytes) {
    if (c->stream == nullptr) return;
    c->stream->Write(bytes);
    if (c->server.closed()) c->stream.reset();
  }

 private:
  std::unique_ptr<Stream> Accept(const std::string& address, uint16_t port,
                                 const std::string& source) {
    int fds[2];
    EXPECT_EQ(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
        0);
    auto owned = std::make_unique<Connection>();
    Connection* c = owned.get();
    c->address = address;
    c->port = port;
    c->source = source;
    if (prepare) prepare(connections.size(), &c->server);
    c->stream = MakeStream(loop_, fds[1]);
    c->stream->SetCallbacks({[this, c](absl::string_view bytes) {
                               Send(c, c->server.Receive(bytes));
                             },
                             [c](absl::Status) { c->stream.reset(); },
                             nullptr});
    c->stream->ResumeReading();
    Send(c, c->server.Open());
    connections.push_back(std::move(owned));
    return MakeStream(loop_, fds[0]);
  }
  EventLoop* loop_;
};

class RelayRoomTest : public ::testing::Test {
 protected:
  RelayRoomTest() {
    config_ = std::make_shared<Config>();
    config_->server_name = "me.test";
    Action action;
    action.name = "out";
    action.method = ActionMethod::kRelay;
    config_->actions["out"] = action;
  }
  ~RelayRoomTest() override { room_.reset(); }

  // After the configuration is complete.
  void Start() {
    auto resolver = std::make_unique<FakeResolver>(&loop_);
    auto dialer = std::make_unique<FakeDialer>(&loop_);
    resolver_ = resolver.get();
    dialer_ = dialer.get();
    Hosts("a.test", {"192.0.2.1"});
    RoomContext context{.loop = &loop_,
                        .parent = nullptr,
                        .start = &start_,
                        .config = config_,
                        .fds = {},
                        .random = random_,
                        .exit = [this](int status) { exited_ = status; }};
    room_ = std::make_unique<RelayRoom>(std::move(context), std::move(resolver),
                                        std::move(dialer));
    NewQueue();
  }

  void NewQueue() {
    auto [theirs, ours] = MakeDoorPair(&loop_);
    queue_ = std::move(ours);
    heard_.clear();
    queue_->SetCallbacks(
        [this](Frame& frame) {
          heard_.push_back(frame.type);
          Dispatch<BatchOutcomes, SlotRequest, SlotReport, BodyRequest,
                   WorkerState>(frame, [this](auto& m) { On(m); });
        },
        [](absl::Status) {});
    NewDoor to;
    to.peer = Room::kQueue;
    room_->OnDoor(to, std::move(theirs));
    loop_.RunReady();
  }

  void Hosts(const std::string& domain, std::vector<std::string> addresses) {
    MailHosts hosts;
    hosts.result = MailHosts::Result::kOk;
    int32_t preference = 10;
    for (const std::string& a : addresses)
      hosts.hosts.push_back({*IpAddress::Parse(a), "mx.a.test", preference++});
    resolver_->domains[domain] = std::move(hosts);
  }

  // ---- the queue's side

  void On(BatchOutcomes& m) {
    static const char* const kResults[] = {"",     "Ok",       "Temp", "Perm",
                                           "Loop", "Returned", "Doubt"};
    for (const WorkerOutcome& o : m.outcomes) {
      outcomes_.push_back(absl::StrCat(static_cast<uint64_t>(o.envelope), " ",
                                       kResults[int(o.result)], " ", o.text));
      last_ = o;
    }
    if (m.finished) finished_.push_back(static_cast<uint64_t>(m.batch));
    if (!m.destination_failure.empty()) failure_ = m.destination_failure;
    batches_heard_.push_back(m);
    if (record_) queue_->Send(OutcomesRecorded{m.batch, m.sequence});
  }
  void On(SlotRequest& m) {
    slot_requests_.push_back(m);
    SlotAnswer answer;
    answer.question = m.question;
    if (!answers_.empty()) {
      answer = answers_.front();
      answer.question = m.question;
      answers_.pop_front();
    } else if (hold_slots_) {
      return;
    } else {
      answer.result = SlotAnswer::Result::kGranted;
    }
    if (answer.result == SlotAnswer::Result::kGranted) answer.slot = ++slot_;
    queue_->Send(answer);
  }
  void On(SlotReport& m) {
    static const char* const kEvents[] = {"", "ready", "closed", "failed"};
    slots_.push_back(absl::StrCat(m.slot, " ", kEvents[int(m.event)]));
  }
  void On(BodyRequest& m) {
    body_requests_.push_back(m);
    if (!serve_bodies_) return;
    BodyPart part;
    part.question = m.question;
    part.ok = m.first + m.count <= chunks_.size();
    for (uint32_t i = m.first; part.ok && i < m.first + m.count; ++i)
      part.chunks.push_back(chunks_[i]);
    queue_->Send(part);
  }
  void On(WorkerState& m) {
    worker_state_.clear();
    for (const BatchId id : m.batches)
      worker_state_.push_back(static_cast<uint64_t>(id));
  }

  static constexpr uint64_t kEnvelopes = 100;  // per batch

  // Batch `id` with messages to these recipients each; its envelopes count from
  // id * 100.
  RelayBatch Batch(uint64_t id,
                   std::vector<std::vector<std::string>> messages) {
    RelayBatch batch;
    batch.batch = BatchId(id);
    batch.destination = DestinationId(7);
    batch.target.action = "out";
    batch.target.domain = "a.test";
    uint64_t envelope = id * kEnvelopes;
    for (const auto& recipients : messages) {
      BatchMessage& m = batch.messages.emplace_back();
      m.message = MessageId(static_cast<uint32_t>(envelope));
      m.sender = {"from", "me.test"};
      const SmallBody body =
          CompressBody(absl::StrCat("Subject: ", envelope, "\n\ntext\n"));
      m.body = body.info;
      m.stored = body.stored;
      for (const std::string& r : recipients) {
        BatchMessage::Recipient& recipient = m.recipients.emplace_back();
        recipient.envelope = EnvelopeId(envelope++);
        recipient.rcpt = recipient.dest = SplitAddress(r);
      }
    }
    return batch;
  }
  void Give(const RelayBatch& batch, bool claimed = true) {
    queue_->Send(batch);
    if (claimed) Claim(batch.batch);
    loop_.RunReady();
  }
  void Claim(BatchId id, bool ok = true) {
    queue_->Send(BatchClaimed{id, ok});
    loop_.RunReady();
  }
  Server& server(size_t i) { return dialer_->connections.at(i)->server; }
  size_t connections() const { return dialer_->connections.size(); }
  bool open(size_t i) { return dialer_->connections.at(i)->stream != nullptr; }
  std::string Commands(size_t i) {
    return absl::StrJoin(server(i).commands(), "|");
  }

  FakeEventLoop loop_;
  absl::BitGen random_;
  struct Start start_;
  std::shared_ptr<Config> config_;
  FakeResolver* resolver_ = nullptr;
  FakeDialer* dialer_ = nullptr;
  std::unique_ptr<RelayRoom> room_;
  std::unique_ptr<Door> queue_;
  std::optional<int> exited_;

  std::vector<uint16_t> heard_;
  std::vector<std::string> outcomes_;
  std::vector<uint64_t> finished_;
  std::string failure_;
  WorkerOutcome last_;
  std::vector<BatchOutcomes> batches_heard_;
  std::vector<SlotRequest> slot_requests_;
  std::vector<std::string> slots_;
  std::vector<BodyRequest> body_requests_;
  std::vector<uint64_t> worker_state_;
  bool record_ = true, serve_bodies_ = true, hold_slots_ = false;
  std::deque<SlotAnswer> answers_;
  uint64_t slot_ = 0;
  std::vector<std::string> chunks_;
};

TEST_F(RelayRoomTest, ABatchGoesOverOneSessionEachRecipientApart) {
  Start();
  resolver_->names["192.0.2.1"] = "ptr.a.test";
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["RCPT TO:<b@a.test>"] = {"450-4.2.2 full\r\n450 4.2.2 up"};
    s->answers["RCPT TO:<c@a.test>"] = {"550 5.1.1 unknown"};
  };
  Give(Batch(1, {{"a@a.test", "b@a.test", "c@a.test"}, {"d@a.test"}}));
  EXPECT_THAT(outcomes_, UnorderedElementsAre("101 Temp 450-4.2.2 full up",
                                              "102 Perm 550 5.1.1 unknown",
                                              "100 Ok 250 2.0.0 queued",
                                              "103 Ok 250 2.0.0 queued"));
  EXPECT_THAT(finished_, ElementsAre(1));
  EXPECT_EQ(connections(), 1u);
  ASSERT_THAT(server(0).messages(), SizeIs(2));
  EXPECT_EQ(server(0).messages()[0].text, "Subject: 100\r\n\r\ntext\r\n");
  EXPECT_EQ(dialer_->connections[0]->port, 25);
  EXPECT_THAT(Commands(0), HasSubstr("EHLO me.test|MAIL FROM:<from@me.test>"));
  for (const BatchOutcomes& m : batches_heard_) {
    EXPECT_EQ(m.relay, "192.0.2.1 (ptr.a.test)");
    EXPECT_NE(static_cast<uint64_t>(m.session), 0u);
  }
  EXPECT_TRUE(last_.peer_dsn);
  EXPECT_EQ(last_.status.klass, 2);
  EXPECT_THAT(slots_, ElementsAre("1 ready"));
  ASSERT_THAT(slot_requests_, SizeIs(1));
  EXPECT_EQ(slot_requests_[0].hosts.at(0).address, "192.0.2.1");
  EXPECT_EQ(slot_requests_[0].domain, "a.test");
}

TEST_F(RelayRoomTest, NoFinalDotBeforeTheClaim) {
  Start();
  Give(Batch(1, {{"a@a.test"}}), /*claimed=*/false);
  EXPECT_EQ(server(0).open_messages(), 1);  // it waits for the text
  loop_.Advance(absl::Minutes(30));         // however long it takes
  EXPECT_EQ(server(0).open_messages(), 1);
  EXPECT_THAT(server(0).messages(), IsEmpty());
  EXPECT_THAT(outcomes_, IsEmpty());
  Claim(BatchId(1));
  EXPECT_THAT(server(0).messages(), SizeIs(1));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
}

TEST_F(RelayRoomTest, OutcomesWaitForTheClaimToo) {
  Start();
  dialer_->prepare = [](size_t, Server* s) { s->answers["RCPT"] = {"550 no"}; };
  Give(Batch(1, {{"a@a.test"}}), /*claimed=*/false);
  EXPECT_THAT(batches_heard_, IsEmpty());
  Claim(BatchId(1));
  EXPECT_THAT(outcomes_, ElementsAre("100 Perm 550 no"));
}

TEST_F(RelayRoomTest, ABatchThatCouldNotBeClaimedIsForgotten) {
  Start();
  Give(Batch(1, {{"a@a.test"}}), /*claimed=*/false);
  Claim(BatchId(1), /*ok=*/false);
  EXPECT_FALSE(open(0));
  EXPECT_THAT(server(0).messages(), IsEmpty());
  EXPECT_THAT(batches_heard_, IsEmpty());
  EXPECT_THAT(slots_, ElementsAre("1 ready", "1 closed"));
  // Also while the route is still looked for.
  hold_slots_ = true;
  Give(Batch(2, {{"a@a.test"}}), /*claimed=*/false);
  Claim(BatchId(2), /*ok=*/false);
  queue_->Send(SlotAnswer{
      slot_requests_.back().question, SlotAnswer::Result::kGranted, 77, 0, {}});
  loop_.RunReady();
  EXPECT_EQ(slots_.back(), "77 closed");
  EXPECT_EQ(connections(), 1u);
}

TEST_F(RelayRoomTest, WhatBrokeFailsForNowTheRestGoesOverANewSession) {
  for (const char* stage : {"MAIL", "RCPT", "DATA", "dot"}) {
    SCOPED_TRACE(stage);
    Start();
    outcomes_.clear();
    dialer_->prepare = [&](size_t n, Server* s) {
      if (n == 0) s->answers[stage] = {Server::kClose};
    };
    Give(Batch(1, {{"a@a.test"}, {"b@a.test"}}));
    EXPECT_THAT(outcomes_,
                ElementsAre("100 Temp Connection closed unexpectedly",
                            "101 Ok 250 2.0.0 queued"));
    EXPECT_EQ(connections(), 2u);
    EXPECT_THAT(server(1).messages(), SizeIs(1));
  }
}

TEST_F(RelayRoomTest, SilenceEndsAfterItsTime) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test"}}));
  loop_.Advance(kReplyTimeout - absl::Seconds(1));
  EXPECT_THAT(outcomes_, IsEmpty());
  loop_.Advance(absl::Seconds(2));
  EXPECT_THAT(outcomes_, ElementsAre("100 Temp Connection timeout"));
}

TEST_F(RelayRoomTest, DrippingIsNoAnswer) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test"}}));
  int drops = 0;
  for (; outcomes_.empty() && drops < 10; ++drops) {
    dialer_->connections[0]->stream->Write(drops == 0 ? "250-" : "x");
    loop_.Advance(absl::Seconds(100));
  }
  EXPECT_EQ(drops, 3);
  EXPECT_THAT(outcomes_, ElementsAre("100 Temp Connection timeout"));
}

TEST_F(RelayRoomTest, AnIdleSessionTakesTheNextBatchOfItsTarget) {
  Start();
  Give(Batch(1, {{"a@a.test"}}));
  loop_.Advance(absl::Seconds(9));
  Give(Batch(2, {{"b@a.test"}}));
  EXPECT_EQ(connections(), 1u);
  EXPECT_THAT(server(0).messages(), SizeIs(2));
  EXPECT_THAT(finished_, ElementsAre(1, 2));
  RelayBatch other = Batch(3, {{"c@a.test"}});
  other.target.action = "another";  // not interchangeable
  Give(other);
  EXPECT_EQ(connections(), 2u);
  // After session-keepalive: QUIT.
  loop_.Advance(absl::Seconds(11));
  EXPECT_FALSE(open(0));
  EXPECT_THAT(Commands(0), HasSubstr("|.|QUIT"));
  EXPECT_THAT(slots_, UnorderedElementsAre("1 ready", "2 ready", "1 closed",
                                           "2 closed"));
}

TEST_F(RelayRoomTest, AKeptSessionThatTheServerEndedLosesNothing) {
  for (const char* answer : {Server::kClose, "421 4.4.2 too long"}) {
    SCOPED_TRACE(answer);
    Start();
    outcomes_.clear();
    dialer_->prepare = [&](size_t n, Server* s) {
      if (n == 0) s->answers["MAIL"] = {"250 ok", answer};
    };
    Give(Batch(1, {{"a@a.test"}}));
    Give(Batch(2, {{"b@a.test"}}));
    EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued",
                                       "200 Ok 250 2.0.0 queued"));
    EXPECT_EQ(connections(), 2u);
  }
}

TEST_F(RelayRoomTest, SessionMailMax) {
  config_->mta_limits.session_mail_max = 2;
  Start();
  Give(Batch(
      1,
      {{"a@a.test"}, {"b@a.test"}, {"c@a.test"}, {"d@a.test"}, {"e@a.test"}}));
  EXPECT_THAT(outcomes_, SizeIs(5));
  ASSERT_EQ(connections(), 3u);
  EXPECT_THAT(server(0).messages(), SizeIs(2));
  EXPECT_THAT(server(1).messages(), SizeIs(2));
  EXPECT_THAT(server(2).messages(), SizeIs(1));
  EXPECT_THAT(Commands(0), HasSubstr("QUIT"));
}

TEST_F(RelayRoomTest, SessionTransactionDelay) {
  config_->mta_limits.session_transaction_delay = 3;
  Start();
  Give(Batch(1, {{"a@a.test"}, {"b@a.test"}}));
  EXPECT_THAT(outcomes_, SizeIs(1));
  loop_.Advance(absl::Seconds(3));
  EXPECT_THAT(outcomes_, SizeIs(2));
  EXPECT_EQ(connections(), 1u);
}

TEST_F(RelayRoomTest, AHostThatRejectsAllMails) {
  Start();
  dialer_->prepare = [](size_t n, Server* s) {
    if (n == 0)
      for (int i = 0; i < 20; ++i) s->answers["MAIL"].push_back("550 no");
  };
  std::vector<std::vector<std::string>> messages(12, {"a@a.test"});
  Give(Batch(1, messages));
  EXPECT_EQ(connections(), 2u);
  EXPECT_THAT(Commands(0), HasSubstr("QUIT"));
  EXPECT_THAT(server(1).messages(), SizeIs(2));
}

TEST_F(RelayRoomTest, SeveralBatchesOfATargetGoSideBySide) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test"}}));
  Give(Batch(2, {{"b@a.test"}}));
  EXPECT_EQ(connections(), 2u);
}

TEST_F(RelayRoomTest, ASessionThatBecomesIdleTakesABatchThatWaitsForASlot) {
  Start();
  Give(Batch(1, {{"a@a.test"}}), /*claimed=*/false);
  answers_.push_back({0, SlotAnswer::Result::kLater, 0, 0, absl::Seconds(30)});
  Give(Batch(2, {{"b@a.test"}}));
  EXPECT_THAT(slot_requests_, SizeIs(2));
  Claim(BatchId(1));
  EXPECT_THAT(finished_, ElementsAre(1, 2));
  EXPECT_EQ(connections(), 1u);
  loop_.Advance(absl::Seconds(60));
  EXPECT_THAT(slot_requests_, SizeIs(2));  // the search is over
}

TEST_F(RelayRoomTest, LaterMeansToAskAgain) {
  Start();
  answers_.push_back({0, SlotAnswer::Result::kLater, 0, 0, absl::Seconds(5)});
  answers_.push_back({0, SlotAnswer::Result::kLater, 0, 0, absl::Seconds(5)});
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_EQ(connections(), 0u);
  loop_.Advance(absl::Seconds(11));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
  EXPECT_THAT(slot_requests_, SizeIs(3));
}

TEST_F(RelayRoomTest, TheNextHostIfOneFails) {
  Start();
  Hosts("a.test", {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"});
  dialer_->refusing = {"192.0.2.1"};
  dialer_->hanging = {"192.0.2.2"};
  dialer_->prepare = [](size_t n, Server* s) {
    if (n == 0) s->answers["banner"] = {"554 go away"};
  };
  Give(Batch(1, {{"a@a.test"}}));
  loop_.Advance(kConnectTimeout);
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
  EXPECT_EQ(batches_heard_.back().relay, "192.0.2.4 (192.0.2.4)");
  EXPECT_THAT(slots_,
              ElementsAre("1 failed", "2 failed", "3 failed", "4 ready"));
}

TEST_F(RelayRoomTest, NoHostTakesAConnection) {
  Start();
  Hosts("a.test", {"192.0.2.1", "192.0.2.2"});
  dialer_->refusing = {"192.0.2.1", "192.0.2.2"};
  Give(Batch(1, {{"a@a.test", "b@a.test"}}));
  EXPECT_EQ(failure_, "Network error on destination MXs");
  EXPECT_THAT(outcomes_, ElementsAre("100 Returned ", "101 Returned "));
  EXPECT_EQ(batches_heard_.back().relay, "a.test");
  EXPECT_EQ(batches_heard_.back().source, "-");
  EXPECT_EQ(static_cast<uint64_t>(batches_heard_.back().session), 0u);
  EXPECT_THAT(finished_, ElementsAre(1));
  answers_.push_back({0, SlotAnswer::Result::kNoRoute, 0, 0, {}});
  failure_.clear();
  Give(Batch(2, {{"a@a.test"}}));
  EXPECT_EQ(failure_, "Network error on destination MXs");
}

TEST_F(RelayRoomTest, WhatTheDnsSays) {
  Start();
  MailHosts& none = resolver_->domains["none.test"];
  none.result = MailHosts::Result::kPermFail;
  none.text = "Domain does not exist";
  none.status = {5, 12};
  RelayBatch batch = Batch(1, {{"a@none.test"}, {"b@none.test"}});
  batch.target.domain = "none.test";
  Give(batch);
  EXPECT_THAT(outcomes_, ElementsAre("100 Perm Domain does not exist",
                                     "101 Perm Domain does not exist"));
  EXPECT_EQ(failure_, "");
  EXPECT_EQ(last_.status.code, 12);
  resolver_->domains["slow.test"].text = "Temporary failure in MX lookup";
  batch = Batch(2, {{"a@slow.test"}});
  batch.target.domain = "slow.test";
  Give(batch);
  EXPECT_EQ(outcomes_.back(), "200 Returned ");
  EXPECT_EQ(failure_, "Temporary failure in MX lookup");
}

TEST_F(RelayRoomTest, Smarthosts) {
  Start();
  Hosts("relay.test", {"2001:db8::1"});
  const auto give = [&](uint64_t id, const std::string& url) {
    RelayBatch batch = Batch(id, {{"a@x.test"}});
    batch.target.domain = url;
    batch.target.smarthost = true;
    Give(batch);
  };
  give(1, "smtp+notls://relay.test:2525");
  EXPECT_EQ(outcomes_.back(), "100 Ok 250 2.0.0 queued");
  EXPECT_EQ(dialer_->connections[0]->port, 2525);
  EXPECT_EQ(slot_requests_.back().domain, "relay.test");
  EXPECT_EQ(batches_heard_.back().relay, "[2001:db8::1] (2001:db8::1)");
  give(2, "http://relay.test");
  EXPECT_EQ(outcomes_.back(), "200 Temp Cannot parse smarthost");
  give(3, "smtps://relay.test");
  EXPECT_EQ(outcomes_.back(), "300 Temp Relaying by smtps:// is not supported");
  EXPECT_EQ(batches_heard_.back().relay, "relay.test");
}

TEST_F(RelayRoomTest, SourceAddresses) {
  auto table = std::make_shared<Table>("src", Table::Kind::kList, "static", "");
  table->Add("198.51.100.1", "");
  table->Add("198.51.100.2", "");
  config_->actions["out"].src = table;
  config_->actions["out"].helo = "out.me.test";
  Start();
  Hosts("a.test", {"2001:db8::1", "192.0.2.1"});
  dialer_->cannot_bind = "198.51.100.1";
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_EQ(outcomes_.back(), "100 Ok 250 2.0.0 queued");
  EXPECT_EQ(dialer_->connections[0]->source, "198.51.100.2");
  EXPECT_EQ(slot_requests_.back().source, "198.51.100.2");
  ASSERT_THAT(slot_requests_.back().hosts, SizeIs(1));  // of its family
  EXPECT_EQ(slot_requests_.back().hosts[0].address, "192.0.2.1");
  EXPECT_THAT(Commands(0), HasSubstr("EHLO out.me.test"));
  Hosts("b.test", {"2001:db8::1"});
  RelayBatch batch = Batch(2, {{"b@b.test"}});
  batch.target.domain = "b.test";
  Give(batch);
  EXPECT_EQ(failure_, "Address family mismatch on destination MXs");
}

// A body of several chunks, which does not shrink.
RelayBatch Large(RelayBatch batch, size_t bytes,
                 std::vector<std::string>* chunks, std::string* text) {
  absl::BitGen random;
  text->clear();
  while (text->size() < bytes) {
    for (int i = 0; i < 60; ++i)
      text->push_back(static_cast<char>('!' + absl::Uniform(random, 0, 90)));
    text->push_back('\n');
  }
  BodyCompressor compressor;
  *chunks = compressor.Write(*text);
  CompressedBody rest = compressor.Finish();
  chunks->insert(chunks->end(), rest.chunks.begin(), rest.chunks.end());
  batch.messages[0].body = rest.info;
  batch.messages[0].stored.clear();
  return batch;
}

TEST_F(RelayRoomTest, ALargeBodyIsAskedForInPiecesItsDotWaitsForTheClaim) {
  Start();
  std::string text;
  RelayBatch batch = Large(Batch(1, {{"a@a.test"}}), 2 << 20, &chunks_, &text);
  ASSERT_GT(batch.messages[0].body.chunks, 16u);
  Give(batch, /*claimed=*/false);
  EXPECT_EQ(server(0).open_messages(), 1);
  for (const BodyRequest& r : body_requests_) EXPECT_LE(r.count, 8u);
  EXPECT_THAT(server(0).messages(), IsEmpty());  // all but the dot is there
  Claim(BatchId(1));
  ASSERT_THAT(server(0).messages(), SizeIs(1));
  std::string wire;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.empty()) continue;
    absl::StrAppend(&wire, absl::StartsWith(line, ".") ? "." : "", line,
                    "\r\n");
  }
  EXPECT_EQ(server(0).messages()[0].text, wire);
}

TEST_F(RelayRoomTest, NoMoreOfABodyIsReadThanTheServerTakes) {
  Start();
  std::string text;
  const RelayBatch batch =
      Large(Batch(1, {{"a@a.test"}}), 4 << 20, &chunks_, &text);
  serve_bodies_ = false;
  Give(batch);
  ASSERT_THAT(body_requests_, SizeIs(1));
  dialer_->connections[0]->stream->PauseReading();
  serve_bodies_ = true;
  BodyRequest first = body_requests_[0];
  On(first);
  loop_.RunReady();
  // What is asked for is bounded by backlog, socket buffers and credit.
  const size_t asked = body_requests_.back().first + 8;
  EXPECT_LT(asked * kBodyChunkBytes, 2u << 20);
  dialer_->connections[0]->stream->ResumeReading();
  loop_.RunReady();
  EXPECT_THAT(server(0).messages(), SizeIs(1));
}

TEST_F(RelayRoomTest, ABodyThatCannotBeReadIsNeverCompleted) {
  Start();
  std::string text;
  RelayBatch batch =
      Large(Batch(1, {{"a@a.test"}, {"b@a.test"}}), 1 << 20, &chunks_, &text);
  chunks_.resize(12);  // the rest is lost
  Give(batch);
  EXPECT_THAT(outcomes_, ElementsAre("100 Temp Error reading content file",
                                     "101 Ok 250 2.0.0 queued"));
  EXPECT_THAT(server(0).messages(), IsEmpty());
  // Damaged, and small.
  outcomes_.clear();
  RelayBatch damaged = Batch(2, {{"a@a.test"}});
  damaged.messages[0].body.digest ^= 1;
  Give(damaged);
  EXPECT_THAT(outcomes_, ElementsAre("200 Temp Error reading content file"));
}

TEST_F(RelayRoomTest, ARefusalDuringALargeBodyIsHeard) {
  Start();
  std::string text;
  dialer_->prepare = [](size_t, Server* s) {
    s->early_answer = "554 5.7.1 no such thing";
  };
  Give(Large(Batch(1, {{"a@a.test"}}), 2 << 20, &chunks_, &text));
  EXPECT_THAT(outcomes_, ElementsAre("100 Perm 554 5.7.1 no such thing"));
}

TEST_F(RelayRoomTest, SuccessTogetherWithTheGoAheadIsNone) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["DATA"] = {"354 go\r\n250 2.0.0 have it"};
  };
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_THAT(outcomes_,
              ElementsAre("100 Temp Remote host sent too much data"));
}

TEST_F(RelayRoomTest, OutcomesAreKeptUntilRecordedAndToldToANewQueue) {
  Start();
  record_ = false;
  Give(Batch(1, {{"a@a.test"}}));
  EXPECT_THAT(outcomes_, SizeIs(1));
  NewQueue();
  EXPECT_EQ(heard_.at(0), WorkerState::kType);
  EXPECT_THAT(worker_state_, ElementsAre(1));
  EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued",
                                     "100 Ok 250 2.0.0 queued"));
  EXPECT_THAT(finished_, ElementsAre(1, 1));
  queue_->Send(OutcomesRecorded{BatchId(1), batches_heard_.back().sequence});
  loop_.RunReady();
  NewQueue();
  EXPECT_THAT(worker_state_, IsEmpty());
  EXPECT_THAT(outcomes_, SizeIs(2));
}

TEST_F(RelayRoomTest, TheQueueDiesBeforeTheFinalDot) {
  Start();
  // One waits for DATA's answer, one for a slot, one is not claimed yet.
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["DATA"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test"}, {"b@a.test"}}));
  Give(Batch(2, {{"c@a.test"}}), /*claimed=*/false);
  hold_slots_ = true;
  Give(Batch(3, {{"d@a.test"}}));
  queue_.reset();
  loop_.RunReady();
  EXPECT_FALSE(open(0));
  EXPECT_FALSE(open(1));
  NewQueue();
  EXPECT_THAT(worker_state_, ElementsAre(1, 3));
  EXPECT_THAT(outcomes_, UnorderedElementsAre("100 Returned ", "101 Returned ",
                                              "300 Returned "));
  EXPECT_THAT(finished_, UnorderedElementsAre(1, 3));
  EXPECT_EQ(failure_, "");
  // Slots of the old queue are nothing to the new one.
  EXPECT_THAT(slots_, ElementsAre("1 ready", "2 ready"));
}

TEST_F(RelayRoomTest, TheQueueDiesAfterTheFinalDot) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test"}, {"b@a.test"}}));
  queue_.reset();
  loop_.RunReady();
  ASSERT_TRUE(open(0));  // the answer counts
  NewQueue();
  EXPECT_THAT(worker_state_, ElementsAre(1));
  EXPECT_THAT(outcomes_, ElementsAre("101 Returned "));
  EXPECT_THAT(finished_, IsEmpty());
  dialer_->connections[0]->stream->Write("250 there it is\r\n");
  loop_.RunReady();
  EXPECT_THAT(outcomes_,
              ElementsAre("101 Returned ", "100 Ok 250 there it is"));
  EXPECT_THAT(finished_, ElementsAre(1));
  EXPECT_THAT(slots_, ElementsAre("1 ready"));
  // The session is not used for the new queue's batches.
  Give(Batch(2, {{"c@a.test"}}));
  EXPECT_EQ(connections(), 2u);
}

TEST_F(RelayRoomTest, StoppingFinishesWhatIsUnderWayAndGivesBackTheRest) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  record_ = false;
  Give(Batch(1, {{"a@a.test"}, {"b@a.test"}}));
  room_->OnStop(absl::Seconds(30));
  loop_.RunReady();
  EXPECT_THAT(outcomes_, ElementsAre("101 Returned "));
  Give(Batch(2, {{"c@a.test"}}));
  EXPECT_EQ(outcomes_.back(), "200 Returned ");
  EXPECT_FALSE(exited_.has_value());
  dialer_->connections[0]->stream->Write("250 ok\r\n");
  loop_.RunReady();
  EXPECT_EQ(outcomes_.back(), "100 Ok 250 ok");
  EXPECT_FALSE(exited_.has_value());  // not recorded yet
  for (const BatchOutcomes& m : batches_heard_)
    queue_->Send(OutcomesRecorded{m.batch, m.sequence});
  loop_.RunReady();
  EXPECT_EQ(exited_, 0);
}

TEST_F(RelayRoomTest, StoppingEndsWithItsGrace) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->answers["dot"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test"}}));
  Give(Batch(2, {{"b@a.test"}}), /*claimed=*/false);
  room_->OnStop(absl::Seconds(30));
  loop_.Advance(absl::Seconds(28));
  EXPECT_THAT(outcomes_, IsEmpty());
  EXPECT_FALSE(exited_.has_value());
  loop_.Advance(absl::Seconds(2));
  EXPECT_THAT(outcomes_,
              ElementsAre("100 Temp Connection closed unexpectedly"));
  EXPECT_EQ(exited_, 0);
}

TEST_F(RelayRoomTest, StoppingWithNothingToDo) {
  Start();
  Give(Batch(1, {{"a@a.test"}}));
  room_->OnStop(absl::Seconds(30));
  loop_.RunReady();
  EXPECT_THAT(Commands(0), HasSubstr("QUIT"));
  EXPECT_EQ(exited_, 0);
}

TEST_F(RelayRoomTest, NamesForReceive) {
  Start();
  resolver_->names["192.0.2.9"] = "client.test";
  auto [theirs, ours] = MakeDoorPair(&loop_);
  std::vector<std::string> answers;
  ours->SetCallbacks(
      [&](Frame& frame) {
        Dispatch<ReverseAnswer>(frame, [&](auto& a) {
          answers.push_back(
              absl::StrCat(a.question, " ", a.name, " ", int(a.fcrdns)));
        });
      },
      [](absl::Status) {});
  NewDoor to;
  to.peer = Room::kReceive;
  room_->OnDoor(to, std::move(theirs));
  ours->Send(ReverseRequest{1, "192.0.2.9"});
  ours->Send(ReverseRequest{2, "192.0.2.8"});
  ours->Send(ReverseRequest{3, "nonsense"});
  loop_.RunReady();
  EXPECT_THAT(answers, UnorderedElementsAre("1 client.test 1", "2  2", "3  2"));
  ours->Send(ReverseRequest{4, "192.0.2.9"});
  ours.reset();  // gone before the answer
  loop_.RunReady();
}

TEST_F(RelayRoomTest, ThousandsOfMessagesOverOneSession) {
  config_->mta_limits.session_mail_max = 100000;
  Start();
  for (uint64_t b = 1; b <= 20; ++b)
    Give(Batch(b, std::vector<std::vector<std::string>>(100, {"a@a.test"})));
  EXPECT_EQ(connections(), 1u);
  EXPECT_THAT(server(0).messages(), SizeIs(2000));
  EXPECT_THAT(outcomes_, SizeIs(2000));
  EXPECT_THAT(finished_, SizeIs(20));
}

// ---- what the sender asked for, and what the next hop offers

TEST_F(RelayRoomTest, WishesAreToldToWhoeverUnderstandsThem) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"PIPELINING", "SMTPUTF8",    "8BITMIME",
                     "DELIVERBY",  "MT-PRIORITY", "DSN"};
  };
  RelayBatch batch = Batch(1, {{"j\xc3\xb6rg@a.test"}});
  BatchMessage& m = batch.messages[0];
  m.priority = 4;
  m.flags = kFlagSmtpUtf8 | kFlagDeliverByReturn;
  m.deliver_by = loop_.Now() + absl::Seconds(120);
  m.deliver_by_trace = true;
  m.dsn_ret = DsnReturn::kHeaders;
  m.dsn_envid = "QQ";
  m.recipients[0].dsn_notify = kNotifyNever;
  Give(batch);
  EXPECT_EQ(server(0).commands()[1],
            "MAIL FROM:<from@me.test> SMTPUTF8 MT-PRIORITY=4 BY=120;RT "
            "RET=HDRS ENVID=QQ");
  EXPECT_EQ(server(0).commands()[2],
            "RCPT TO:<j\xc3\xb6rg@a.test> NOTIFY=NEVER");
  EXPECT_TRUE(last_.peer_deliver_by);
  EXPECT_TRUE(last_.peer_dsn);
}

TEST_F(RelayRoomTest, WhatMustNotGoInClearFails) {
  Start();
  RelayBatch batch = Batch(1, {{"a@a.test", "b@a.test"}, {"c@a.test"}});
  batch.messages[0].flags = kFlagRequireTls;
  Give(batch);
  EXPECT_THAT(outcomes_,
              UnorderedElementsAre("100 Perm REQUIRETLS support required",
                                   "101 Perm REQUIRETLS support required",
                                   "102 Ok 250 2.0.0 queued"));
  EXPECT_EQ(batches_heard_[0].outcomes[0].status.subject(), 7);
  EXPECT_EQ(batches_heard_[0].outcomes[0].status.detail(), 30);
  EXPECT_EQ(server(0).messages().size(), 1u);
  EXPECT_FALSE(last_.peer_deliver_by);
}

TEST_F(RelayRoomTest, MailForAnIdnDomainAsksDnsInAscii) {
  Start();
  Hosts("xn--bcher-kva.test", {"192.0.2.9"});
  RelayBatch batch = Batch(1, {{"a@b\xc3\xbc"
                                "cher.test"}});
  batch.target.domain =
      "b\xc3\xbc"
      "cher.test";
  Give(batch);
  EXPECT_EQ(dialer_->connections.at(0)->address, "192.0.2.9");
  EXPECT_THAT(Commands(0), HasSubstr("RCPT TO:<a@xn--bcher-kva.test>"));
  RelayBatch bad = Batch(2, {{"a@\xff.test"}});
  bad.target.domain = "\xff.test";
  Give(bad);
  EXPECT_EQ(outcomes_.back(), "200 Perm Malformed domain");
}

TEST_F(RelayRoomTest, LimitsOfTheHostAreKept) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"PIPELINING", "LIMITS RCPTMAX=2 MAILMAX=2"};
  };
  Give(Batch(1, {{"a@a.test", "b@a.test", "c@a.test", "d@a.test", "e@a.test"},
                 {"f@a.test"}}));
  EXPECT_THAT(outcomes_, SizeIs(6));
  EXPECT_THAT(finished_, ElementsAre(1u));
  ASSERT_EQ(connections(), 2u);
  ASSERT_THAT(server(0).messages(), SizeIs(2));
  EXPECT_THAT(server(0).messages()[0].recipients, SizeIs(2));
  EXPECT_THAT(server(0).messages()[1].recipients, SizeIs(2));
  EXPECT_EQ(server(0).commands().back(), "QUIT");
  ASSERT_THAT(server(1).messages(), SizeIs(2));
  EXPECT_THAT(server(1).messages()[0].recipients, SizeIs(1));
}

TEST_F(RelayRoomTest, DomainsOfATransactionMayBeLimited) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"PIPELINING", "LIMITS RCPTDOMAINMAX=1"};
  };
  Give(Batch(1, {{"a@a.test", "b@b.test", "c@A.test"}}));
  ASSERT_THAT(server(0).messages(), SizeIs(2));
  EXPECT_THAT(server(0).messages()[0].recipients,
              ElementsAre("RCPT TO:<a@a.test>", "RCPT TO:<c@A.test>"));
  EXPECT_THAT(outcomes_, SizeIs(3));
}

TEST_F(RelayRoomTest, ALimitedMessageIsNotForgottenWhenTheQueueDies) {
  Start();
  dialer_->prepare = [](size_t, Server* s) {
    s->extensions = {"PIPELINING", "LIMITS RCPTMAX=1"};
    s->answers["dot"] = {Server::kSilence};
  };
  Give(Batch(1, {{"a@a.test", "b@a.test"}}));
  EXPECT_THAT(outcomes_, IsEmpty());
  NewQueue();
  Connection* c = dialer_->connections.at(0).get();
  dialer_->Send(c, "250 2.0.0 queued\r\n");
  loop_.RunReady();
  EXPECT_THAT(outcomes_,
              UnorderedElementsAre("100 Ok 250 2.0.0 queued", "101 Returned "));
  EXPECT_THAT(finished_, ElementsAre(1u));
}

TEST_F(RelayRoomTest, ALargeBinaryMessageGoesInChunksAsItIs) {
  for (const bool pipelining : {true, false}) {
    Start();
    dialer_->prepare = [&](size_t, Server* s) {
      s->extensions = {"CHUNKING", "BINARYMIME"};
      if (pipelining) s->extensions.push_back("PIPELINING");
    };
    std::string text = "Subject: x\n\n";
    for (int i = 0; i < 600'000; ++i)
      text.push_back(static_cast<char>(random_()));
    BodyCompressor compressor;
    chunks_ = compressor.Write(text);
    CompressedBody body = compressor.Finish();
    for (std::string& chunk : body.chunks) chunks_.push_back(std::move(chunk));
    RelayBatch batch = Batch(1, {{"a@a.test"}});
    batch.messages[0].flags = kFlagBinaryMime;
    batch.messages[0].body = body.info;
    batch.messages[0].stored.clear();
    Give(batch);
    ASSERT_THAT(server(0).messages(), SizeIs(1)) << pipelining;
    EXPECT_TRUE(server(0).messages()[0].text ==
                "Subject: x\r\n\r\n" + text.substr(12));
    EXPECT_GT(server(0).messages()[0].chunks.size(), 1u);
    EXPECT_THAT(outcomes_, ElementsAre("100 Ok 250 2.0.0 queued"));
    outcomes_.clear();
    room_.reset();
  }
}

}  // namespace
}  // namespace holdfast
