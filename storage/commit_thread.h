// The one thread that writes.  It gathers what waits into one transaction,
// syncs it, and answers; while one group is on its way to the disk, the next
// one gathers.  What it does when there is no room, or a sync fails, is in
// FORMAT.md, "Errors".
#ifndef HOLDFAST_STORAGE_COMMIT_THREAD_H_
#define HOLDFAST_STORAGE_COMMIT_THREAD_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "storage/lmdb_env.h"
#include "storage/pending_batches.h"
#include "storage/queue_txn.h"
#include "storage/space.h"
#include "storage/store_meter.h"

namespace holdfast {

// Counts views, so that the commit thread can wait for them: a view keeps
// every page that was freed since it was opened.  Safe from any thread.
class ViewCount {
 public:
  void Enter();
  void Leave();
  // Raises the epoch, which asks long views to end, and waits until all that
  // are open now have gone, or for `patience`.
  void EndAll(absl::Duration patience);
  uint64_t epoch() const { return epoch_; }

 private:
  absl::Mutex mutex_;
  int views_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<uint64_t> epoch_{0};
};

// Counts those who read bodies that may leave the queue meanwhile (BodyPin):
// while there is one, nothing is freed.  Safe from any thread.
class PinCount {
 public:
  // A number for Leave() and Holds().
  uint64_t Enter();
  void Leave(uint64_t epoch);
  bool Holds(uint64_t epoch) const;
  bool any() const;
  // Room grows scarce: all that are held end.
  void BreakAll();

 private:
  mutable absl::Mutex mutex_;
  uint64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t pins_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What views may know of the writer.  Safe from any thread.
class WriterStatus {
 public:
  bool IsClaimed(EnvelopeId id) const;
  std::atomic<uint64_t> commits{0};
  std::atomic<uint64_t> last_group{0};
  std::atomic<bool> accepting{true};
  StoreMeter meter;
  PinCount pins;

 private:
  friend class CommitThread;
  mutable absl::Mutex mutex_;
  // Changed by the commit thread only, under the lock.
  absl::flat_hash_set<EnvelopeId> claimed_;
};

struct CommitThreadOptions {
  LmdbEnv* env = nullptr;
  ViewCount* views = nullptr;
  WriterStatus* status = nullptr;
  StateRecord state;  // as it is on disk
  std::vector<EnvelopeId> claimed;
  uint64_t digest_seed = 0;
  uint64_t reserve_bytes = 0;
  double min_free = 0;
  // StoreOptions'.
  absl::Duration history_age = absl::ZeroDuration();
  uint64_t history_bytes = 0;
  bool keep_attempts = true;  // QueueTxnContext's
  uint64_t store = 0;         // the same
  // Called on the commit thread.
  absl::AnyInvocable<void(absl::string_view)> on_warning;
  absl::AnyInvocable<void(const Damage&)> on_damage;
  absl::AnyInvocable<void()> on_sync_failed;
  absl::AnyInvocable<absl::Time()> clock;
};

class CommitThread {
 public:
  explicit CommitThread(CommitThreadOptions options);
  ~CommitThread();  // commits what waits first

  // Safe from any thread.
  void Submit(PendingBatch batch);
  void Drain();

 private:
  enum class State { kRunning, kDead };  // kDead: after a failed sync

  void Run();
  bool Wait();
  void TakeSubmitted();
  bool HasBackgroundWork() const;
  void CommitGroup(absl::Span<PendingBatch> group);
  void CommitPart(absl::Span<PendingBatch> part, bool accepting);
  absl::Status TryCommit(absl::Span<PendingBatch> part, bool accepting,
                         std::vector<BatchResult>* results);
  void DoBackgroundWork(QueueTxn* queue);
  QueueTxnContext MakeContext(LmdbTxn* txn, bool accepting);
  bool IsPressed(const LmdbSpace& space, uint64_t used, uint64_t free) const;
  HistoryPlan PlanHistory(const LmdbSpace& space, uint64_t used, uint64_t free,
                          bool accepting) const;
  absl::Duration IdlePatience() const;
  void Adopt(const QueueTxn& queue, size_t group_size);
  void Measure(absl::Span<PendingBatch> part, absl::Duration took);
  void Answer(PendingBatch* batch, BatchResult result);
  void AnswerAll(absl::Span<PendingBatch> part, const absl::Status& each);
  void Die(absl::Span<PendingBatch> part, const absl::Status& status);
  void KeepSpace(bool look);

  CommitThreadOptions options_;
  SpaceKeeper space_;
  StateRecord state_;
  const uint32_t first_lease_;
  PendingBatches pending_;
  State life_ = State::kRunning;
  absl::Time last_look_ = absl::InfinitePast();  // at the file system
  uint64_t garbage_rows_ = 0;                    // after the last commit
  size_t garbage_bytes_;  // freed in one group, less where room is scarce
  // What is left of history after the last commit, by how soon it must be
  // looked at.
  enum class HistoryState { kNone, kKept, kToTrim, kPressed };
  HistoryState history_ = HistoryState::kNone;
  bool history_to_trim_ = false;  // as the last transaction found
  bool incoming_to_clean_ = true;
  MessageId clean_from_{};
  bool waited_for_views_ = false;    // for this group
  bool background_blocked_ = false;  // no room for it; until others commit

  absl::Mutex mutex_;
  absl::CondVar wake_;
  absl::CondVar drained_;
  std::vector<PendingBatch> submitted_ ABSL_GUARDED_BY(mutex_);
  uint64_t submitted_count_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t answered_count_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t answered_ = 0;  // not yet told to answered_count_

  std::thread thread_;
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_COMMIT_THREAD_H_
