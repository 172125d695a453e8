#include "ctl/top/top_figures.h"

namespace holdfast {
namespace {

void CommitFiguresOf(const TopSnapshot& before, const TopSnapshot& after,
                     TopFigures* f) {
  const LogHistogram operations =
      after.commit_operations.Since(before.commit_operations);
  const LogHistogram micros =
      after.commit_microseconds.Since(before.commit_microseconds);
  const uint64_t commits = micros.count();
  f->commits = static_cast<double>(commits) / f->seconds;
  if (commits == 0) return;
  f->operations_mean = static_cast<double>(operations.sum()) / commits;
  f->operations_p99 = operations.Permille(990);
  f->ms_mean = static_cast<double>(micros.sum()) / commits / 1000;
  f->ms_p50 = static_cast<double>(micros.Permille(500)) / 1000;
  f->ms_p99 = static_cast<double>(micros.Permille(990)) / 1000;
}

}  // namespace

TopFigures FiguresOf(const TopSnapshot& before, const TopSnapshot& after) {
  if (before.started != after.started) {
    TopSnapshot fresh;
    fresh.started = fresh.now = after.started;
    return FiguresOf(fresh, after);
  }
  TopFigures f;
  f.seconds = absl::ToDoubleSeconds(after.now - before.now);
  if (!(f.seconds > 0)) return TopFigures();
  const TopCounters& a = after.counters;
  const TopCounters& b = before.counters;
  const auto rate = [&f](uint64_t now, uint64_t then) {
    return now > then ? static_cast<double>(now - then) / f.seconds : 0;
  };
  f.connected = rate(a.connected, b.connected);
  f.refused = rate(a.refused, b.refused);
  f.enqueued = rate(a.enqueued, b.enqueued);
  f.dequeued = rate(a.dequeued, b.dequeued);
  f.ok = rate(a.ok, b.ok);
  f.tempfail = rate(a.tempfail, b.tempfail);
  f.permfail = rate(a.permfail, b.permfail);
  f.loop = rate(a.loop, b.loop);
  f.expired = rate(a.expired, b.expired);
  f.removed = rate(a.removed, b.removed);
  f.bounces = rate(a.bounces, b.bounces);
  CommitFiguresOf(before, after, &f);
  return f;
}

}  // namespace holdfast
