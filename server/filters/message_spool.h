// The text of a message that waits for a milter's verdict: up to kSpoolMemory
// octets in memory, then in a file without a name.
#ifndef HOLDFAST_SERVER_FILTERS_MESSAGE_SPOOL_H_
#define HOLDFAST_SERVER_FILTERS_MESSAGE_SPOOL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/tables/background_work.h"

namespace holdfast {

inline constexpr size_t kSpoolMemory = 64 << 10;

// First all of it is written, then it is read once.  Used on the loop's thread;
// the file's work is done on `background`'s.
class MessageSpool {
 public:
  // `folder`: where the file is made.  `on_progress` is called, later, when
  // unwritten() has become zero, or status() an error.
  MessageSpool(BackgroundWork* background, std::string folder,
               std::function<void()> on_progress);
  ~MessageSpool();
  MessageSpool(const MessageSpool&) = delete;
  MessageSpool& operator=(const MessageSpool&) = delete;

  void Append(absl::string_view bytes);
  // What was given and is in no file yet, beyond what memory may hold.  Who
  // writes stops above a limit of their own.
  size_t unwritten() const { return pending_.size() + writing_; }
  uint64_t size() const { return size_; }
  // The first error of a write: kResourceExhausted, the disk is full;
  // kUnavailable otherwise, with the system's text.
  const absl::Status& status() const { return status_; }

  // The next of the text, at most `max` octets; empty at its end.  `done` is
  // called inside Read() or later, not once the spool is dropped.  One at a
  // time, when unwritten() is zero.
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::string>)>;
  void Read(size_t max, Done done);

 private:
  struct File;
  void StartWrite();

  BackgroundWork* const background_;
  const std::string folder_;
  const std::function<void()> on_progress_;
  std::string memory_;   // all of it, while there is no file
  std::string pending_;  // to be written when the write under way is done
  size_t writing_ = 0;   // octets of the write under way
  uint64_t size_ = 0, read_ = 0;
  absl::Status status_;
  // Shared with the thread, which works on one thing at a time.
  std::shared_ptr<File> file_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_FILTERS_MESSAGE_SPOOL_H_
