// What the commit thread counts for those who watch: how large commits are and
// how long they take, and which destinations have most envelopes.  Cheap: a
// lock and a few lines for each commit.
#ifndef HOLDFAST_STORAGE_STORE_METER_H_
#define HOLDFAST_STORAGE_STORE_METER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "protocol/ids.h"
#include "protocol/log_histogram.h"

namespace holdfast {

// Since the store was opened.
struct CommitFigures {
  LogHistogram operations;    // of each commit
  LogHistogram microseconds;  // of each commit, its sync included
};

struct DestinationBacklog {
  DestinationId destination{};
  uint64_t envelopes = 0;  // rows of its lane
};

// The destinations with most envelopes.  Of so many as it has room for, the
// smallest is forgotten first; what was forgotten comes back when its count
// changes.  Pure; one thread.
class BacklogBoard {
 public:
  static constexpr size_t kRoom = 4096;

  explicit BacklogBoard(size_t room = kRoom) : room_(room) {}

  // As committed.  0: it has none.
  void Set(DestinationId id, uint64_t envelopes);
  // As found by looking: does not replace what a commit has said.
  void Offer(DestinationId id, uint64_t envelopes);
  // Largest first.
  std::vector<DestinationBacklog> Largest(size_t limit) const;
  size_t size() const { return counts_.size(); }

 private:
  const size_t room_;
  absl::flat_hash_map<DestinationId, uint64_t> counts_;
  std::set<std::pair<uint64_t, DestinationId>> by_count_;
};

// Safe from any thread.
class StoreMeter {
 public:
  void AddCommit(uint64_t operations, absl::Duration took);
  CommitFigures Commits() const;
  // How many there were; takes no lock.
  uint64_t CommitCount() const { return count_; }

  void SetBacklogs(const std::vector<DestinationBacklog>& backlogs);
  void OfferBacklog(DestinationBacklog backlog);
  std::vector<DestinationBacklog> Largest(size_t limit) const;

 private:
  std::atomic<uint64_t> count_ = 0;
  mutable absl::Mutex mutex_;
  CommitFigures commits_ ABSL_GUARDED_BY(mutex_);
  BacklogBoard board_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_STORE_METER_H_
