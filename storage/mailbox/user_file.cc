#include "storage/mailbox/user_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "storage/mailbox/file_error.h"
#include "storage/mailbox/mbox_lock.h"
#include "storage/mailbox/spool_file.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

// Opens a file of the user's for appending: a regular one, or a device such
// as /dev/null, but nothing that could make us wait.
absl::StatusOr<OwnedFd> OpenForAppending(const std::string& path) {
  OwnedFd fd(open(
      path.c_str(),
      O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600));
  if (!fd) return FileError(path);
  struct stat st;
  if (fstat(fd.get(), &st) != 0) return FileError(path);
  if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
    return absl::UnavailableError(absl::StrCat(path, ": not a regular file"));
  return fd;
}

}  // namespace

absl::Status AppendToUserFile(const std::string& path, int spool, off_t offset,
                              off_t bytes, absl::Duration lock_wait,
                              bool* in_doubt) {
  *in_doubt = false;
  absl::StatusOr<OwnedFd> file = OpenForAppending(path);
  if (!file.ok()) return file.status();
  struct stat st;
  if (fstat(file->get(), &st) != 0) return FileError(path);
  const bool regular = S_ISREG(st.st_mode);
  if (regular) {
    absl::Status locked = LockWholeFile(file->get(), path, lock_wait);
    if (!locked.ok()) return locked;
    if (fstat(file->get(), &st) != 0) return FileError(path);
  }
  absl::Status done = CopyRange(spool, offset, bytes, file->get(), path);
  // A device such as /dev/null has nothing to sync.
  const bool whole = done.ok();
  if (whole && fsync(file->get()) != 0 && errno != EINVAL)
    done = FileError(path);
  if (!done.ok() && regular)
    *in_doubt = !CutBack(file->get(), st.st_size, path, &done) && whole;
  return done;
}

}  // namespace holdfast
