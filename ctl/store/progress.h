// How far a long command is, on standard error: a bar that moves on a terminal,
// a line now and then elsewhere.
#ifndef HOLDFAST_CTL_STORE_PROGRESS_H_
#define HOLDFAST_CTL_STORE_PROGRESS_H_

#include <unistd.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "ctl/control/whole_io.h"

namespace holdfast {

class Progress {
 public:
  // `what`: "export", "import".  No total: only what is done is told.  `quiet`:
  // lines would not be understood; a bar goes away again.
  explicit Progress(absl::string_view what, bool quiet = false)
      : what_(what), terminal_(isatty(STDERR_FILENO) == 1), quiet_(quiet) {}
  ~Progress() { Clear(); }

  void SetTotal(uint64_t total) { total_ = total; }
  void Step() {
    // The clock is asked now and then only.
    if (++done_ % 64 != 0) return;
    const absl::Time now = absl::Now();
    if (now - last_ < (terminal_ ? kTerminalPeriod : kLinePeriod)) return;
    last_ = now;
    Show();
  }
  void Clear() {
    if (shown_ && terminal_) WriteAll(STDERR_FILENO, "\r\x1b[K");
    shown_ = false;
  }

 private:
  static constexpr absl::Duration kTerminalPeriod = absl::Milliseconds(200);
  static constexpr absl::Duration kLinePeriod = absl::Seconds(10);
  static constexpr size_t kBar = 40;

  void Show() {
    const std::string count =
        total_ > 0 ? absl::StrCat("queue ", what_, ": ", done_, " of ", total_,
                                  " messages")
                   : absl::StrCat("queue ", what_, ": ", done_, " messages");
    shown_ = true;
    if (!terminal_) {
      if (!quiet_) WriteAll(STDERR_FILENO, count + "\n");
      return;
    }
    if (total_ == 0) {
      WriteAll(STDERR_FILENO, absl::StrCat("\r", count));
      return;
    }
    const size_t part = std::min<uint64_t>(done_, total_) * kBar / total_;
    WriteAll(STDERR_FILENO,
             absl::StrCat("\r[", std::string(part, '#'),
                          std::string(kBar - part, ' '), "] ", count));
  }

  const std::string what_;
  const bool terminal_;
  const bool quiet_;
  uint64_t done_ = 0, total_ = 0;
  absl::Time last_ = absl::Now();
  bool shown_ = false;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_PROGRESS_H_
