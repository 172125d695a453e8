// How long an answer may still take.
#ifndef HOLDFAST_CTL_TABLES_TABLE_DEADLINE_H_
#define HOLDFAST_CTL_TABLES_TABLE_DEADLINE_H_

#include <sys/time.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/time/time.h"

namespace holdfast {

// Time that only goes forward, since some point of its own.
using TableClock = std::function<absl::Duration()>;

class TableDeadline {
 public:
  TableDeadline(TableClock clock, absl::Duration limit)
      : clock_(std::move(clock)), limit_(limit), end_(clock_() + limit) {}

  // Of the whole.
  absl::Duration Limit() const { return limit_; }

  // Not negative.
  absl::Duration Left() const {
    return std::max(absl::ZeroDuration(), end_ - clock_());
  }
  bool Over() const { return Left() == absl::ZeroDuration(); }
  // For poll(2): rounded up, so that what is left is never waited for in a
  // circle.
  int Milliseconds() const {
    return static_cast<int>(
        absl::ToInt64Milliseconds(absl::Ceil(Left(), absl::Milliseconds(1))));
  }
  // For libraries to which nothing means forever: at least a millisecond.
  timeval Timeval() const {
    return absl::ToTimeval(std::max(Left(), absl::Milliseconds(1)));
  }

 private:
  TableClock clock_;
  absl::Duration limit_;
  absl::Duration end_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_TABLE_DEADLINE_H_
