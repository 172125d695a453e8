// A QueueStore in memory, for tests: the semantics of storage/queue_batch.h
// without a disk.  Commits and reads happen in turns of the loop it is given,
// one after the other, so that a view is a snapshot.
#ifndef HOLDFAST_SERVER_QUEUE_FAKE_QUEUE_STORE_H_
#define HOLDFAST_SERVER_QUEUE_FAKE_QUEUE_STORE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "server/loop/event_loop.h"
#include "server/queue/fake_disk.h"
#include "server/queue/fake_queue_view.h"
#include "storage/queue_store.h"

namespace holdfast {

class FakeDiskStore : public QueueStore {
 public:
  // Both outlive it.
  FakeDiskStore(EventLoop* loop, FakeDisk* disk);

  void Submit(QueueBatch batch, Done done) override;
  absl::StatusOr<std::unique_ptr<QueueView>> View() override;
  void ReadLater(
      absl::AnyInvocable<void(absl::StatusOr<const QueueView*>)> read) override;
  void Drain() override { CommitNow(); }
  const std::string& uuid() const override { return uuid_; }
  uint64_t start_number() const override { return disk_->starts; }

  // While held, batches wait for CommitNow() and reads still see the state
  // before them.
  void HoldCommits(bool hold) { hold_ = hold; }
  void CommitNow();
  // Acceptances and chunks find no room.
  void SetNoRoom(bool no_room) { no_room_ = no_room; }
  // The disk is full to the last page: outcomes find no room either.
  void SetFull(bool full) { full_ = full; }
  // The next commit's sync fails.
  void FailNextSync() { fail_sync_ = true; }
  // This body can't be read.
  void Damage(MessageId message) { damaged_.insert(message); }

  uint64_t reads() const { return reads_; }
  uint64_t commits() const { return commits_; }

 private:
  FakeDiskView::Source Source() const;
  void ScheduleCommit();

  EventLoop* loop_;
  FakeDisk* disk_;
  std::string uuid_ = "00c0ffee00c0ffee";
  std::deque<std::pair<QueueBatch, Done>> waiting_;
  std::set<MessageId> damaged_;
  bool hold_ = false;
  bool no_room_ = false;
  bool full_ = false;
  bool fail_sync_ = false;
  bool scheduled_ = false;
  uint64_t reads_ = 0;
  uint64_t commits_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_FAKE_QUEUE_STORE_H_
