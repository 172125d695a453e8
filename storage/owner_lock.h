// Who may open the store: `owner.lock` beside it.  Held exclusively by the one
// process that writes, shared by offline tools that read.  Close-on-exec, never
// passed on.  Its text is "<process id> running\n" or "... clean\n".
#ifndef HOLDFAST_STORAGE_OWNER_LOCK_H_
#define HOLDFAST_STORAGE_OWNER_LOCK_H_

#include <string>

#include "absl/status/statusor.h"

namespace holdfast {

class OwnerLock {
 public:
  // kUnavailable, naming the holder, if it is taken; kPermissionDenied,
  // kNotFound and kInternal as open(2) has it.
  static absl::StatusOr<OwnerLock> Take(const std::string& path,
                                        bool exclusive);
  ~OwnerLock();
  OwnerLock(OwnerLock&& other) noexcept;
  OwnerLock& operator=(OwnerLock&& other) noexcept;

  // Whether the last exclusive holder said that all was synced.  If not, the
  // page cache may hold what the disk does not.
  bool was_clean() const { return was_clean_; }
  // To be called last, when nothing unsynced is left.
  void MarkClean();

 private:
  OwnerLock(int fd, bool was_clean) : fd_(fd), was_clean_(was_clean) {}

  int fd_ = -1;
  bool was_clean_ = false;
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_OWNER_LOCK_H_
