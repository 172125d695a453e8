// QueueStore on LMDB.
#ifndef HOLDFAST_STORAGE_QUEUE_STORE_IMPL_H_
#define HOLDFAST_STORAGE_QUEUE_STORE_IMPL_H_

#include <deque>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "storage/commit_thread.h"
#include "storage/lmdb_env.h"
#include "storage/owner_lock.h"
#include "storage/queue_store.h"
#include "storage/queue_view.h"

namespace holdfast {

// Runs what it is given on a thread of its own, in order.
class ReaderThread {
 public:
  enum class Priority : uint8_t { kUsual, kIdle };

  explicit ReaderThread(Priority priority);
  ~ReaderThread();  // after all that was given
  // Safe from any thread.
  void Post(absl::AnyInvocable<void()> work);

 private:
  void Run(Priority priority);

  absl::Mutex mutex_;
  std::deque<absl::AnyInvocable<void()>> work_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

class LmdbQueueStore : public QueueStore {
 public:
  static absl::StatusOr<std::unique_ptr<QueueStore>> Open(StoreOptions options);
  ~LmdbQueueStore() override;

  void Submit(QueueBatch batch, Done done) override;
  absl::StatusOr<std::unique_ptr<QueueView>> View() override;
  void ReadLater(
      absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)> read) override;
  void ReadIdly(
      absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)> read) override;
  absl::StatusOr<std::unique_ptr<BodyPin>> PinBodies() override;
  CommitFigures Commits() const override { return status_.meter.Commits(); }
  uint64_t CommitCount() const override { return status_.meter.CommitCount(); }
  std::vector<DestinationBacklog> LargestBacklogs(size_t limit) override;
  void Drain() override;
  const std::string& uuid() const override { return uuid_; }
  std::string folder() const override { return options_.path; }
  uint64_t start_number() const override { return state_.start; }

  // For CheckQueue(): a view with the tables beneath it.
  absl::StatusOr<std::unique_ptr<LmdbQueueView>> RawView();
  uint64_t digest_seed() const { return digest_seed_; }

 private:
  class Pin;

  explicit LmdbQueueStore(StoreOptions options);

  absl::Status Start();
  absl::Status OpenEnv(const std::string& path);
  absl::Status ReadSchema();
  absl::Status UpgradeSchema();
  absl::Status UseKeys();
  absl::Status NoteKeys();
  absl::Status ReadState();
  absl::Status RecoverState(absl::string_view why);
  absl::Status CountStart();
  void StartThreads();
  void Warn(absl::string_view text);
  void OnDamage(const Damage& damage);
  void LocateAndSetAside(Damage damage);
  void CountBacklogs(DestinationId after);

  StoreOptions options_;
  absl::Mutex warning_mutex_;
  std::optional<OwnerLock> lock_;
  std::unique_ptr<LmdbEnv> env_;
  ViewCount views_;
  WriterStatus status_;
  ViewSource source_;
  std::string uuid_;
  uint64_t digest_seed_ = 0;
  SchemaRecord schema_;
  std::optional<SealingRecord> new_keys_;  // of this start, to be written
  StateRecord state_;                      // as it was at the start
  std::atomic<bool> sync_failed_{false};
  std::atomic<bool> backlogs_asked_{false};
  std::atomic<bool> ending_{false};

  absl::Mutex damage_mutex_;
  // What is being set aside, so that each is told and done once.
  absl::flat_hash_set<std::string> damage_ ABSL_GUARDED_BY(damage_mutex_);
  bool closing_ ABSL_GUARDED_BY(damage_mutex_) = false;

  std::unique_ptr<CommitThread> commit_;
  void ReadOn(ReaderThread* thread,
              absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)> read);

  std::unique_ptr<ReaderThread> reader_, idle_reader_;
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_QUEUE_STORE_IMPL_H_
