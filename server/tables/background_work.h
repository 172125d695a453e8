// Work that would block the loop, on a thread of its own, one piece after the
// other.
#ifndef HOLDFAST_SERVER_TABLES_BACKGROUND_WORK_H_
#define HOLDFAST_SERVER_TABLES_BACKGROUND_WORK_H_

#include <memory>

#include "absl/functional/any_invocable.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// Used on the loop's thread.  Work that hangs does not keep this object (or the
// process) from ending.
class BackgroundWork {
 public:
  // Done on the loop's thread, after the work that returned it; never after the
  // BackgroundWork is gone.
  using Finish = absl::AnyInvocable<void()>;

  explicit BackgroundWork(EventLoop* loop);
  ~BackgroundWork();

  // Runs `work` on the thread.  It must share nothing with the loop's thread
  // that changes.
  void Run(absl::AnyInvocable<Finish()> work);

  // Pieces that are not finished.
  size_t waiting() const;

 private:
  struct Shared;
  static void Work(const std::shared_ptr<Shared>& shared);

  std::shared_ptr<Shared> shared_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TABLES_BACKGROUND_WORK_H_
