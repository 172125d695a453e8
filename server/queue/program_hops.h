// Next hops that the programs of tables name (`host <table>`, `domain <table>`
// of a relay action).  Who sends a batch cannot wait: the first question only
// asks, and the destination is woken when the answer is there.
#ifndef HOLDFAST_SERVER_QUEUE_PROGRAM_HOPS_H_
#define HOLDFAST_SERVER_QUEUE_PROGRAM_HOPS_H_

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <tuple>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/table.h"
#include "protocol/ids.h"
#include "server/door/table_question.h"
#include "server/loop/event_loop.h"

namespace holdfast {

// One thread: the loop's.
class ProgramHops {
 public:
  // What a program has said is for batches of that destination that go within
  // this time; of `host`, for one batch.
  static constexpr absl::Duration kFresh = absl::Seconds(10);
  // One that has not been able to answer for less than this is asked again: it,
  // or `lookup`, may be starting.  Only then its destinations have failed.
  static constexpr absl::Duration kErrorGrace = absl::Minutes(1);
  // Answers that are kept; then those that are not being asked for are dropped.
  static constexpr size_t kMaxKept = 10000;

  using Ask =
      std::function<void(TableQuestion, absl::AnyInvocable<void(TableAnswer)>)>;
  // `ask` answers in a later turn, and not after this object is gone.
  ProgramHops(EventLoop* loop, Ask ask, std::function<void(DestinationId)> wake)
      : loop_(loop), ask_(std::move(ask)), wake_(std::move(wake)) {}

  // The next of a `host` table.  kUnavailable: it is being asked, and `wake`
  // will be called with `destination`; or it could not answer (kErrorGrace),
  // and is asked with the next call.
  absl::StatusOr<TableAnswer> Next(const Table& table,
                                   DestinationId destination);
  // The one for this domain.
  absl::StatusOr<TableAnswer> For(const Table& table, const std::string& domain,
                                  DestinationId destination);

 private:
  struct Hop {
    bool asked = true;
    TableAnswer answer;
    absl::Duration until;
  };
  using Key =
      std::tuple<std::string, TableQuestion::Op, std::string, DestinationId>;

  absl::StatusOr<TableAnswer> Find(const Table& table, TableQuestion::Op op,
                                   const std::string& key,
                                   DestinationId destination);
  bool FailsBriefly(const std::string& table) const;

  EventLoop* const loop_;
  const Ask ask_;
  const std::function<void(DestinationId)> wake_;
  std::map<Key, Hop> hops_;
  // Of tables whose last answer was an error: since when.
  std::map<std::string, absl::Duration> failing_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_PROGRAM_HOPS_H_
