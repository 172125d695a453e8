// What is in flight: the envelopes that workers have, and those whose outcome
// is not on the disk yet.  Memory knows this; the store's claims are what is
// left of it after a crash.  Bounded by `scheduler limit max-inflight` (each
// envelope is with a worker or being recorded).  One thread.
#ifndef HOLDFAST_SERVER_QUEUE_IN_FLIGHT_H_
#define HOLDFAST_SERVER_QUEUE_IN_FLIGHT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "protocol/envelope.h"
#include "protocol/ids.h"

namespace holdfast {

struct EnvelopeAct;

using BatchKey = std::pair<WorkerId, BatchId>;

// Acts on one envelope that wait for its outcome; more are refused.
inline constexpr size_t kMaxWaitingActs = 8;

struct FlyingEnvelope {
  enum class State {
    kWithWorker,
    kRecording,  // the worker has answered; the commit is on its way
  };
  EnvelopeId id{};
  BatchKey batch;
  State state = State::kWithWorker;
  absl::Time since;  // when it went in flight
  // Not there for claims kept from an earlier start of `queue`.
  std::optional<Envelope> envelope;
  // What waits for the outcome.
  bool remove = false;
  bool suspend = false;
  bool deadline = false;
  // In order; at most kMaxWaitingActs.
  std::vector<std::shared_ptr<const EnvelopeAct>> acts;
};

struct FlyingBatch {
  BatchKey key;
  DestinationId destination{};
  DeliveryKind kind = DeliveryKind::kMta;
  uint32_t round = 0;   // failures of its destination when it was sent
  bool kept = false;    // of an earlier start; destination is not known
  bool told = false;    // BatchClaimed went out: something may have been sent
  bool over = false;    // the scheduler has heard that it is done
  bool tried = false;   // an outcome other than "returned" has come
  bool failed = false;  // no host answered
  std::string host;     // the smarthost it went to, as its action names it
  size_t with_worker = 0;
  std::vector<EnvelopeId> envelopes;  // that are still in the table
};

class InFlight {
 public:
  // Adds a batch with its envelopes, all with the worker.
  FlyingBatch& Add(FlyingBatch batch, std::vector<Envelope> envelopes,
                   absl::Time now);
  // A claim of an earlier start, whose worker lives.
  FlyingBatch& AddKept(BatchKey key, const std::vector<EnvelopeId>& envelopes,
                       absl::Time now);

  FlyingBatch* FindBatch(BatchKey key);
  FlyingEnvelope* Find(EnvelopeId id);
  bool Contains(EnvelopeId id) const { return envelopes_.contains(id); }

  // The worker has answered for it.
  void SetRecording(FlyingEnvelope* envelope);
  // It is not in flight any more; the last of a batch takes the batch along.
  void Remove(EnvelopeId id);

  // Ids in flight of one destination, and all that were kept (whose
  // destination is not known): rows of a lane to pass over.
  absl::flat_hash_set<EnvelopeId> OfDestination(DestinationId id) const;

  // How many of those are known to be of this destination.
  size_t CountOf(DestinationId id) const;

  struct KindCounts {
    size_t envelopes = 0, with_worker = 0, destinations = 0;
  };
  // Of this kind.
  KindCounts CountKind(DeliveryKind kind) const;

  std::vector<BatchKey> BatchesOf(WorkerId worker) const;
  std::vector<BatchKey> Batches() const;
  // Whether the worker has a part of this message.
  bool WorkerHas(WorkerId worker, MessageId message) const;

  size_t size() const { return envelopes_.size(); }
  size_t with_worker() const { return with_worker_; }

 private:
  void Insert(EnvelopeId id, const BatchKey& key, absl::Time now,
              std::optional<Envelope> envelope);
  void CountMessage(const BatchKey& key, EnvelopeId id, int by);

  absl::flat_hash_map<EnvelopeId, FlyingEnvelope> envelopes_;
  std::map<BatchKey, FlyingBatch> batches_;
  absl::flat_hash_map<DestinationId, absl::flat_hash_set<EnvelopeId>>
      by_destination_;
  absl::flat_hash_set<EnvelopeId> kept_;
  absl::flat_hash_map<std::pair<WorkerId, MessageId>, int> messages_;
  size_t with_worker_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_IN_FLIGHT_H_
