// Gives the text of a queued message, a piece at a time: for reports, which
// quote it, and for `smtpctl show message`.
#ifndef HOLDFAST_SERVER_QUEUE_STORED_BODY_READER_H_
#define HOLDFAST_SERVER_QUEUE_STORED_BODY_READER_H_

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "protocol/ids.h"
#include "server/loop/event_loop.h"
#include "storage/queue_store.h"

namespace holdfast {

// Used on the loop's thread; reads and expands on the store's reader thread.
// Between two pieces no read transaction is open and at most one chunk is in
// memory.  Dropping it forgets a read in progress.
class StoredBodyReader {
 public:
  // Most that a piece holds.
  static constexpr size_t kPieceBytes = 128 << 10;

  struct Piece {
    std::string bytes;
    bool end = false;  // nothing follows; size and digest were right
  };

  StoredBodyReader(EventLoop* loop, QueueStore* store, MessageId message);
  ~StoredBodyReader();

  // One at a time.  kNotFound: no such message; kDataLoss: damaged; else the
  // store could not be read now.
  void Read(absl::AnyInvocable<void(absl::StatusOr<Piece>)> done);

 private:
  struct State;

  EventLoop* loop_;
  QueueStore* store_;
  std::shared_ptr<State> state_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_STORED_BODY_READER_H_
