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
#include "protocol/envelope_filter.h"
#include "server/queue/queue_services.h"
#include "storage/queue_walk.h"

namespace holdfast {

// Used on the loop's thread; reads on the store's reader thread, in a view of
// at most kMaxWalkRows rows each, with a pause between them as long as the
// read took, so that the scheduler's reads come first.  Dropped, it calls back
// no more.
class QueueQuery {
 public:
  struct Page {
    // What matches, in the walk's order; may be empty before the end.
    std::vector<EnvelopeFacts> rows;
    bool ended = false;
    std::string cursor;  // for another query with the same filter text
  };
  using Done = absl::AnyInvocable<void(absl::StatusOr<Page>)>;

  // Both outlive it.
  QueueQuery(EventLoop* loop, QueueStore* store, EnvelopeFilter filter);
  ~QueueQuery();
  QueueQuery(const QueueQuery&) = delete;
  QueueQuery& operator=(const QueueQuery&) = delete;

  // Before the first Next(): goes on behind where another one was.
  absl::Status Resume(absl::string_view cursor);

  // Looks at up to `max_rows` rows and calls `done` with what matches, in a
  // later turn.  One at a time; not after the end.
  void Next(size_t max_rows, Done done);

 private:
  struct Shared;

  EventLoop* const loop_;
  QueueStore* const store_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_QUEUE_QUERY_H_
