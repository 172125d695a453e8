// Outcomes on their way to `queue`: gathered over a turn, sent as one frame for
// each batch, kept until they are recorded, told again to a new queue.
#ifndef HOLDFAST_SERVER_RELAY_OUTCOME_BOOK_H_
#define HOLDFAST_SERVER_RELAY_OUTCOME_BOOK_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/door/door.h"
#include "server/door/worker_messages.h"
#include "server/loop/event_loop.h"
#include "server/relay/batch_work.h"

namespace holdfast {

// Bounded by what `queue` hands out: an entry for each envelope of its batches.
class OutcomeBook {
 public:
  explicit OutcomeBook(EventLoop* loop) : loop_(loop) {}

  // Null: there is no queue now.  A new one is first told the state of this
  // worker, then all that is not recorded.
  void SetDoor(Door* door);

  void Begin(BatchId batch);
  // Nothing of a batch is told before its claim is on the disk.
  void Claimed(BatchId batch);
  void Add(BatchId batch, const RelayVia& via, WorkerOutcome outcome);
  // There is nothing more to come.
  void Finish(BatchId batch, std::string destination_failure);
  // As if it had never been.
  void Forget(BatchId batch);
  // The answer of queue.
  void Recorded(BatchId batch, uint32_t sequence);

  // Whether all of all batches is recorded.
  bool empty() const { return pages_.empty(); }

 private:
  struct Page {
    bool claimed = false;
    bool finished = false;
    uint32_t sequence = 0;           // of the last one made
    std::deque<BatchOutcomes> made;  // not recorded; the last may be open
    size_t sent = 0;                 // of made
  };

  BatchOutcomes& OpenEntry(BatchId batch, Page* page, const RelayVia& via);
  void FlushLater();
  void Flush();

  EventLoop* loop_;
  Door* door_ = nullptr;
  std::map<BatchId, Page> pages_;
  bool flush_due_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RELAY_OUTCOME_BOOK_H_
