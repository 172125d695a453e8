// For tests of the queue: an engine on a fake loop over a disk in memory, with
// workers that do what the test tells them.
#ifndef HOLDFAST_SERVER_QUEUE_QUEUE_TEST_BED_H_
#define HOLDFAST_SERVER_QUEUE_QUEUE_TEST_BED_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/door/door.h"
#include "server/door/worker_messages.h"
#include "server/loop/fake_event_loop.h"
#include "server/queue/fake_queue_store.h"
#include "server/queue/queue_engine.h"

namespace holdfast {

// A batch as a worker got it.
struct GotBatch {
  BatchId batch{};
  DestinationId destination{};
  std::string where;  // recipient domain, relay URL or user
  RelayTarget target;
  DeliverBatch deliver;  // without its messages
  std::vector<BatchMessage> messages;
  uint32_t waiting = 0;  // RelayBatch

  std::vector<EnvelopeId> Envelopes() const;
};

// The far end of a worker's door.
class FakeWorker {
 public:
  using Result = WorkerOutcome::Result;

  FakeWorker(EventLoop* loop, Room room, uint32_t number, WorkerId id);

  // The near end of a new door, for queue.
  std::unique_ptr<Door> Connect();
  NewDoor Name() const;
  WorkerId id() const { return id_; }

  // Called for each batch; without it they gather in `batches`.
  std::function<void(const GotBatch&)> on_batch;
  std::deque<GotBatch> batches;
  std::set<BatchId> claimed;
  std::set<BatchId> refused;  // claimed with ok = false
  std::set<std::pair<BatchId, uint32_t>> recorded;
  std::vector<BodyPart> bodies;
  std::vector<SlotAnswer> slots;
  bool closed = false;

  GotBatch Take();  // the oldest of `batches`
  // All of the batch ended so.
  void Answer(const GotBatch& batch, Result result, std::string text = "");
  // No host of the destination took a connection.
  void Fail(const GotBatch& batch, std::string why);
  void Tell(BatchOutcomes outcomes) { far_->Send(outcomes); }
  template <class Message>
  void Say(const Message& message) {
    far_->Send(message);
  }
  void Die() { far_.reset(); }
  void StopReading() { far_->PauseReading(); }

 private:
  void OnFrame(Frame& frame);
  void Got(GotBatch batch);

  EventLoop* loop_;
  const Room room_;
  const uint32_t number_;
  const WorkerId id_;
  std::unique_ptr<Door> far_;
  uint32_t sequence_ = 0;
};

class QueueTestBed {
 public:
  // Actions "out" (relay), "smart" (relay host), "box" (maildir).
  QueueTestBed();
  ~QueueTestBed();

  FakeEventLoop loop;
  Config config;
  FakeDisk disk;
  std::unique_ptr<FakeDiskStore> store;
  std::unique_ptr<QueueEngine> engine;
  std::unique_ptr<FakeWorker> relay, deliver;
  int reports = 0;  // times reports were said to be added
  std::vector<absl::Status> failures;

  // A start of queue with new workers, or with those that are there.
  void Boot();
  void BootEngine();  // queue alone; workers get new doors, parent's list
  // The process is gone; the disk stays.
  void Kill();
  void TellWorkers();  // parent's list of the living

  Envelope MakeEnvelope(DeliveryKind kind, const std::string& action,
                        const std::string& where);
  // Puts a message on the disk before a start.
  void Preload(const Envelope& envelope);
  // A message is accepted; answers are awaited.
  EnvelopeId Accept(Envelope envelope);
  EnvelopeId AcceptFor(const std::string& domain) {
    return Accept(MakeEnvelope(DeliveryKind::kMta, "out", domain));
  }
  void Run() { loop.RunReady(); }

  // What the log said since the last call.
  std::string TakeLog();
  bool InQueue(EnvelopeId id) const { return disk.envelopes.count(id) > 0; }
  // Promise P2.
  bool LedgerHolds() const;

 private:
  AcceptMessage Message(const Envelope& envelope) const;
  uint32_t next_message_ = 1;
  uint64_t next_worker_ = 1;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_QUEUE_TEST_BED_H_
