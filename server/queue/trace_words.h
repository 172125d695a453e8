// What operators want to see in the log: `log verbose`, `log brief`, `trace
// SUBSYSTEM`, `untrace SUBSYSTEM` (reference part 2, section 5.6).
#ifndef HOLDFAST_SERVER_QUEUE_TRACE_WORDS_H_
#define HOLDFAST_SERVER_QUEUE_TRACE_WORDS_H_

#include <set>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// Debug lines are not told apart by subsystem: all rooms write all of theirs
// while anything is traced.
class TraceWords {
 public:
  // `verbose`: as the daemon was started.
  explicit TraceWords(bool verbose) : verbose_(verbose) {}

  static bool IsKnown(absl::string_view subsystem);

  // `log verbose`, `log brief`: nothing is traced any more.
  void SetVerbose(bool verbose);
  void Trace(const std::string& subsystem) { traced_.insert(subsystem); }
  void Untrace(const std::string& subsystem);

  // Whether debug lines are to be written.
  bool verbose() const { return verbose_ || !traced_.empty(); }

 private:
  bool verbose_;
  std::set<std::string> traced_;
};

// The process's, as its log is the process's.  On the loop's thread.
TraceWords& TraceWordsOfProcess();

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_TRACE_WORDS_H_
