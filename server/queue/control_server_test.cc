#include "server/queue/control_server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <thread>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/control_frames.h"
#include "protocol/control_messages.h"
#include "server/queue/fake_queue.h"

namespace holdfast {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr uid_t kRoot = 0;
constexpr uid_t kStranger = 54321;

absl::StatusOr<CheckSummary> Check(
    QueueStore*, absl::FunctionRef<void(absl::string_view)> problem,
    absl::AnyInvocable<void(uint64_t)> progress) {
  progress(10);
  for (int i = 0; i < 20000; ++i) problem("envelope 1: bad\x1bness");
  CheckSummary summary;
  summary.messages = 3;
  summary.envelopes = 4;
  summary.problems = 20000;
  return summary;
}

// smtpctl's side of a connection.
class Client {
 public:
  Client(FakeQueueServices* services, ControlServer* server, uid_t uid)
      : services_(*services) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   fds) != 0)
      abort();
    fd_ = fds[0];
    server->Serve(fds[1], uid);
  }
  ~Client() { Close(); }

  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
    services_.loop()->RunReady();
  }
  void Send(absl::string_view bytes) {
    ASSERT_EQ(write(fd_, bytes.data(), bytes.size()),
              static_cast<ssize_t>(bytes.size()));
    services_.loop()->RunReady();
  }
  void Ask(std::vector<std::string> words) {
    ControlRequest request;
    request.words = std::move(words);
    Send(EncodeControlFrame(request));
  }
  void More() { Send(EncodeControlFrame(ControlMore{})); }

  // The next frame that is there.
  std::optional<ControlFrame> Next() {
    char buffer[65536];
    services_.loop()->RunReady();
    for (ssize_t n; (n = read(fd_, buffer, sizeof buffer)) > 0;) {
      frames_.Append({buffer, static_cast<size_t>(n)});
      services_.loop()->RunReady();
    }
    auto frame = frames_.Next();
    return frame.ok() ? *frame : std::nullopt;
  }
  bool IsClosed() {
    char byte;
    services_.loop()->RunReady();
    return recv(fd_, &byte, 1, MSG_PEEK) == 0;
  }

  // The whole answer, as smtpctl reads it; `done` is set by the last frame.
  std::string All() {
    std::string text;
    done.reset();
    while (!done) {
      std::optional<ControlFrame> frame = Next();
      if (!frame) return text + "<nothing more>";
      if (frame->type == ControlText::kType) {
        text += Decode<ControlText>(frame->payload)->text;
        More();
      } else {
        done = *Decode<ControlDone>(frame->payload);
      }
    }
    return text;
  }
  std::optional<ControlDone> done;

 private:
  FakeQueueServices& services_;
  int fd_ = -1;
  ControlFrames frames_{kMaxControlAnswerFrame};
};

class ControlServerTest : public ::testing::Test {
 protected:
  FakeQueueStore& store() { return *services_.store(); }

  Envelope& Add(uint64_t id) {
    Envelope& e = store().envelopes[EnvelopeId(id)];
    e.id = EnvelopeId(id);
    e.sockaddr = "local";
    e.flags = kFlagAuthenticated;
    e.sender = {"alice", "mx.example.org"};
    e.rcpt = e.dest = {"temp", "example.net"};
    e.routing_key = "example.net";
    e.created = services_.loop()->Now() - absl::Seconds(100);
    e.expires = e.created + absl::Hours(96);
    store().due[e.id] = services_.loop()->Now() + absl::Seconds(300);
    return e;
  }

  std::string Run(std::vector<std::string> words, bool ok = true,
                  const std::string& error = "") {
    Client client(&services_, &server_, kRoot);
    client.Ask(std::move(words));
    const std::string text = client.All();
    EXPECT_TRUE(client.done);
    if (client.done) {
      EXPECT_EQ(client.done->ok, ok);
      EXPECT_EQ(client.done->error, error);
      count_ = client.done->count;
    }
    return text;
  }

  FakeQueueServices services_;
  ControlServer server_{&services_, -1, Check};
  uint64_t count_ = 0;
};

TEST_F(ControlServerTest, ShowQueue) {
  EXPECT_EQ(Run({"show", "queue"}), "");
  Add(0x0000000a00000001).error_line = "450 Try later";
  Add(0x0000000a00000002);
  services_.in_flight[EnvelopeId(0x0000000a00000002)] =
      services_.loop()->Now() - absl::Seconds(25);
  Envelope& third = Add(0x0000000b00000001);
  third.routing_key = "dead.test";
  DestinationRow dead;
  dead.id = DestinationId{1};
  dead.postponed_until = services_.loop()->Now() + absl::Seconds(4000);
  dead.error = "Network error on destination MXs";
  store().destinations["dead.test"] = dead;
  const std::string middle =
      "|local|mta|auth|alice@mx.example.org|temp@example.net|temp@example.net|"
      "1795323900|1795669500|";
  EXPECT_EQ(Run({"show", "queue"}),
            "0000000a00000001" + middle + "0|0|pending|300|450 Try later\n" +
                "0000000a00000002" + middle + "1795323975|0|inflight|25|\n" +
                "0000000b00000001" + middle +
                "0|0|pending|4000|Network error on destination MXs\n");
  EXPECT_THAT(Run({"show", "queue", "0000000b"}),
              StartsWith("0000000b00000001|"));
  EXPECT_EQ(Run({"show", "queue", "0000000c"}), "");
}

// Promise P4: a long queue is read by pages, each when it is asked for.
TEST_F(ControlServerTest, ALongQueueWaitsForItsReader) {
  for (uint64_t i = 1; i <= 5000; ++i) Add(0x0000000a00000000 + i);
  Client client(&services_, &server_, kRoot);
  client.Ask({"show", "queue"});
  std::optional<ControlFrame> first = client.Next();
  ASSERT_TRUE(first);
  EXPECT_EQ(store().reads, 1);
  EXPECT_FALSE(client.Next());  // nothing without credit
  EXPECT_EQ(store().reads, 1);
  client.More();
  std::string rest = client.All();
  EXPECT_EQ(std::count(rest.begin(), rest.end(), '\n'), 4900);
  EXPECT_LE(store().reads, 11) << "100, then 500 at once";
  EXPECT_TRUE(client.done->ok);
}

TEST_F(ControlServerTest, ShowMessageAndEnvelope) {
  std::string text = "Subject: x\n\n";
  for (int i = 0; i < 60000; ++i) absl::StrAppend(&text, "line ", i, "\n");
  store().AddMessage(MessageId(0xa), text);
  Add(0x0000000a00000001);
  EXPECT_EQ(Run({"show", "message", "0000000a"}), text);
  EXPECT_EQ(Run({"show", "message", "0000000a00000001"}), text);
  EXPECT_EQ(Run({"show", "message", "0000000b"}, false,
                "fopen: No such file or directory"),
            "");
  EXPECT_THAT(Run({"show", "envelope", "0000000a00000001"}),
              StartsWith("version: 3\n"));
  EXPECT_EQ(Run({"show", "envelope", "0000000b00000001"}, false,
                "fopen: No such file or directory"),
            "");
}

TEST_F(ControlServerTest, ShowDoubt) {
  store().doubts.push_back({EnvelopeId(0x0000000a00000001),
                            absl::FromUnixSeconds(77), DeliveryKind::kMda,
                            "a@b", "c@d"});
  EXPECT_EQ(Run({"show", "doubt"}), "0000000a00000001|77|mda|a@b|c@d\n");
}

TEST_F(ControlServerTest, History) {
  Envelope& queued = Add(0x0000000a00000002);
  queued.attempts.resize(1);
  queued.attempts[0].answer = "451 later";
  HistoryRow row;
  row.serial = 7;
  row.ended = absl::FromUnixSeconds(1795382282);
  row.envelope = queued;
  row.envelope.id = EnvelopeId(0x0000000a00000001);
  store().history.push_back(row);
  row.serial = 9;
  row.ending = Ending::kRemoved;
  row.envelope.id = EnvelopeId(0x0000000b00000001);
  store().history.push_back(row);

  const std::string one = Run({"history", "0000000a00000001"});
  EXPECT_THAT(one, StartsWith("0000000a00000001 "));
  EXPECT_THAT(one, HasSubstr("delivered 2026-11-22T21:18:02Z\n"));
  EXPECT_THAT(one, HasSubstr("  451 later\n"));
  const std::string message = Run({"history", "0000000a"});
  EXPECT_THAT(message, StartsWith("0000000a00000002 "));
  EXPECT_THAT(message, HasSubstr(" queued\n"));
  EXPECT_THAT(message, HasSubstr("\n" + one));
  services_.in_flight[EnvelopeId(0x0000000a00000002)] = services_.loop()->Now();
  EXPECT_THAT(Run({"history", "0000000a00000002"}), HasSubstr("inflight\n"));
  EXPECT_THAT(Run({"history", "--json", "0000000b"}),
              HasSubstr("\"serial\":9,"));
  EXPECT_EQ(
      Run({"history", "0000000c00000001"}, false, "nothing is known of that"),
      "");
}

TEST_F(ControlServerTest, HistoryOfManyGoesByPages) {
  for (uint64_t i = 1; i <= 1000; ++i) {
    HistoryRow row;
    row.serial = i;
    row.ended = absl::FromUnixSeconds(1795382282);
    row.envelope.id = EnvelopeId(0x0000000a00000000 + i);
    store().history.push_back(row);
    Add(0x0000000a00010000 + i);
  }
  Add(0x0000000b00000001);
  const std::string text = Run({"history", "0000000a"});
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2000);
}

TEST_F(ControlServerTest, Acts) {
  Add(0x0000000a00000001);
  Add(0x0000000a00000002);
  Add(0x0000000b00000001);
  EXPECT_EQ(Run({"schedule", "0000000a00000001"}), "1 envelope scheduled\n");
  EXPECT_EQ(Run({"pause", "envelope", "0000000a"}), "2 envelopes paused\n");
  EXPECT_EQ(Run({"resume", "envelope", "all"}), "3 envelopes resumed\n");
  EXPECT_EQ(count_, 3u);
  EXPECT_EQ(Run({"remove", "0000000c"}), "0 envelope removed\n");
  EXPECT_EQ(Run({"remove", "all"}), "3 envelopes removed\n");
  ASSERT_THAT(services_.acts, SizeIs(4));
  EXPECT_THAT(services_.acts[1].second, SizeIs(2));
  EXPECT_EQ(services_.acts[3].first, OperatorAct::kRemove);
}

TEST_F(ControlServerTest, AllGoesByPages) {
  for (uint64_t i = 1; i <= 2500; ++i) Add(0x0000000a00000000 + i);
  // What comes in later is not meant.
  Add(0x0000000b00000001).created = services_.loop()->Now() + absl::Seconds(1);
  EXPECT_EQ(Run({"schedule", "all"}), "2500 envelopes scheduled\n");
  EXPECT_THAT(services_.acts, SizeIs(3));
}

TEST_F(ControlServerTest, Discover) {
  for (uint64_t i = 1; i <= 1500; ++i) Add(0x0000000a00000000 + i);
  Add(0x0000000b00000001);
  EXPECT_EQ(Run({"discover", "0000000a"}), "1500 envelopes discovered\n");
  EXPECT_EQ(Run({"discover", "0000000b"}), "1 envelope discovered\n");
  EXPECT_EQ(Run({"discover", "0000000c"}), "0 envelopes discovered\n");
  EXPECT_EQ(Run({"discover", "0000000a000005dc"}), "1 envelope discovered\n");
  EXPECT_EQ(Run({"discover", "0000000b00000002"}), "0 envelopes discovered\n");
}

TEST_F(ControlServerTest, Trace) {
  EXPECT_EQ(Run({"log", "brief"}), "command succeeded\n");
  EXPECT_EQ(Run({"trace", "smtp"}), "command succeeded\n");
  EXPECT_TRUE(services_.verbose_);
  EXPECT_EQ(Run({"untrace", "smtp"}), "command succeeded\n");
  EXPECT_FALSE(services_.verbose_);
  EXPECT_EQ(Run({"trace", "x"}, false, "invalid trace keyword: x"), "");
  EXPECT_FALSE(services_.verbose_);
}

TEST_F(ControlServerTest, PauseAndStatus) {
  EXPECT_EQ(Run({"pause", "mta"}), "command succeeded\n");
  EXPECT_EQ(Run({"pause", "mta"}, false), "command failed\n");
  EXPECT_EQ(Run({"pause", "smtp"}), "command succeeded\n");
  EXPECT_EQ(Run({"show", "status"}), "MDA running\nMTA paused\nSMTP paused\n");
  EXPECT_EQ(Run({"resume", "mta"}), "command succeeded\n");
  EXPECT_EQ(Run({"resume", "mda"}, false), "command failed\n");
  EXPECT_EQ(Run({"show", "status"}), "MDA running\nMTA running\nSMTP paused\n");
  EXPECT_EQ(Run({"log", "verbose"}), "command succeeded\n");
  EXPECT_TRUE(services_.verbose_);
}

TEST_F(ControlServerTest, ExplainAsksLookup) {
  services_.explanation.text = "because\n";
  EXPECT_EQ(Run({"explain", "joe@mx.test", "via", "ext", "tls"}), "because\n");
  ASSERT_THAT(services_.explained, SizeIs(1));
  EXPECT_EQ(services_.explained[0].about.rcpt.ToString(), "joe@mx.test");
  EXPECT_EQ(services_.explained[0].listener, "ext");
  EXPECT_TRUE(services_.explained[0].about.tls);
  services_.explanation.ok = false;
  services_.explanation.text = "no such listener: x";
  EXPECT_EQ(
      Run({"explain", "joe@mx.test", "via", "x"}, false, "no such listener: x"),
      "");
  const std::string usage =
      "\nusage: explain RCPT [from SENDER] [via LISTENER] [src ADDRESS] "
      "[rdns NAME] [helo NAME] [auth USER] [tls]";
  EXPECT_EQ(Run({"explain", "joe@mx.test", "why"}, false,
                "unknown word: why" + usage),
            "");
  EXPECT_EQ(Run({"explain"}, false, "missing: RCPT" + usage), "");
  EXPECT_THAT(services_.explained, SizeIs(2));
}

TEST_F(ControlServerTest, UpdateTableSaysHowItEnded) {
  services_.table_updated.ok = true;
  EXPECT_EQ(Run({"update", "table", "aliases"}), "command succeeded\n");
  services_.table_updated.ok = false;
  services_.table_updated.error = "/etc/aliases:2 invalid map entry";
  EXPECT_EQ(Run({"update", "table", "a b"}, false,
                "/etc/aliases:2 invalid map entry"),
            "command failed\n");
  EXPECT_THAT(services_.updated_tables, testing::ElementsAre("aliases", "a b"));
}

TEST_F(ControlServerTest, StatsAndLedger) {
  services_.counters.started = services_.loop()->Now() - absl::Seconds(3661);
  services_.counters.ok = 7;
  services_.counters.mda_envelopes = 5;
  services_.counters.mda_running = 2;
  services_.counters.control_sessions = 1;
  Add(0x0000000a00000001);
  EXPECT_EQ(Run({"show", "stats"}),
            "control.session=1\nmda.envelope=5\nmda.pending=3\n"
            "mda.running=2\nscheduler.delivery.ok=7\nscheduler.envelope=1\n"
            "scheduler.ramqueue.envelope=1\nuptime=3661\n"
            "uptime.human=1h1m1s\n");
  store().ledger.accepted = 3;
  store().ledger.delivered = 2;
  store().ledger.queued = 1;
  EXPECT_EQ(Run({"show", "ledger"}),
            "accepted 3\ndelivered 2\nreported 0\nremoved 0\ndiscarded 0\n"
            "silent 0\nqueued 1\nbalanced yes\n");
  store().ledger.queued = 0;
  EXPECT_THAT(Run({"show", "ledger"}), HasSubstr("balanced no\n"));
}

TEST_F(ControlServerTest, Monitor) {
  Client client(&services_, &server_, kRoot);
  services_.counters.enqueued = 5;
  client.Ask({"monitor"});
  std::string text = Decode<ControlText>(client.Next()->payload)->text;
  services_.counters.enqueued = 8;
  services_.counters.envelopes_now = 3;
  client.More();
  EXPECT_FALSE(client.Next());
  services_.loop()->Advance(absl::Seconds(1));
  text += Decode<ControlText>(client.Next()->payload)->text;
  EXPECT_EQ(text,
            "--- client ---  -- envelope --   ---- relay/delivery --- ------- "
            "misc -------\n"
            "curr conn disc  curr  enq  deq   ok tmpfail prmfail loop expire "
            "remove bounce\n"
            "   0    0    0     0    5    0    0       0       0    0      0  "
            "    0      0\n"
            "   0    0    0     3    3    0    0       0       0    0      0  "
            "    0      0\n");
  client.Close();
  EXPECT_EQ(server_.connections(), 0u);
}

TEST_F(ControlServerTest, QueueCheck) {
  Client client(&services_, &server_, kRoot);
  client.Ask({"queue", "check"});
  std::string text;
  // The thread answers when it does.
  while (!client.done) {
    std::optional<ControlFrame> frame = client.Next();
    if (!frame) {
      std::this_thread::yield();
    } else if (frame->type == ControlText::kType) {
      text += Decode<ControlText>(frame->payload)->text;
      client.More();
    } else {
      client.done = *Decode<ControlDone>(frame->payload);
    }
  }
  EXPECT_FALSE(client.done->ok);
  EXPECT_EQ(client.done->count, 20000u);
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  EXPECT_THAT(lines, SizeIs(20002));
  EXPECT_EQ(lines[0], "envelope 1: bad\\^[ness");
  EXPECT_EQ(lines[20000],
            "queue check: 3 messages, 4 envelopes, 20000 problems");
}

TEST_F(ControlServerTest, AClientThatLeavesACheckStopsNothing) {
  {
    Client client(&services_, &server_, kRoot);
    client.Ask({"queue", "check"});
  }
  EXPECT_EQ(server_.connections(), 0u);
}

TEST_F(ControlServerTest, StrangersMayNothing) {
  Client client(&services_, &server_, kStranger);
  client.Ask({"remove", "all"});
  EXPECT_EQ(client.All(), "");
  EXPECT_FALSE(client.done->ok);
  EXPECT_EQ(client.done->error, "need root privileges");
  EXPECT_THAT(services_.acts, IsEmpty());
}

TEST_F(ControlServerTest, TheUserItRunsAsMayAll) {
  Client client(&services_, &server_, geteuid());
  client.Ask({"show", "status"});
  EXPECT_THAT(client.All(), HasSubstr("MDA running\n"));
}

TEST_F(ControlServerTest, WhatIsNotThereIsSaid) {
  EXPECT_EQ(Run({"spf", "walk"}, false, "not available in this version"), "");
  EXPECT_EQ(Run({}, false, "not available in this version"), "");
  EXPECT_EQ(Run({"remove", "xyz"}, false, "not available in this version"), "");
  ControlRequest old;
  old.version = 99;
  Client client(&services_, &server_, kRoot);
  client.Send(EncodeControlFrame(old));
  EXPECT_EQ(client.All(), "");
  EXPECT_EQ(client.done->error, "incompatible smtpctl and smtpd");
}

TEST_F(ControlServerTest, AtMost32ConnectionsOfAUser) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < ControlServer::kMaxConnectionsPerUser; ++i)
    clients.push_back(
        std::make_unique<Client>(&services_, &server_, kStranger));
  Client over(&services_, &server_, kStranger);
  EXPECT_TRUE(over.IsClosed());
  Client other(&services_, &server_, kRoot);
  EXPECT_FALSE(other.IsClosed());
  clients.pop_back();
  Client again(&services_, &server_, kStranger);
  EXPECT_FALSE(again.IsClosed());
}

TEST_F(ControlServerTest, HostileBytesDropThatClientOnly) {
  Client good(&services_, &server_, kRoot);
  const std::string more = EncodeControlFrame(ControlMore{});
  ControlRequest request;
  request.words = {"monitor"};
  const std::string monitor = EncodeControlFrame(request);
  const std::vector<std::string> hostile = {
      std::string(6, '\0'),
      std::string(100, '\xff'),
      more,                                       // not asked
      monitor + monitor,                          // two at once
      EncodeControlFrame(1, "\xff\xff\xff\xff"),  // malformed
      EncodeControlFrame(99, "x"),                // no such type
      EncodeControlFrame(1, std::string(20000, 'x')),
  };
  for (const std::string& bytes : hostile) {
    Client bad(&services_, &server_, kRoot);
    bad.Send(bytes);
    while (bad.Next()) {
    }
    EXPECT_TRUE(bad.IsClosed()) << bytes.size();
  }
  // Answers that are not read are not heaped up for ever.
  Client deaf(&services_, &server_, kStranger);
  std::string flood;
  while (flood.size() < 100000) flood += monitor;
  for (int i = 0; i < 20 && server_.connections() == 2; ++i) deaf.Send(flood);
  EXPECT_EQ(server_.connections(), 1u);

  Client half(&services_, &server_, kStranger);
  half.Send(monitor.substr(0, 5));
  half.Close();
  good.Ask({"show", "status"});
  EXPECT_THAT(good.All(), HasSubstr("MDA running\n"));
  good.Ask({"show", "status"});  // one after the other on a connection
  EXPECT_THAT(good.All(), HasSubstr("MDA running\n"));
  EXPECT_EQ(server_.connections(), 1u);
}

}  // namespace
}  // namespace holdfast
