#include "server/queue/in_flight.h"

#include <algorithm>
#include <limits>

namespace holdfast {

void InFlight::CountMessage(const BatchKey& key, EnvelopeId id, int by) {
  const std::pair<WorkerId, MessageId> name(key.first, MessageOf(id));
  if ((messages_[name] += by) == 0) messages_.erase(name);
}

void InFlight::Insert(EnvelopeId id, const BatchKey& key, absl::Time now,
                      std::optional<Envelope> envelope) {
  FlyingEnvelope& e = envelopes_[id];
  e.id = id;
  e.batch = key;
  e.since = now;
  e.envelope = std::move(envelope);
  ++with_worker_;
  CountMessage(key, id, 1);
}

FlyingBatch& InFlight::Add(FlyingBatch batch, std::vector<Envelope> envelopes,
                           absl::Time now) {
  const BatchKey key = batch.key;
  FlyingBatch& b = batches_[key] = std::move(batch);
  b.with_worker = envelopes.size();
  absl::flat_hash_set<EnvelopeId>& lane = by_destination_[b.destination];
  for (Envelope& e : envelopes) {
    const EnvelopeId id = e.id;
    b.envelopes.push_back(id);
    lane.insert(id);
    Insert(id, key, now, std::move(e));
  }
  return b;
}

FlyingBatch& InFlight::AddKept(BatchKey key,
                               const std::vector<EnvelopeId>& envelopes,
                               absl::Time now) {
  FlyingBatch& b = batches_[key];
  b.key = key;
  b.kept = true;
  b.told = true;
  b.envelopes = envelopes;
  b.with_worker = envelopes.size();
  for (EnvelopeId id : envelopes) {
    kept_.insert(id);
    Insert(id, key, now, std::nullopt);
  }
  return b;
}

FlyingBatch* InFlight::FindBatch(BatchKey key) {
  const auto it = batches_.find(key);
  return it == batches_.end() ? nullptr : &it->second;
}

FlyingEnvelope* InFlight::Find(EnvelopeId id) {
  const auto it = envelopes_.find(id);
  return it == envelopes_.end() ? nullptr : &it->second;
}

void InFlight::SetRecording(FlyingEnvelope* envelope) {
  if (envelope->state == FlyingEnvelope::State::kRecording) return;
  envelope->state = FlyingEnvelope::State::kRecording;
  --with_worker_;
  --batches_[envelope->batch].with_worker;
}

void InFlight::Remove(EnvelopeId id) {
  const auto it = envelopes_.find(id);
  if (it == envelopes_.end()) return;
  SetRecording(&it->second);
  const BatchKey key = it->second.batch;
  envelopes_.erase(it);
  kept_.erase(id);
  CountMessage(key, id, -1);
  const auto batch = batches_.find(key);
  FlyingBatch& b = batch->second;
  const auto lane = by_destination_.find(b.destination);
  if (lane != by_destination_.end()) {
    lane->second.erase(id);
    if (lane->second.empty()) by_destination_.erase(lane);
  }
  b.envelopes.erase(std::find(b.envelopes.begin(), b.envelopes.end(), id));
  if (b.envelopes.empty()) batches_.erase(batch);
}

absl::flat_hash_set<EnvelopeId> InFlight::OfDestination(
    DestinationId id) const {
  absl::flat_hash_set<EnvelopeId> ids = kept_;
  const auto it = by_destination_.find(id);
  if (it != by_destination_.end()) {
    ids.insert(it->second.begin(), it->second.end());
  }
  return ids;
}

size_t InFlight::CountOf(DestinationId id) const {
  const auto it = by_destination_.find(id);
  return it == by_destination_.end() ? 0 : it->second.size();
}

InFlight::KindCounts InFlight::CountKind(DeliveryKind kind) const {
  KindCounts counts;
  absl::flat_hash_set<DestinationId> destinations;
  for (const auto& [key, batch] : batches_) {
    if (batch.kind != kind || batch.kept) continue;
    counts.envelopes += batch.envelopes.size();
    counts.with_worker += batch.with_worker;
    destinations.insert(batch.destination);
  }
  counts.destinations = destinations.size();
  return counts;
}

std::vector<BatchKey> InFlight::BatchesOf(WorkerId worker) const {
  std::vector<BatchKey> keys;
  for (auto it = batches_.lower_bound({worker, BatchId(0)});
       it != batches_.end() && it->first.first == worker; ++it) {
    keys.push_back(it->first);
  }
  return keys;
}

std::vector<BatchKey> InFlight::Batches() const {
  std::vector<BatchKey> keys;
  for (const auto& [key, batch] : batches_) keys.push_back(key);
  return keys;
}

bool InFlight::WorkerHas(WorkerId worker, MessageId message) const {
  return messages_.contains(std::make_pair(worker, message));
}

}  // namespace holdfast
