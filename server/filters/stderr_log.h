// What a filter process says on its standard error, as log lines "NAME: line".
#ifndef HOLDFAST_SERVER_FILTERS_STDERR_LOG_H_
#define HOLDFAST_SERVER_FILTERS_STDERR_LOG_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "server/loop/event_loop.h"
#include "server/loop/stream.h"
#include "storage/owned_fd.h"

namespace holdfast {

// Of a line; the rest is left out, and "..." says so.
inline constexpr size_t kMaxStderrLine = 1000;
// So many lines at once, then so many a second; what goes beyond is counted and
// said in one line.
inline constexpr int kStderrBurst = 200;
inline constexpr int kStderrPerSecond = 20;
inline constexpr absl::Duration kStderrCountEvery = absl::Seconds(10);

// Used on the loop's thread only.  It is read from as fast as it writes, so
// that it never waits for us.
class StderrLog {
 public:
  // `log` gets whole lines, escaped.  `ended` is called once, when the other
  // side has closed; it may drop this.
  StderrLog(EventLoop* loop, OwnedFd fd, std::string name,
            absl::AnyInvocable<void(const std::string&)> log, Task ended);

 private:
  void OnBytes(absl::string_view bytes);
  void EndLine();
  bool MayLog();
  void TellCount();

  EventLoop* loop_;
  std::string name_;
  absl::AnyInvocable<void(const std::string&)> log_;
  Task ended_;
  std::string line_;
  bool cut_ = false;  // line_ has lost its end
  double allowance_ = kStderrBurst;
  absl::Duration counted_at_;
  uint64_t left_out_ = 0;
  EventLoop::Timer count_timer_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_STDERR_LOG_H_
