// Small helpers for talking to the store's threads from the loop.
#ifndef HOLDFAST_SERVER_QUEUE_STORE_CALLS_H_
#define HOLDFAST_SERVER_QUEUE_STORE_CALLS_H_

#include <memory>
#include <type_traits>
#include <utility>

#include "absl/status/statusor.h"
#include "server/loop/event_loop.h"
#include "storage/queue_store.h"

namespace holdfast {

// A member of whoever hands out callbacks: what Wrap() made does nothing once
// the guard is gone.  Wrapped functions are called on the loop's thread.
class CallGuard {
 public:
  template <class F>
  auto Wrap(F f) const {
    return [alive = std::weak_ptr<char>(alive_),
            f = std::move(f)](auto&&... args) mutable {
      if (!alive.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }

 private:
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

// Runs `read(const QueueView&)` on the store's reader thread, then, on the
// loop, `done(absl::StatusOr<what it returned>)`.
template <class Read, class Done>
void ReadThenPost(EventLoop* loop, QueueStore* store, Read read, Done done) {
  using Value = std::invoke_result_t<Read&, const QueueView&>;
  store->ReadLater([loop, read = std::move(read), done = std::move(done)](
                       absl::StatusOr<const QueueView*> view) mutable {
    absl::StatusOr<Value> value = view.ok()
                                      ? absl::StatusOr<Value>(read(**view))
                                      : absl::StatusOr<Value>(view.status());
    loop->Post([value = std::move(value), done = std::move(done)]() mutable {
      done(std::move(value));
    });
  });
}

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_STORE_CALLS_H_
