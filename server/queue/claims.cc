#include "server/queue/claims.h"

#include <string>
#include <utility>

#include "server/log/log.h"

namespace holdfast {

void Claims::OnWorkers(const Workers& workers) {
  alive_ = std::set<WorkerId>(workers.alive.begin(), workers.alive.end());
  if (state_ == State::kWaiting) {
    Read();
  } else if (state_ == State::kReady) {
    ReleaseDead();
  }
}

void Claims::Read() {
  state_ = State::kReading;
  ReadThenPost(
      p_.loop, p_.store, [](const QueueView& view) { return view.Claims(); },
      guard_.Wrap([this](absl::StatusOr<std::vector<ClaimRow>> claims) {
        OnClaims(std::move(claims));
      }));
}

void Claims::OnClaims(absl::StatusOr<std::vector<ClaimRow>> claims) {
  if (!claims.ok()) {
    LogWarn("warn: queue: cannot read claims: %s",
            std::string(claims.status().message()));
    retry_ = p_.loop->RunAfter(absl::Seconds(1), [this] { Read(); });
    return;
  }
  for (const ClaimRow& claim : *claims) {
    if (claim.envelopes.empty()) continue;
    p_.in_flight->AddKept({claim.worker, claim.batch}, claim.envelopes,
                          p_.loop->Now());
  }
  state_ = State::kReady;
  ReleaseDead();
  p_.on_ready();
}

void Claims::ReleaseDead() {
  for (const BatchKey& key : p_.in_flight->Batches()) {
    if (alive_.count(key.first) == 0) p_.recorder->Release(key);
  }
}

void Claims::OnState(WorkerId worker, const WorkerState& state) {
  const std::set<BatchId> named(state.batches.begin(), state.batches.end());
  std::vector<BatchKey> unnamed;
  for (const BatchKey& key : p_.in_flight->BatchesOf(worker)) {
    const FlyingBatch* batch = p_.in_flight->FindBatch(key);
    if (batch->kept && named.count(key.second) == 0) unnamed.push_back(key);
  }
  if (unnamed.empty()) return;
  grace_.push_back(
      p_.loop->RunAfter(kUnnamedGrace, [this, unnamed = std::move(unnamed)] {
        for (const BatchKey& key : unnamed) p_.recorder->Release(key);
      }));
}

}  // namespace holdfast
