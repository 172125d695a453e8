#include "server/queue/queue_test_bed.h"

#include "gtest/gtest.h"
#include "server/log/log.h"

namespace holdfast {

std::vector<EnvelopeId> GotBatch::Envelopes() const {
  std::vector<EnvelopeId> ids;
  for (const BatchMessage& m : messages) {
    for (const auto& r : m.recipients) ids.push_back(r.envelope);
  }
  return ids;
}

FakeWorker::FakeWorker(EventLoop* loop, Room room, uint32_t number, WorkerId id)
    : loop_(loop), room_(room), number_(number), id_(id) {}

std::unique_ptr<Door> FakeWorker::Connect() {
  std::unique_ptr<Door> near;
  std::tie(near, far_) = MakeDoorPair(loop_);
  closed = false;
  far_->SetCallbacks([this](Frame& frame) { OnFrame(frame); },
                     [this](absl::Status) { closed = true; });
  return near;
}

NewDoor FakeWorker::Name() const {
  NewDoor name;
  name.peer = room_;
  name.number = number_;
  name.worker = id_;
  return name;
}

void FakeWorker::Got(GotBatch batch) {
  if (on_batch) return on_batch(batch);
  batches.push_back(std::move(batch));
}

void FakeWorker::OnFrame(Frame& frame) {
  if (Dispatch<RelayBatch>(frame, [this](RelayBatch& m) {
        GotBatch got;
        got.batch = m.batch;
        got.destination = m.destination;
        got.where = m.target.domain;
        got.target = m.target;
        got.messages = std::move(m.messages);
        got.waiting = m.waiting;
        Got(std::move(got));
      })) {
    return;
  }
  if (Dispatch<DeliverBatch>(frame, [this](DeliverBatch& m) {
        GotBatch got;
        got.batch = m.batch;
        got.destination = m.destination;
        got.where = m.user;
        got.messages = std::exchange(m.messages, {});
        got.deliver = std::move(m);
        Got(std::move(got));
      })) {
    return;
  }
  Dispatch<BatchClaimed>(frame, [this](BatchClaimed& m) {
    (m.ok ? claimed : refused).insert(m.batch);
  });
  Dispatch<OutcomesRecorded>(frame, [this](OutcomesRecorded& m) {
    recorded.insert({m.batch, m.sequence});
  });
  Dispatch<BodyPart>(frame,
                     [this](BodyPart& m) { bodies.push_back(std::move(m)); });
  Dispatch<SlotAnswer>(frame, [this](SlotAnswer& m) { slots.push_back(m); });
}

GotBatch FakeWorker::Take() {
  GotBatch batch = std::move(batches.front());
  batches.pop_front();
  return batch;
}

void FakeWorker::Answer(const GotBatch& batch, Result result,
                        std::string text) {
  BatchOutcomes out;
  out.batch = batch.batch;
  out.sequence = ++sequence_;
  out.session = SessionId(0x103e0bd9bfd81d8e);
  out.source = "127.0.0.1";
  out.relay = "127.0.0.1 (localhost)";
  out.finished = true;
  for (EnvelopeId id : batch.Envelopes()) {
    WorkerOutcome& o = out.outcomes.emplace_back();
    o.envelope = id;
    o.result = result;
    o.text = text;
  }
  Tell(std::move(out));
}

void FakeWorker::Fail(const GotBatch& batch, std::string why) {
  BatchOutcomes out;
  out.batch = batch.batch;
  out.sequence = ++sequence_;
  out.finished = true;
  out.destination_failure = std::move(why);
  for (EnvelopeId id : batch.Envelopes()) {
    out.outcomes.emplace_back().envelope = id;
  }
  Tell(std::move(out));
}

QueueTestBed::QueueTestBed() {
  config.server_name = "mx.example.org";
  Action& out = config.actions["out"];
  out.name = "out";
  out.method = ActionMethod::kRelay;
  Action& smart = config.actions["smart"];
  smart.name = "smart";
  smart.method = ActionMethod::kRelay;
  auto hosts =
      std::make_shared<Table>("hosts", Table::Kind::kList, "static", "");
  hosts->Add("smtp://a.test", "");
  hosts->Add("smtp://b.test", "");
  smart.host = hosts;
  Action& box = config.actions["box"];
  box.name = "box";
  box.method = ActionMethod::kMaildir;
  testing::internal::CaptureStderr();
}

QueueTestBed::~QueueTestBed() {
  Kill();
  FlushLog();
  testing::internal::GetCapturedStderr();
}

void QueueTestBed::Boot() {
  relay = std::make_unique<FakeWorker>(&loop, Room::kRelay, 0,
                                       WorkerId(next_worker_++));
  deliver = std::make_unique<FakeWorker>(&loop, Room::kDeliver, 0,
                                         WorkerId(next_worker_++));
  BootEngine();
}

void QueueTestBed::BootEngine() {
  store = std::make_unique<FakeDiskStore>(&loop, &disk);
  QueueEngine::Parts parts;
  parts.loop = &loop;
  parts.config = &config;
  parts.store = store.get();
  parts.on_reports = [this] { ++reports; };
  parts.on_failed_sync = [this](const absl::Status& s) {
    failures.push_back(s);
  };
  engine = std::make_unique<QueueEngine>(std::move(parts));
  engine->AddWorker(relay->Name(), relay->Connect());
  engine->AddWorker(deliver->Name(), deliver->Connect());
  TellWorkers();
  Run();
}

void QueueTestBed::TellWorkers() {
  Workers workers;
  for (FakeWorker* w : {relay.get(), deliver.get()}) {
    if (w != nullptr) workers.alive.push_back(w->id());
  }
  engine->OnWorkers(workers);
}

void QueueTestBed::Kill() {
  engine.reset();
  store.reset();
}

Envelope QueueTestBed::MakeEnvelope(DeliveryKind kind,
                                    const std::string& action,
                                    const std::string& where) {
  Envelope e;
  e.id = MakeEnvelopeId(MessageId(next_message_++), 1);
  e.kind = kind;
  e.action = action;
  e.sender = {"sender", "example.com"};
  e.dest = {"rcpt", where};
  if (kind == DeliveryKind::kMda) {
    e.dest = {where, "here.test"};
    e.mda_user = where;
  }
  e.rcpt = e.dest;
  e.routing_key = where;
  e.created = loop.Now();
  e.expires = e.created + config.queue_ttl;
  return e;
}

AcceptMessage QueueTestBed::Message(const Envelope& envelope) const {
  AcceptMessage m;
  m.message = MessageOf(envelope.id);
  m.stored = "body";
  m.body.chunks = 1;
  m.body.raw_bytes = m.body.stored_bytes = m.stored.size();
  m.created = envelope.created;
  m.envelopes = {envelope};
  return m;
}

void QueueTestBed::Preload(const Envelope& envelope) {
  FakeDiskStore writer(&loop, &disk);
  writer.Submit({Message(envelope)}, [](BatchResult) {});
  writer.CommitNow();
}

EnvelopeId QueueTestBed::Accept(Envelope envelope) {
  const EnvelopeId id = envelope.id;
  engine->committer().Commit({Message(envelope)}, nullptr);
  Run();
  return id;
}

std::string QueueTestBed::TakeLog() {
  FlushLog();
  std::string log = testing::internal::GetCapturedStderr();
  testing::internal::CaptureStderr();
  return log;
}

bool QueueTestBed::LedgerHolds() const {
  const Ledger& l = disk.ledger;
  return l.queued == disk.envelopes.size() &&
         l.accepted == l.delivered + l.reported + l.removed + l.discarded +
                           l.silent + l.queued;
}

}  // namespace holdfast
