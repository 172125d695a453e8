// Files that agents write: a nameless one to keep letters in, and copying out
// of it.
#ifndef HOLDFAST_STORAGE_MAILBOX_SPOOL_FILE_H_
#define HOLDFAST_STORAGE_MAILBOX_SPOOL_FILE_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/owned_fd.h"

namespace holdfast {

// Where letters wait, one behind the other: a file in /tmp without a name, made
// when it is first needed.
class SpoolFile {
 public:
  // All of `bytes`, or nothing of them.
  absl::Status Append(absl::string_view bytes);
  off_t size() const { return size_; }
  int fd() const { return fd_.get(); }

 private:
  OwnedFd fd_;
  off_t size_ = 0;
};

// `shown`: what errors name.
absl::Status WriteAll(int fd, absl::string_view bytes,
                      const std::string& shown);
// Appends `bytes` from `offset` of `from` to `to`.
absl::Status CopyRange(int from, off_t offset, off_t bytes, int to,
                       const std::string& shown);

// Cuts `fd` back to `size` after `*failed`.  False: that failed, too, and
// `*failed` says so.
bool CutBack(int fd, off_t size, const std::string& shown,
             absl::Status* failed);

// Now, in local time, as ctime(3), without its line end.
std::string CTime();

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_MAILBOX_SPOOL_FILE_H_
