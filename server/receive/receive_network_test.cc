// Clients from the network: names, addresses behind proxies, limits, tables of
// listeners, and what MAIL's parameters become.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <random>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/loop/fake_event_loop.h"
#include "server/receive/fake_filters.h"
#include "server/receive/receive_room.h"
#include "storage/body_codec.h"

namespace holdfast {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

class ReceiveNetworkTest : public testing::Test {
 protected:
  ReceiveNetworkTest() {
    config_->server_name = "mx.test";
    listener_.where = "127.0.0.1";
    listener_.tag = "net";
  }

  void Begin() {
    config_->listeners.push_back(listener_);
    start_.bound.push_back({0, "0.0.0.0", 25});
    start_.has_clients = true;
    RoomContext context{.loop = &loop_,
                        .parent = nullptr,
                        .start = &start_,
                        .config = config_,
                        .fds = {},
                        .random = random_,
                        .exit = [this](int status) { exited_ = status; }};
    // Stands for a listening socket: nothing ever comes from it.
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    context.fds.emplace_back(fds[0]);
    listening_.Reset(fds[1]);
    context.fds.push_back(*ClientTable::MakeMemory(1, 5));
    room_ = std::make_unique<ReceiveRoom>(std::move(context), 1000);
    EXPECT_TRUE(room_->Begin().ok());
    ConnectQueue();
    ConnectLookup();
    loop_.RunReady();
  }
  void ConnectQueue() {
    auto [ours, theirs] = MakeDoorPair(&loop_);
    queue_ = std::move(theirs);
    queue_->SetCallbacks(
        [this](Frame& frame) {
          Dispatch<LeaseRequest>(frame, [this](const LeaseRequest& r) {
            Lease lease;
            lease.first = MessageId(1);
            lease.count = r.count;
            queue_->Send(lease);
          });
          Dispatch<AcceptRequest>(frame, [this](const AcceptRequest& r) {
            accepts_.push_back(r);
            Accepted accepted;
            accepted.question = r.question;
            accepted.result = AcceptResult::kOk;
            queue_->Send(accepted);
          });
          Dispatch<SessionCounts>(
              frame, [this](const SessionCounts& c) { counts_ = c; });
        },
        [](absl::Status) {});
    room_->OnDoor({.peer = Room::kQueue}, std::move(ours));
  }
  void ConnectLookup() {
    auto [ours, theirs] = MakeDoorPair(&loop_);
    lookup_ = std::move(theirs);
    lookup_->SetCallbacks(
        [this](Frame& frame) {
          Dispatch<ExpandRequest>(frame, [this](const ExpandRequest& r) {
            expands_.push_back(r);
            ExpandAnswer answer;
            answer.question = r.question;
            ExpandedRecipient to;
            to.action = "relay";
            to.dest = r.rcpt;
            answer.recipients = {to};
            lookup_->Send(answer);
          });
          Dispatch<ListenerTableQuestion>(
              frame, [this](const ListenerTableQuestion& q) {
                const std::string key =
                    absl::StrCat(static_cast<int>(q.table), " ", q.key,
                                 q.sender.empty() ? "" : " ", q.sender);
                asked_.push_back(key);
                ListenerTableAnswer answer;
                answer.question = q.question;
                const auto found = tables_.find(key);
                answer.result = found == tables_.end()
                                    ? ListenerTableAnswer::Result::kNotFound
                                    : ListenerTableAnswer::Result::kFound;
                if (found != tables_.end()) answer.value = found->second;
                if (tables_fail_)
                  answer.result = ListenerTableAnswer::Result::kError;
                lookup_->Send(answer);
              });
        },
        [](absl::Status) {});
    room_->OnDoor({.peer = Room::kLookup}, std::move(ours));
  }
  void ConnectRelay(const std::string& name) {
    auto [ours, theirs] = MakeDoorPair(&loop_);
    relay_ = std::move(theirs);
    relay_->SetCallbacks(
        [this, name](Frame& frame) {
          Dispatch<ReverseRequest>(frame, [&](const ReverseRequest& r) {
            reversed_.push_back(r.address);
            ReverseAnswer answer;
            answer.question = r.question;
            answer.name = name;
            answer.fcrdns = ReverseAnswer::Confirmed::kPass;
            relay_->Send(answer);
          });
        },
        [](absl::Status) {});
    room_->OnDoor({.peer = Room::kRelay}, std::move(ours));
  }

  // A client with an address of ours.
  OwnedFd ConnectByTcp() {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const at = reinterpret_cast<sockaddr*>(&address);
    const OwnedFd server(socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_EQ(bind(server.get(), at, size), 0);
    EXPECT_EQ(listen(server.get(), 1), 0);
    EXPECT_EQ(getsockname(server.get(), at, &size), 0);
    OwnedFd client(socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_EQ(connect(client.get(), at, size), 0);
    room_->AddClientAt(room_->listeners().front().get(), "127.0.0.1",
                       accept4(server.get(), nullptr, nullptr, SOCK_NONBLOCK));
    loop_.RunReady();
    return client;
  }

  // A client at 127.0.0.1.
  class Client {
   public:
    explicit Client(ReceiveNetworkTest* test, const std::string& first = "")
        : loop_(&test->loop_) {
      int fds[2];
      EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
      fd_.Reset(fds[0]);
      if (!first.empty()) Send(first);
      test->room_->AddClientAt(test->room_->listeners().front().get(),
                               "127.0.0.1", fds[1]);
      loop_->RunReady();
    }
    void Send(absl::string_view bytes) {
      EXPECT_EQ(send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(bytes.size()));
      loop_->RunReady();
    }
    std::string Read() {
      loop_->RunReady();
      std::string all;
      char buffer[4096];
      for (;;) {
        const ssize_t n = recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
        if (n == 0) ended_ = true;
        if (n <= 0) return all;
        all.append(buffer, static_cast<size_t>(n));
      }
    }
    std::string Say(absl::string_view bytes) {
      Send(bytes);
      return Read();
    }
    bool ended() {
      Read();
      return ended_;
    }
    void Close() {
      fd_.Reset();
      loop_->RunReady();
    }

   private:
    FakeEventLoop* loop_;
    OwnedFd fd_;
    bool ended_ = false;
  };

  static std::string Proxied(const std::string& address) {
    return absl::StrCat("PROXY TCP4 ", address, " 198.51.100.1 1000 25\r\n");
  }
  SessionCounts Counts() {
    loop_.Advance(kSessionCountsInterval);
    return counts_;
  }
  // The envelope of a message sent with these parameters.
  Envelope Sent(Client* client, const std::string& parameters) {
    EXPECT_THAT(client->Say(absl::StrCat("MAIL FROM:<a@b.test>", parameters,
                                         "\r\nRCPT TO:<c@d.test>\r\n")),
                HasSubstr("250 2.1.5"));
    EXPECT_THAT(client->Say("BDAT 6 LAST\r\nX: y\r\n"), StartsWith("250"));
    if (accepts_.empty()) return Envelope();
    return accepts_.back().envelopes.front();
  }

  FakeEventLoop loop_;
  std::mt19937_64 random_{1};
  std::shared_ptr<Config> config_ = std::make_shared<Config>();
  Listener listener_;
  TableRef some_table_ =
      std::make_shared<const Table>("t", Table::Kind::kList, "static", "");
  Start start_;
  OwnedFd listening_;
  std::unique_ptr<Door> queue_, lookup_, relay_;
  std::map<std::string, std::string> tables_;  // "table key[ sender]"
  bool tables_fail_ = false;
  std::vector<std::string> asked_;
  std::vector<std::string> reversed_;
  std::vector<ExpandRequest> expands_;
  std::vector<AcceptRequest> accepts_;
  SessionCounts counts_;
  int exited_ = -1;
  std::unique_ptr<ReceiveRoom> room_;
};

TEST_F(ReceiveNetworkTest, TheClientsNameStandsInWhatWeSayOfIt) {
  Begin();
  ConnectRelay("host.client.test");
  Client client(this);
  EXPECT_EQ(client.Read(), "220 mx.test ESMTP Holdfast\r\n");
  EXPECT_THAT(reversed_, ElementsAre("127.0.0.1"));
  client.Say("EHLO client.test\r\n");
  const Envelope envelope = Sent(&client, "");
  EXPECT_EQ(envelope.hostname, "host.client.test");
  EXPECT_EQ(envelope.sockaddr, "127.0.0.1");
  EXPECT_EQ(envelope.tag, "net");
  EXPECT_EQ(envelope.flags, 0u);
  ASSERT_EQ(expands_.size(), 1u);
  EXPECT_EQ(expands_[0].rdns, "host.client.test");
  EXPECT_FALSE(expands_[0].authenticated);
  EXPECT_FALSE(expands_[0].tls);
}

TEST_F(ReceiveNetworkTest, ParametersOfMailReachTheEnvelope) {
  Begin();
  Client client(this);
  client.Say("EHLO client.test\r\n");
  const absl::Time now = loop_.Now();
  Envelope e = Sent(&client, " BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x");
  EXPECT_EQ(e.flags, kFlag8BitMime | kFlagSmtpUtf8);
  EXPECT_EQ(e.dsn_ret, DsnReturn::kHeaders);
  EXPECT_EQ(e.dsn_envid, "x");
  EXPECT_EQ(e.hold_until, absl::UnixEpoch());
  EXPECT_EQ(e.deliver_by, absl::UnixEpoch());
  e = Sent(&client, " HOLDFOR=3600");
  EXPECT_EQ(e.hold_until, now + absl::Hours(1));
  e = Sent(&client, " BY=7200;RT");
  EXPECT_EQ(e.deliver_by, now + absl::Hours(2));
  EXPECT_TRUE(e.deliver_by_trace);
  EXPECT_EQ(e.flags, kFlagDeliverByReturn);
  e = Sent(&client, " BY=60;N MT-PRIORITY=-3 BODY=BINARYMIME");
  EXPECT_EQ(e.flags, kFlagBinaryMime);
  EXPECT_FALSE(e.deliver_by_trace);
  EXPECT_EQ(e.priority, -3);
}

TEST_F(ReceiveNetworkTest, HostnamesGoByTheAddress) {
  listener_.hostnames = some_table_;
  tables_["1 0.0.0.0"] = "other.test";
  Begin();
  Client client(this);
  EXPECT_EQ(client.Read(), "220 other.test ESMTP Holdfast\r\n");
  EXPECT_THAT(asked_, ElementsAre("1 0.0.0.0"));
  EXPECT_THAT(client.Say("EHLO x\r\n"), StartsWith("250-other.test Hello"));
  const Envelope envelope = Sent(&client, "");
  EXPECT_EQ(envelope.smtpname, "other.test");
  EXPECT_EQ(expands_[0].smtpname, "other.test");

  tables_.clear();
  Client another(this);
  EXPECT_THAT(another.Read(), StartsWith("220 mx.test "));
}

// The address of the listener, then that the client connected to; not the
// second if the first cannot be answered.
TEST_F(ReceiveNetworkTest, HostnamesThatFailAreAskedForOnce) {
  listener_.hostnames = some_table_;
  Begin();
  const OwnedFd first = ConnectByTcp();
  EXPECT_THAT(asked_, ElementsAre("1 0.0.0.0", "1 127.0.0.1"));
  asked_.clear();
  tables_fail_ = true;
  const OwnedFd second = ConnectByTcp();
  EXPECT_THAT(asked_, ElementsAre("1 0.0.0.0"));
  char banner[64];
  const ssize_t size = recv(second.get(), banner, sizeof banner, MSG_DONTWAIT);
  ASSERT_GT(size, 0);
  EXPECT_THAT(std::string(banner, static_cast<size_t>(size)),
              StartsWith("220 mx.test "));
}

// Whose mail it is cannot be said if it is a proxy and may not say so.
TEST_F(ReceiveNetworkTest, NobodyIsServedWhenXclientFails) {
  listener_.xclient = some_table_;
  listener_.hostnames = some_table_;
  tables_["3 127.0.0.1"] = "";
  tables_fail_ = true;
  Begin();
  Client client(this);
  EXPECT_EQ(client.Read(), "421 4.3.0 Temporary failure\r\n");
  EXPECT_TRUE(client.ended());
  tables_fail_ = false;
  Client again(this);
  EXPECT_THAT(again.Read(), StartsWith("220 "));
  EXPECT_THAT(again.Say("EHLO proxy\r\n"), HasSubstr("XCLIENT"));
  // Lookup is not there.
  lookup_.reset();
  loop_.RunReady();
  Client other(this);
  EXPECT_EQ(other.Read(), "421 4.3.0 Temporary failure\r\n");
  EXPECT_TRUE(other.ended());
}

TEST_F(ReceiveNetworkTest, TheAddressIsThatBehindTheProxy) {
  listener_.proxy = Listener::Proxy::kV1;
  Begin();
  ConnectRelay("host.client.test");
  Client client(this);
  EXPECT_EQ(client.Read(), "");  // no banner before the header
  // What comes behind the header belongs to the session.
  client.Send(absl::StrCat(Proxied("192.0.2.7"), "EHLO x\r\n"));
  EXPECT_THAT(client.Read(), HasSubstr("Hello x [192.0.2.7]"));
  EXPECT_THAT(reversed_, ElementsAre("192.0.2.7"));
  EXPECT_EQ(Sent(&client, "").sockaddr, "192.0.2.7");
  EXPECT_EQ(expands_[0].sockaddr, "192.0.2.7");

  Client liar(this, "EHLO x\r\n");
  EXPECT_EQ(liar.Read(), "");
  EXPECT_TRUE(liar.ended());
  Client silent(this);
  loop_.Advance(kProxyHeaderTimeout);
  EXPECT_TRUE(silent.ended());
}

TEST_F(ReceiveNetworkTest, SessionsOfASourceAreLimited) {
  listener_.proxy = Listener::Proxy::kV1;
  config_->smtp_limits.max_sessions_per_source = 2;
  config_->smtp_limits.max_sessions_per_network = 3;
  Begin();
  Client a(this, Proxied("192.0.2.1")), b(this, Proxied("192.0.2.1"));
  EXPECT_THAT(b.Read(), StartsWith("220 "));
  Client c(this, Proxied("192.0.2.1"));
  EXPECT_EQ(c.Read(), "421 4.7.0 Too many sessions from your address\r\n");
  EXPECT_TRUE(c.ended());
  Client d(this, Proxied("192.0.2.2"));
  EXPECT_THAT(d.Read(), StartsWith("220 "));
  Client e(this, Proxied("192.0.2.3"));
  EXPECT_EQ(e.Read(), "421 4.7.0 Too many sessions from your network\r\n");
  a.Close();
  Client f(this, Proxied("192.0.2.1"));
  EXPECT_THAT(f.Read(), StartsWith("220 "));
  const SessionCounts counts = Counts();
  EXPECT_EQ(counts.refused_by_source, 1u);
  EXPECT_EQ(counts.refused_by_network, 1u);
  EXPECT_EQ(counts.now, 3u);
  // This host is not counted.
  for (int i = 0; i < 5; ++i) {
    Client near(this, Proxied("127.0.0.1"));
    EXPECT_THAT(near.Read(), StartsWith("220 "));
  }
}

TEST_F(ReceiveNetworkTest, ConnectsOfASourceAreLimitedSoftlyThenHard) {
  listener_.proxy = Listener::Proxy::kV1;
  config_->smtp_limits.max_connects_per_source = 2;
  Begin();
  std::vector<std::string> heard;
  for (int i = 0; i < 6; ++i) {
    Client client(this, Proxied("192.0.2.1"));
    heard.push_back(client.Read().substr(0, 3));
    EXPECT_EQ(client.ended(), i >= 2);
  }
  EXPECT_THAT(heard, ElementsAre("220", "220", "421", "421", "", ""));
  EXPECT_EQ(Counts().refused_connects, 4u);
}

TEST_F(ReceiveNetworkTest, MailsOfASourceAreLimitedSoftlyThenHard) {
  listener_.proxy = Listener::Proxy::kV1;
  config_->smtp_limits.max_mails_per_source = 1;
  Begin();
  Client client(this, Proxied("192.0.2.1"));
  client.Say("EHLO x\r\n");
  const std::string mail = "MAIL FROM:<a@b.test>\r\nRSET\r\n";
  EXPECT_THAT(client.Say(mail), StartsWith("250 2.0.0"));
  EXPECT_THAT(client.Say(mail), StartsWith("451 4.7.0 Too many messages"));
  EXPECT_THAT(client.Say(mail), StartsWith("421 4.7.0 Too many messages"));
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(Counts().refused_mails, 2u);
}

TEST_F(ReceiveNetworkTest, SessionsInAllAreLimited) {
  config_->smtp_limits.max_sessions = 2;
  Begin();
  Client a(this), b(this), c(this);
  EXPECT_THAT(b.Read(), StartsWith("220 "));
  EXPECT_EQ(c.Read(), "421 4.3.2 Too many sessions, try again later\r\n");
  EXPECT_EQ(Counts().refused_sessions, 1u);
  a.Close();
  Client d(this);
  EXPECT_THAT(d.Read(), StartsWith("220 "));
}

TEST_F(ReceiveNetworkTest, AMessageHasATimeoutAndALeastRate) {
  config_->smtp_limits.data_timeout = 100;
  config_->smtp_limits.command_timeout = 200;
  config_->smtp_limits.min_data_rate = 10;
  Begin();
  Client idle(this), stuck(this), slow(this);
  const std::string opening =
      "EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n";
  EXPECT_THAT(stuck.Say(opening), HasSubstr("354 "));
  EXPECT_THAT(slow.Say(opening), HasSubstr("354 "));
  loop_.Advance(absl::Seconds(99));
  slow.Send("X: y\r\n");
  EXPECT_FALSE(stuck.ended());
  loop_.Advance(absl::Seconds(2));
  EXPECT_EQ(stuck.Read(), "421 4.4.2 Timeout, closing connection\r\n");
  EXPECT_TRUE(stuck.ended());
  EXPECT_FALSE(idle.ended());
  slow.Send("X: y\r\n");
  loop_.Advance(absl::Seconds(98));
  EXPECT_FALSE(idle.ended());
  slow.Send("X: y\r\n");
  loop_.Advance(absl::Seconds(2));
  EXPECT_TRUE(idle.ended());
  EXPECT_EQ(Counts().timeouts, 2u);
  // Always something, but too little.
  std::string heard;
  for (int i = 0; i < 20 && heard.empty(); ++i) {
    slow.Send("X: y\r\n");
    loop_.Advance(absl::Seconds(90));
    heard = slow.Read();
  }
  EXPECT_EQ(heard, "421 4.4.2 The message comes too slowly\r\n");
  EXPECT_TRUE(slow.ended());
  EXPECT_EQ(Counts().slow_messages, 1u);
}

TEST_F(ReceiveNetworkTest, LimitsOfASessionAreCounted) {
  config_->smtp_limits.max_errors = 1;
  config_->smtp_limits.max_bad_rcpt = 1;
  config_->smtp_limits.max_commands = 3;
  config_->smtp_limits.max_mails = 1;
  config_->smtp_limits.max_rcpt = 1;
  config_->max_message_size = 40;
  Begin();
  const std::string mail = "EHLO x\r\nMAIL FROM:<a@b.test>\r\n";
  const std::string rcpt = "RCPT TO:<c@d.test>\r\n";
  Client errors(this), commands(this), bad(this), size(this), mails(this);
  EXPECT_THAT(errors.Say("JUNK\r\nNOOP\r\n"), HasSubstr("421 4.7.0 "));
  EXPECT_THAT(commands.Say(mail + "NOOP\r\nNOOP\r\n"), HasSubstr("421 4.7.0 "));
  EXPECT_THAT(bad.Say(mail + "RCPT TO:<@@>\r\nNOOP\r\n"),
              HasSubstr("421 4.7.0 "));
  EXPECT_THAT(size.Say("EHLO x\r\nMAIL FROM:<a@b.test> SIZE=41\r\n"),
              HasSubstr("552 5.3.4 "));
  EXPECT_THAT(mails.Say(mail + rcpt + rcpt), HasSubstr("451 4.5.3 "));
  mails.Say("DATA\r\n");
  EXPECT_THAT(mails.Say(std::string(80, 'x') + "\r\n.\r\n"),
              HasSubstr("554 5.3.4 "));
  EXPECT_THAT(mails.Say("MAIL FROM:<a@b.test>\r\n"), HasSubstr("421 4.7.0 "));
  const SessionCounts counts = Counts();
  EXPECT_EQ(counts.errors, 2u);
  EXPECT_EQ(counts.commands, 1u);
  EXPECT_EQ(counts.bad_recipients, 1u);
  EXPECT_EQ(counts.message_size, 2u);
  EXPECT_EQ(counts.recipients, 1u);
}

TEST_F(ReceiveNetworkTest, XclientMakesItAnotherClient) {
  listener_.xclient = some_table_;
  tables_["3 127.0.0.1"] = "";
  config_->smtp_limits.max_sessions_per_source = 1;
  Begin();
  Client client(this);
  EXPECT_THAT(client.Say("EHLO proxy\r\n"), HasSubstr("XCLIENT"));
  EXPECT_THAT(client.Say("XCLIENT ADDR=192.0.2.9 NAME=far.test LOGIN=joe\r\n"),
              StartsWith("220 mx.test"));
  EXPECT_THAT(client.Say("EHLO far\r\n"), HasSubstr("[192.0.2.9]"));
  const Envelope envelope = Sent(&client, "");
  EXPECT_EQ(envelope.sockaddr, "192.0.2.9");
  EXPECT_EQ(envelope.hostname, "far.test");
  EXPECT_EQ(envelope.username, "joe");
  EXPECT_EQ(envelope.flags, kFlagAuthenticated);
  EXPECT_TRUE(expands_[0].authenticated);
  EXPECT_EQ(expands_[0].username, "joe");
  // The one it speaks for is counted.
  Client second(this);
  second.Say("EHLO proxy\r\n");
  EXPECT_THAT(second.Say("XCLIENT ADDR=192.0.2.9\r\n"),
              StartsWith("421 4.7.0 Too many sessions"));
  // Not for everybody.
  tables_.clear();
  Client other(this);
  EXPECT_THAT(other.Say("EHLO x\r\n"), Not(HasSubstr("XCLIENT")));
  EXPECT_THAT(other.Say("XCLIENT ADDR=192.0.2.9\r\n"), StartsWith("5"));
}

TEST_F(ReceiveNetworkTest, FiltersSeeWhoIsSpokenForAsAnotherClient) {
  listener_.xclient = some_table_;
  listener_.filter = "f";
  Begin();
  ConnectRelay("proxy.test");
  FakeFilters filters(&loop_, room_.get());
  filters.Connect();
  filters.Want(MaskOf(FilterPhase::kConnect), kAllFilterEvents);
  tables_["3 127.0.0.1"] = "";
  Client client(this);
  client.Say("EHLO proxy\r\n");
  filters.heard.clear();
  client.Say("XCLIENT ADDR=192.0.2.9 PORT=1025 NAME=far.test LOGIN=joe\r\n");
  EXPECT_THAT(filters.heard,
              ElementsAre("protocol-client XCLIENT ADDR=192.0.2.9 PORT=1025 "
                          "NAME=far.test LOGIN=joe",
                          "end", "begin f|far.test|pass|192.0.2.9:1025|",
                          "link-auth pass|joe", "ask connect ",
                          "protocol-server 220 mx.test ESMTP Holdfast",
                          "link-greeting mx.test"));
  // The first was asked about with the name that the DNS has.
  filters.heard.clear();
  Client other(this);
  other.Say("");
  EXPECT_EQ(filters.heard.at(0), "begin f|proxy.test|pass||");
}

TEST_F(ReceiveNetworkTest, SendersOfAUser) {
  listener_.xclient = some_table_;  // who says LOGIN= is authenticated
  listener_.senders = some_table_;
  listener_.senders_masquerade = true;
  tables_["3 127.0.0.1"] = "";
  tables_["2 joe joe@mx.test"] = "joe@mx.test";
  Begin();
  Client client(this);
  client.Say("EHLO proxy\r\n");
  // Who is not authenticated is not asked for.
  EXPECT_THAT(client.Say("MAIL FROM:<any@x.test>\r\nRSET\r\n"),
              StartsWith("250 "));
  client.Say("XCLIENT LOGIN=joe\r\n");
  client.Say("EHLO x\r\n");
  EXPECT_EQ(client.Say("MAIL FROM:<any@x.test>\r\n"),
            "530 Sender rejected\r\n");
  EXPECT_THAT(client.Say("MAIL FROM:<joe@mx.test>\r\n"), StartsWith("250 "));
  EXPECT_THAT(client.Say("RCPT TO:<c@d.test>\r\n"), StartsWith("250 "));
  const std::string text = "From: Boss <boss@x.test>\r\nTo: b\r\n\r\n";
  EXPECT_THAT(client.Say(absl::StrCat("BDAT ", text.size(), " LAST\r\n", text)),
              StartsWith("250 "));
  ASSERT_EQ(accepts_.size(), 1u);
  BodyDecompressor body(accepts_[0].body);
  body.Feed(accepts_[0].stored);
  std::string stored;
  while (true) {
    const auto progress = body.Read(1 << 20, &stored);
    ASSERT_TRUE(progress.ok());
    if (*progress == BodyDecompressor::kEnd) break;
    ASSERT_NE(*progress, BodyDecompressor::kNeedsChunk);
  }
  EXPECT_THAT(stored, HasSubstr("\nFrom: Boss <joe@mx.test>\nTo: b@mx.test\n"));
  // The second gets no answer: a temporary failure.
  lookup_.reset();
  loop_.RunReady();
  EXPECT_THAT(client.Say("MAIL FROM:<joe@mx.test>\r\n"), StartsWith("4"));
}

TEST_F(ReceiveNetworkTest, BareLineFeedsEndCommandsOfThisHostOnly) {
  listener_.proxy = Listener::Proxy::kV1;
  Begin();
  Client near(this, Proxied("127.0.0.1")), far(this, Proxied("192.0.2.1"));
  near.Read();
  far.Read();
  EXPECT_THAT(near.Say("NOOP\n"), StartsWith("250 "));
  EXPECT_THAT(far.Say("NOOP\n"), StartsWith("500 5.5.2"));
}

TEST_F(ReceiveNetworkTest, ExtensionsCanBeSwitchedOff) {
  listener_.no_dsn = true;
  listener_.no_extensions = {"CHUNKING", "SMTPUTF8"};
  Begin();
  Client client(this);
  const std::string said = client.Say("EHLO x\r\n");
  EXPECT_THAT(said, Not(HasSubstr("DSN")));
  EXPECT_THAT(said, Not(HasSubstr("CHUNKING")));
  EXPECT_THAT(said, Not(HasSubstr("BINARYMIME")));
  EXPECT_THAT(said, Not(HasSubstr("SMTPUTF8")));
  EXPECT_THAT(said, HasSubstr("FUTURERELEASE"));
}

TEST_F(ReceiveNetworkTest, ManyErrorsSlowAClientDown) {
  config_->smtp_limits.max_errors = 4;
  Begin();
  Client client(this);
  client.Read();
  client.Send("X\r\nX\r\nX\r\nX\r\nX\r\n");
  std::string heard = client.Read();
  EXPECT_THAT(heard, Not(HasSubstr("421")));
  for (int i = 0; i < 5; ++i) {
    loop_.Advance(kErrorPause);
    heard += client.Read();
  }
  EXPECT_THAT(heard, HasSubstr("\r\n421 "));
  EXPECT_TRUE(client.ended());
}

TEST_F(ReceiveNetworkTest, AStopDoesNotWaitForAProxy) {
  listener_.proxy = Listener::Proxy::kV2;
  Begin();
  Client client(this);
  room_->OnStop(absl::Seconds(10));
  loop_.RunReady();
  EXPECT_EQ(exited_, 0);
  EXPECT_TRUE(client.ended());
}

}  // namespace
}  // namespace holdfast
