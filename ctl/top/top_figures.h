// What two snapshots say together: rates.  Pure.
#ifndef HOLDFAST_CTL_TOP_TOP_FIGURES_H_
#define HOLDFAST_CTL_TOP_TOP_FIGURES_H_

#include <cstdint>

#include "protocol/top_snapshot.h"

namespace holdfast {

// Of the time between two snapshots of one start of the server.
struct TopFigures {
  double seconds = 0;  // 0: nothing is known
  // Each second.
  double connected = 0, refused = 0;
  double enqueued = 0, dequeued = 0;
  double ok = 0, tempfail = 0, permfail = 0, loop = 0;
  double expired = 0, removed = 0, bounces = 0;
  double commits = 0;
  // Of the commits: operations in each, and milliseconds.
  double operations_mean = 0, ms_mean = 0;
  uint64_t operations_p99 = 0;
  double ms_p50 = 0, ms_p99 = 0;
};

// If the server was started in between, what is known since then.
TopFigures FiguresOf(const TopSnapshot& before, const TopSnapshot& after);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TOP_TOP_FIGURES_H_
