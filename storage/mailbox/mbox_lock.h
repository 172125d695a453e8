// The two locks around an mbox that mail programs agree on: USER.lock beside
// it, and fcntl(2) on it.
#ifndef HOLDFAST_STORAGE_MAILBOX_MBOX_LOCK_H_
#define HOLDFAST_STORAGE_MAILBOX_MBOX_LOCK_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace holdfast {

// A dot lock whose owner is gone is broken when it is this old.
inline constexpr absl::Duration kStaleLockAge = absl::Minutes(5);

// Released when dropped.
class DotLock {
 public:
  // Makes `name` in the folder `dir` (which must outlive the lock), holding
  // this process's id.  Waits up to `wait` for another one's to go; then
  // kUnavailable.  `shown` is the folder's path, for messages.
  static absl::StatusOr<std::unique_ptr<DotLock>> Take(int dir,
                                                       const std::string& name,
                                                       const std::string& shown,
                                                       absl::Duration wait);
  ~DotLock();
  DotLock(const DotLock&) = delete;
  DotLock& operator=(const DotLock&) = delete;

 private:
  DotLock(int dir, std::string name, dev_t device, ino_t inode)
      : dir_(dir), name_(std::move(name)), device_(device), inode_(inode) {}

  const int dir_;
  const std::string name_;
  const dev_t device_;
  const ino_t inode_;
};

// An fcntl write lock on all of `fd`; it goes when `fd` is closed.
absl::Status LockWholeFile(int fd, const std::string& shown,
                           absl::Duration wait);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_MAILBOX_MBOX_LOCK_H_
