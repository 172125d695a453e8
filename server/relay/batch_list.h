// The batches that this worker has, and what becomes of their recipients.
#ifndef HOLDFAST_SERVER_RELAY_BATCH_LIST_H_
#define HOLDFAST_SERVER_RELAY_BATCH_LIST_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "server/door/worker_messages.h"
#include "server/relay/batch_work.h"
#include "server/relay/outcome_book.h"

namespace holdfast {

// A batch is in the list until each recipient has its outcome; the outcomes are
// kept until `queue` has recorded them.  Used on the loop's thread.
class BatchList {
 public:
  explicit BatchList(EventLoop* loop) : book_(loop) {}

  // As OutcomeBook.
  void SetDoor(Door* door) { book_.SetDoor(door); }
  void Claimed(BatchId batch) { book_.Claimed(batch); }
  void Recorded(BatchId batch, uint32_t sequence) {
    book_.Recorded(batch, sequence);
  }
  void Forget(BatchId batch);
  // Whether `queue` knows all there is to know.
  bool settled() const { return book_.empty(); }

  // Null: it is here already.
  std::shared_ptr<BatchWork> Begin(RelayBatch batch);
  std::shared_ptr<BatchWork> Find(BatchId batch) const;
  // A copy, since they go while one looks at them.
  std::map<BatchId, std::shared_ptr<BatchWork>> all() const { return batches_; }

  // The outcome of one recipient; the first one counts.
  void Decide(BatchWork* work, size_t message, size_t recipient,
              const RelayVia& via, WorkerOutcome outcome);
  // Of all that have none, but those of message `keep`.  `failure`: of the
  // destination.
  static constexpr size_t kKeepNone = SIZE_MAX;
  void DecideAll(BatchWork* work, size_t keep, const WorkerOutcome& outcome,
                 const std::string& failure);
  // Nothing more of it is begun; what is not decided goes back untried.
  void Return(BatchWork* work, size_t keep = kKeepNone);
  // As if it had never been.
  void Forget(BatchWork* work);

 private:
  OutcomeBook book_;
  std::map<BatchId, std::shared_ptr<BatchWork>> batches_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_BATCH_LIST_H_
