// Envelopes of the queue that match a filter, page by page: for listings, acts
// on many envelopes and exports.
#ifndef HOLDFAST_SERVER_QUEUE_QUEUE_QUERY_H_
#define HOLDFAST_SERVER_QUEUE_QUEUE_QUERY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "protocol/envelope_filter.h"
#include "server/loop/event_loop.h"
#include "storage/queue_store.h"
#include "storage/queue_walk.h"

namespace holdfast {

// Used on the loop's thread; reads on the store's idle reader thread (the first
// page on the usual one), each page in a view of its own.  Mail goes first:
// before a page it waits as long as the page before took to come, and
// kBusyPauses times as long if something was committed meanwhile; pages are
// short then.  Dropped, it calls back no more.
class QueueQuery {
 public:
  struct Page {
    // What matches, in the walk's order; may be empty before the end.
    std::vector<EnvelopeFacts> rows;
    bool ended = false;
  };
  using Done = absl::AnyInvocable<void(absl::StatusOr<Page>)>;
  static constexpr int kBusyPauses = 3;
  // Of a page while mail is committed: what is made of it on the loop's thread
  // holds up answers.
  static constexpr size_t kBusyRows = 100;
  // The longest wait before a page.
  static constexpr absl::Duration kMaxPause = absl::Milliseconds(100);

  // `loop` and `store` outlive it.
  QueueQuery(EventLoop* loop, QueueStore* store, EnvelopeFilter filter,
             std::vector<std::string> relay_actions = {});
  ~QueueQuery();
  QueueQuery(const QueueQuery&) = delete;
  QueueQuery& operator=(const QueueQuery&) = delete;

  // Before the first Next(): goes on behind where another one was.
  absl::Status Resume(absl::string_view cursor);
  // Between pages: what the next query may resume from.
  std::string Cursor() const;

  // Looks at up to `max_rows` rows (at most kMaxWalkRows) and calls `done` with
  // what matches, in a later turn.  One at a time.
  void Next(size_t max_rows, Done done);

 private:
  struct Shared;

  void Read();

  EventLoop* const loop_;
  QueueStore* const store_;
  // Its walk is the reader thread's while a page is read.
  const std::shared_ptr<Shared> shared_;
  size_t max_rows_ = 0;
  uint64_t commits_ = 0;  // before the last page
  absl::Duration pause_;
  bool first_ = true;
  bool busy_ = false;  // something was committed during the last page
  EventLoop::Timer timer_;
};

// Names of the actions that relay: what to look up first.
std::vector<std::string> RelayActions(const Config& config);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_QUEUE_QUERY_H_
