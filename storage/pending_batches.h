// Batches that wait for the commit thread, and which of them go next.
//
// Ordinary batches go in order of submission.  Those with chunks of bodies, and
// those that touch a message of which chunks wait, have a queue for each
// session; these share a budget of octets for each group, round robin with
// deficits, so that a large message delays nobody else's.
//
// Used by one thread.
#ifndef HOLDFAST_STORAGE_PENDING_BATCHES_H_
#define HOLDFAST_STORAGE_PENDING_BATCHES_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "storage/queue_batch.h"
#include "storage/queue_store.h"
#include "storage/queue_txn.h"

namespace holdfast {

struct PendingBatch {
  QueueBatch operations;
  QueueStore::Done done;
  std::optional<SetAside> aside;  // the store's own; has no operations
};

class PendingBatches {
 public:
  struct Limits {
    uint64_t dirty_pages = 2048;
    size_t chunk_bytes = 1 << 20;
  };

  void Push(PendingBatch batch);
  bool empty() const { return count_ == 0; }

  // The next group, in order of submission; at least one batch unless empty().
  std::vector<PendingBatch> TakeGroup(const Limits& limits);
  // Octets of chunks in the last group.
  size_t last_chunk_bytes() const { return last_chunk_bytes_; }

 private:
  struct Entry {
    PendingBatch batch;
    uint64_t number = 0;
    uint64_t dirty_pages = 0;
    size_t chunk_bytes = 0;
    std::vector<MessageId> messages;  // whose order with others matters
  };
  struct Session {
    std::deque<Entry> entries;
    size_t deficit = 0;
  };
  // Of one message: the numbers of waiting batches that touch it.
  struct Order {
    uint64_t session = 0;
    std::deque<uint64_t> numbers;
  };

  std::optional<uint64_t> SessionOf(const Entry& entry) const;
  bool IsNext(const Entry& entry) const;
  void Take(Entry entry, std::vector<Entry>* group, uint64_t* dirty);
  void TakeChunks(const Limits& limits, std::vector<Entry>* group,
                  uint64_t* dirty);
  bool ServeSession(Session* session, const Limits& limits,
                    std::vector<Entry>* group, uint64_t* dirty);

  std::deque<Entry> ordinary_;
  absl::flat_hash_map<uint64_t, Session> sessions_;
  std::deque<uint64_t> turns_;  // sessions with entries, next one first
  absl::flat_hash_map<MessageId, Order> order_;
  uint64_t next_number_ = 0;
  uint64_t count_ = 0;
  size_t last_chunk_bytes_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_PENDING_BATCHES_H_
