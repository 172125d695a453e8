// What the programs of others (filters, tables) say on their standard error, in
// our log: "NAME: line".
#ifndef HOLDFAST_SERVER_PROGRAM_LOG_PROGRAM_LOG_H_
#define HOLDFAST_SERVER_PROGRAM_LOG_PROGRAM_LOG_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/loop/event_loop.h"
#include "server/loop/stream.h"
#include "storage/owned_fd.h"

namespace holdfast {

// Octets of a line; what is longer is cut.
inline constexpr size_t kMaxProgramLogLine = 1024;
// Lines of a program in a minute; of the others only how many they were.
inline constexpr size_t kMaxProgramLogLines = 100;

// Used on the loop's thread; reads until it is dropped or the program closes
// its end.
class ProgramLog {
 public:
  // `fd` is our end of a Unix stream socket, non-blocking.
  ProgramLog(EventLoop* loop, std::string name, OwnedFd fd);
  ~ProgramLog();
  ProgramLog(const ProgramLog&) = delete;
  ProgramLog& operator=(const ProgramLog&) = delete;

 private:
  void OnBytes(absl::string_view bytes);
  void OnLine();
  void TellDropped();

  EventLoop* const loop_;
  const std::string name_;
  std::unique_ptr<Stream> stream_;
  std::string line_;  // what has come of it
  size_t lines_ = 0;  // of the minute that ends at until_
  absl::Duration until_ = absl::ZeroDuration();
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PROGRAM_LOG_PROGRAM_LOG_H_
