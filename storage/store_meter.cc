#include "storage/store_meter.h"

#include <algorithm>

namespace holdfast {

void BacklogBoard::Set(DestinationId id, uint64_t envelopes) {
  const auto found = counts_.find(id);
  if (found != counts_.end()) {
    if (found->second == envelopes) return;
    by_count_.erase({found->second, id});
    if (envelopes == 0) {
      counts_.erase(found);
      return;
    }
    found->second = envelopes;
    by_count_.emplace(envelopes, id);
    return;
  }
  if (envelopes == 0) return;
  if (counts_.size() >= room_) {
    const auto smallest = by_count_.begin();
    if (smallest->first >= envelopes) return;
    counts_.erase(smallest->second);
    by_count_.erase(smallest);
  }
  counts_.emplace(id, envelopes);
  by_count_.emplace(envelopes, id);
}

void BacklogBoard::Offer(DestinationId id, uint64_t envelopes) {
  if (!counts_.contains(id)) Set(id, envelopes);
}

std::vector<DestinationBacklog> BacklogBoard::Largest(size_t limit) const {
  std::vector<DestinationBacklog> largest;
  for (auto it = by_count_.rbegin();
       it != by_count_.rend() && largest.size() < limit; ++it)
    largest.push_back({it->second, it->first});
  return largest;
}

void StoreMeter::AddCommit(uint64_t operations, absl::Duration took) {
  const int64_t micros = std::max<int64_t>(0, absl::ToInt64Microseconds(took));
  ++count_;
  absl::MutexLock lock(&mutex_);
  commits_.operations.Add(operations);
  commits_.microseconds.Add(static_cast<uint64_t>(micros));
}

CommitFigures StoreMeter::Commits() const {
  absl::MutexLock lock(&mutex_);
  return commits_;
}

void StoreMeter::SetBacklogs(const std::vector<DestinationBacklog>& backlogs) {
  absl::MutexLock lock(&mutex_);
  for (const DestinationBacklog& b : backlogs)
    board_.Set(b.destination, b.envelopes);
}

void StoreMeter::OfferBacklog(DestinationBacklog backlog) {
  absl::MutexLock lock(&mutex_);
  board_.Offer(backlog.destination, backlog.envelopes);
}

std::vector<DestinationBacklog> StoreMeter::Largest(size_t limit) const {
  absl::MutexLock lock(&mutex_);
  return board_.Largest(limit);
}

}  // namespace holdfast
