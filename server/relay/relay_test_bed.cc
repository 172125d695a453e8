#include "server/relay/relay_test_bed.h"

#include <sys/socket.h>

#include "storage/body_codec.h"
#include "storage/crypto/key_derivation.h"

namespace holdfast {

// ---- next hops

PendingConnect FakeDialer::Dial(const IpAddress& address, uint16_t port,
                                const std::optional<IpAddress>& source,
                                absl::Duration timeout, Done done) {
  const std::string text = address.ToString();
  if (hanging.count(text) > 0)
    return loop_->RunAfter(timeout, [done = std::move(done)]() mutable {
      done(absl::DeadlineExceededError("Connection timeout"));
    });
  return loop_->RunAfter(absl::ZeroDuration(), [this, text, port, source,
                                                done =
                                                    std::move(done)]() mutable {
    if (source && source->ToString() == cannot_bind)
      return done(absl::UnavailableError("Cannot assign requested address"));
    if (refusing.count(text) > 0)
      return done(absl::UnavailableError("Connection refused"));
    done(Accept(text, port, source ? source->ToString() : ""));
  });
}

PendingConnect FakeDialer::DialUnix(const std::string& action,
                                    absl::Duration timeout, Done done) {
  const std::string text = "unix:" + action;
  if (hanging.count(text) > 0)
    return loop_->RunAfter(timeout, [done = std::move(done)]() mutable {
      done(absl::DeadlineExceededError("Connection timeout"));
    });
  return loop_->RunAfter(
      absl::ZeroDuration(), [this, text, done = std::move(done)]() mutable {
        if (refusing.count(text) > 0)
          return done(absl::UnavailableError("No such file or directory"));
        done(Accept(text, 0, ""));
      });
}

Connection* FakeDialer::Of(const Stream* client) {
  for (const auto& c : connections)
    if (c->client == client) return c.get();
  return nullptr;
}

std::unique_ptr<Stream> FakeDialer::Accept(const std::string& address,
                                           uint16_t port,
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
                           [c](absl::Status) { c->stream.reset(); }, nullptr});
  c->stream->ResumeReading();
  Send(c, c->server.Open());
  connections.push_back(std::move(owned));
  auto client = MakeStream(loop_, fds[0]);
  c->client = client.get();
  return client;
}

// ---- TLS

namespace {

class FakeHandshake : public TlsHandshake {
 public:
  std::unique_ptr<Stream> plain;
  TlsDone done;
  EventLoop::Timer timer;
  std::function<void()> on_success;

  void Finish(const absl::Status& result, const TlsInfo& info) {
    if (done == nullptr) return;
    TlsDone tell = std::exchange(done, nullptr);
    if (!result.ok()) return tell(result, info);
    on_success();
    tell(std::move(plain), info);
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<TlsHandshake>> FakeTls::Connect(
    const Action* action, bool verify, std::unique_ptr<Stream> plain,
    const std::string& name, absl::Duration timeout, TlsDone done) {
  asked.push_back({action == nullptr ? "" : action->name, verify, name});
  if (!cannot.ok()) return cannot;
  absl::Status result;
  if (!results.empty()) {
    result = results.front();
    results.pop_front();
  }
  TlsInfo info;
  info.version = "TLSv1.3";
  info.cipher = "TLS_AES_256_GCM_SHA384";
  info.bits = 256;
  info.peer_certificate = true;
  info.peer_verified = verify && result.ok();
  info.peer_fingerprint = "SHA256:5eed";
  auto handshake = std::make_unique<FakeHandshake>();
  FakeHandshake* h = handshake.get();
  Connection* connection = dialer_->Of(plain.get());
  h->plain = std::move(plain);
  h->done = std::move(done);
  h->on_success = [connection] { connection->server.StartTls(); };
  const bool late = absl::IsDeadlineExceeded(result);
  h->timer = loop_->RunAfter(late ? timeout : absl::ZeroDuration(),
                             [h, result, info] { h->Finish(result, info); });
  return handshake;
}

// ---- the room

void RelayTestBed::NewLookup() {
  auto [theirs, ours] = MakeDoorPair(&loop_);
  lookup_ = std::move(ours);
  lookup_->SetCallbacks(
      [this](Frame& frame) {
        Dispatch<TableQuestion>(frame, [this](const auto& question) {
          TableAnswer answer;
          answer.question = question.question;
          answer.result = TableAnswer::Result::kNotFound;
          std::deque<std::string>& values =
              tables_[absl::StrCat(question.table, " ", question.key)];
          if (!values.empty()) {
            answer.result = TableAnswer::Result::kFound;
            answer.value = values.front();
            values.pop_front();
          }
          lookup_->Send(answer);
        });
        Dispatch<RelaySecretQuestion>(frame, [this](const auto& question) {
          secret_questions_.push_back(question);
          if (silent_lookup_) return;
          RelaySecretAnswer answer;
          answer.question = question.question;
          answer.result = RelaySecretAnswer::Result::kNotFound;
          const auto secret = secrets_.find(question.label);
          if (secret != secrets_.end()) {
            answer.result = RelaySecretAnswer::Result::kFound;
            std::tie(answer.user, answer.secret) = secret->second;
          }
          lookup_->Send(answer);
        });
      },
      [](absl::Status) {});
  NewDoor to;
  to.peer = Room::kLookup;
  room_->OnDoor(to, std::move(theirs));
  loop_.RunReady();
}

void RelayTestBed::On(BatchOutcomes& m) {
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

void RelayTestBed::On(SlotRequest& m) {
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

void RelayTestBed::On(BodyRequest& m) {
  body_requests_.push_back(m);
  if (!serve_bodies_) return;
  BodyPart part;
  part.question = m.question;
  part.ok = m.first + m.count <= chunks_.size();
  for (uint32_t i = m.first; part.ok && i < m.first + m.count; ++i)
    part.chunks.push_back(chunks_[i]);
  queue_->Send(part);
}

void RelayTestBed::NewQueue() {
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

void RelayTestBed::Start() {
  auto resolver = std::make_unique<FakeResolver>(&loop_);
  auto dialer = std::make_unique<FakeDialer>(&loop_);
  auto tls = std::make_unique<FakeTls>(&loop_, dialer.get());
  resolver_ = resolver.get();
  dialer_ = dialer.get();
  tls_ = tls.get();
  Hosts("a.test", {"192.0.2.1"});
  RoomContext context{.loop = &loop_,
                      .parent = nullptr,
                      .start = &start_,
                      .config = config_,
                      .fds = {},
                      .random = random_,
                      .exit = [this](int status) { exited_ = status; }};
  RelayRoom::Parts parts;
  parts.resolver = std::move(resolver);
  parts.dialer = std::move(dialer);
  parts.tls = std::move(tls);
  parts.crypto = &kSaslCrypto;
  room_ = std::make_unique<RelayRoom>(std::move(context), std::move(parts));
  NewQueue();
  NewLookup();
}

RelayBatch RelayTestBed::Batch(uint64_t id,
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

void RelayTestBed::Hosts(const std::string& domain,
                         std::vector<std::string> addresses) {
  MailHosts hosts;
  hosts.result = MailHosts::Result::kOk;
  int32_t preference = 10;
  for (const std::string& a : addresses)
    hosts.hosts.push_back({*IpAddress::Parse(a), "mx.a.test", preference++});
  resolver_->domains[domain] = std::move(hosts);
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

}  // namespace holdfast
