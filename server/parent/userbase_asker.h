// Asks the programs of userbases, through `lookup`, which has them.
#ifndef HOLDFAST_SERVER_PARENT_USERBASE_ASKER_H_
#define HOLDFAST_SERVER_PARENT_USERBASE_ASKER_H_

#include <cstdint>
#include <map>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "config/table_answers.h"
#include "protocol/ids.h"
#include "server/door/door.h"
#include "server/door/table_question.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// `lookup` answers sooner, by the time-out of the table, unless it hangs.
inline constexpr absl::Duration kUserbaseTimeout = absl::Minutes(2);

// Used on the loop's thread.
class UserbaseAsker {
 public:
  using Done = absl::AnyInvocable<void(TableResult)>;

  explicit UserbaseAsker(EventLoop* loop) : loop_(loop) {}

  // `lookup` runs, as this worker; `door` is good until OnLookupDied().
  void OnLookupReady(WorkerId worker, Door* door);
  // Nothing happens if another one runs by now.
  void OnLookupDied(WorkerId worker);
  // One that was not asked for is ignored.
  void OnAnswer(const TableAnswer& answer);

  // `done` is called in a later turn; with kUnavailable if `lookup` goes, or is
  // not there.
  void Ask(const TableQuery& query, Done done);

 private:
  struct Open {
    Done done;
    EventLoop::Timer timer;
  };

  void Fail(uint64_t question);

  EventLoop* const loop_;
  WorkerId worker_{};
  Door* door_ = nullptr;
  uint64_t last_question_ = 0;
  std::map<uint64_t, Open> open_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_USERBASE_ASKER_H_
