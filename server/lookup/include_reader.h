// Reads the files that aliases include, on a thread of its own, since a disk
// (or a file server) may take its time.
#ifndef HOLDFAST_SERVER_LOOKUP_INCLUDE_READER_H_
#define HOLDFAST_SERVER_LOOKUP_INCLUDE_READER_H_

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "server/loop/event_loop.h"

namespace holdfast {

inline constexpr size_t kMaxIncludeBytes = 1 << 20;
// Files that wait to be read.
inline constexpr size_t kMaxWaitingIncludes = 256;

// Reads at once, as the user of this process: regular files only, without
// waiting for writers of pipes.  kResourceExhausted if it is too large; other
// errors, in the reference's words, say that it could not be opened.
absl::StatusOr<std::string> ReadIncludeFile(const std::string& path);

// Used on the loop's thread.  A read that hangs does not keep this object (or
// the process) from ending.
class IncludeReader {
 public:
  using Callback = absl::AnyInvocable<void(absl::StatusOr<std::string>)>;

  explicit IncludeReader(EventLoop* loop);
  ~IncludeReader();

  // Calls `done` in a later turn; never after this object is gone.  With too
  // many waiting: kResourceExhausted.
  void Read(const std::string& path, Callback done);

 private:
  struct Shared;
  static void Work(const std::shared_ptr<Shared>& shared);

  EventLoop* loop_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_LOOKUP_INCLUDE_READER_H_
