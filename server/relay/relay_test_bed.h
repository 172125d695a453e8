// For tests of the room `relay`: a queue, a lookup, a resolver, next hops and
// TLS that do what they are told, on a loop whose clock moves when told.
#ifndef HOLDFAST_SERVER_RELAY_RELAY_TEST_BED_H_
#define HOLDFAST_SERVER_RELAY_RELAY_TEST_BED_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "protocol/scripted_smtp_server.h"
#include "server/loop/fake_event_loop.h"
#include "server/relay/relay_room.h"

namespace holdfast {

// Knows what it is told.
class FakeResolver : public Resolver {
 public:
  explicit FakeResolver(EventLoop* loop) : loop_(loop) {}
  std::map<std::string, MailHosts> domains;
  std::map<std::string, std::string> names;  // of addresses
  bool silent_names = false;                 // they are never told

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
    if (silent_names) return;
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
  ScriptedSmtpServer server;
  std::unique_ptr<Stream> stream;
  const Stream* client = nullptr;  // the other end, as long as it is there
};

// Connects to scripted servers.
class FakeDialer : public Dialer {
 public:
  explicit FakeDialer(EventLoop* loop) : loop_(loop) {}

  std::set<std::string> refusing, hanging;
  // Prepares the server of the n-th connection.
  std::function<void(size_t, ScriptedSmtpServer*)> prepare;
  std::vector<std::unique_ptr<Connection>> connections;
  std::string cannot_bind;

  PendingConnect Dial(const IpAddress& address, uint16_t port,
                      const std::optional<IpAddress>& source,
                      absl::Duration timeout, Done done) override;
  // As the address "unix:" and the action's name.
  PendingConnect DialUnix(const std::string& action, absl::Duration timeout,
                          Done done) override;
  Connection* Of(const Stream* client);

  void Send(Connection* c, const std::string& bytes) {
    if (c->stream == nullptr) return;
    c->stream->Write(bytes);
    if (c->server.closed()) c->stream.reset();
  }

 private:
  std::unique_ptr<Stream> Accept(const std::string& address, uint16_t port,
                                 const std::string& source);
  EventLoop* loop_;
};

// Handshakes that go as they are told; what comes out is the plain stream, of
// which nothing was read.
class FakeTls : public TlsConnector {
 public:
  FakeTls(EventLoop* loop, FakeDialer* dialer) : loop_(loop), dialer_(dialer) {}

  struct Asked {
    std::string action;
    bool verify;
    std::string name;
  };
  std::vector<Asked> asked;
  // Of the first, second, ... handshake; after those, or OK: it succeeds.
  // kDeadlineExceeded: as soon as its time is over.
  std::deque<absl::Status> results;
  // Of any: there can be no TLS at all.
  absl::Status cannot;

  absl::StatusOr<std::unique_ptr<TlsHandshake>> Connect(
      const Action* action, bool verify, std::unique_ptr<Stream> plain,
      const std::string& name, absl::Duration timeout, TlsDone done) override;
  void SetKeysDoor(std::unique_ptr<Door>) override {}

 private:
  EventLoop* const loop_;
  FakeDialer* const dialer_;
};

// A body of several chunks, which does not shrink.
RelayBatch Large(RelayBatch batch, size_t bytes,
                 std::vector<std::string>* chunks, std::string* text);

// The room with all around it.
class RelayTestBed : public ::testing::Test {
 protected:
  using Server = ScriptedSmtpServer;

  RelayTestBed() {
    config_ = std::make_shared<Config>();
    config_->server_name = "me.test";
    Action action;
    action.name = "out";
    action.method = ActionMethod::kRelay;
    config_->actions["out"] = action;
  }
  ~RelayTestBed() override { room_.reset(); }

  // After the configuration is complete.
  void Start();

  void NewQueue();

  // Knows secrets_, by label, or says nothing; and tables_.
  void NewLookup();

  void Hosts(const std::string& domain, std::vector<std::string> addresses);

  // ---- the queue's side

  void On(BatchOutcomes& m);
  void On(SlotRequest& m);
  void On(SlotReport& m) {
    static const char* const kEvents[] = {"", "ready", "closed", "failed"};
    slots_.push_back(absl::StrCat(m.slot, " ", kEvents[int(m.event)]));
  }
  void On(BodyRequest& m);
  void On(WorkerState& m) {
    worker_state_.clear();
    for (const BatchId id : m.batches)
      worker_state_.push_back(static_cast<uint64_t>(id));
  }

  static constexpr uint64_t kEnvelopes = 100;  // per batch

  // Batch `id` with messages to these recipients each; its envelopes count from
  // id * 100.
  RelayBatch Batch(uint64_t id, std::vector<std::vector<std::string>> messages);
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
  FakeTls* tls_ = nullptr;
  std::unique_ptr<RelayRoom> room_;
  std::unique_ptr<Door> queue_;
  std::unique_ptr<Door> lookup_;
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
  std::map<std::string, std::pair<std::string, std::string>> secrets_;
  // What programs say, one after the other, by "table key".
  std::map<std::string, std::deque<std::string>> tables_;
  std::vector<RelaySecretQuestion> secret_questions_;
  bool silent_lookup_ = false;
  std::vector<std::string> chunks_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_RELAY_TEST_BED_H_
