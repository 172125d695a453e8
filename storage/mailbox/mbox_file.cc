#include "storage/mailbox/mbox_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "storage/mailbox/file_error.h"
#include "storage/mailbox/mbox_lock.h"
#include "storage/mailbox/spool_file.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

constexpr mode_t kMode = 0660;
constexpr size_t kMaxUserBytes = 255;

// A mailbox that a crash cut off: the next letter must begin on a line of its
// own behind an empty one.
absl::StatusOr<std::string> MissingEnd(int fd, off_t size,
                                       const std::string& shown) {
  if (size == 0) return std::string();
  char last[2] = {'\n', '\n'};
  const off_t from = std::max<off_t>(size - 2, 0);
  const ssize_t n = pread(fd, last, static_cast<size_t>(size - from), from);
  if (n != static_cast<ssize_t>(size - from)) return FileError(shown);
  if (last[n - 1] != '\n') return std::string("\n\n");
  if (n == 2 && last[0] != '\n') return std::string("\n");
  return std::string();
}

absl::StatusOr<OwnedFd> OpenMailbox(const MboxOptions& options, int dir,
                                    const std::string& user,
                                    const std::string& shown) {
  constexpr int kFlags =
      O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  OwnedFd fd(openat(dir, user.c_str(), kFlags));
  if (!fd && errno == ENOENT) {
    fd.Reset(openat(dir, user.c_str(), kFlags | O_CREAT | O_EXCL, kMode));
    struct stat folder;
    if (!fd || fchmod(fd.get(), kMode) != 0 || fstat(dir, &folder) != 0)
      return FileError(shown);
    // The group of the folder, wherever it isn't inherited.
    if (fchown(fd.get(), static_cast<uid_t>(-1), folder.st_gid) != 0 &&
        errno != EPERM)
      return FileError(shown);
    if (fsync(dir) != 0) return FileError(shown);
  }
  if (!fd) return FileError(shown);
  struct stat st;
  if (fstat(fd.get(), &st) != 0) return FileError(shown);
  if (!S_ISREG(st.st_mode))
    return absl::UnavailableError(absl::StrCat(shown, ": not a regular file"));
  if (st.st_nlink != 1)
    return absl::UnavailableError(absl::StrCat(shown, ": has several links"));
  if (st.st_uid != options.owner)
    return absl::UnavailableError(absl::StrCat(shown, ": not the user's own"));
  return fd;
}

}  // namespace

bool IsMailboxName(absl::string_view user) {
  return !user.empty() && user.size() <= kMaxUserBytes && user[0] != '.' &&
         user.find('/') == absl::string_view::npos &&
         user.find('\0') == absl::string_view::npos;
}

void AppendToMbox(const MboxOptions& options, const std::string& user,
                  int spool, const std::vector<MboxLetter*>& letters) {
  auto fail_all = [&letters](const absl::Status& status) {
    for (MboxLetter* letter : letters) letter->status = status;
  };
  const std::string shown = absl::StrCat(options.mail_dir, "/", user);
  OwnedFd dir(
      open(options.mail_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return fail_all(FileError(options.mail_dir));
  absl::StatusOr<std::unique_ptr<DotLock>> lock =
      DotLock::Take(dir.get(), absl::StrCat(user, ".lock"), options.mail_dir,
                    options.lock_wait / 2);
  if (!lock.ok()) return fail_all(lock.status());
  absl::StatusOr<OwnedFd> mailbox =
      OpenMailbox(options, dir.get(), user, shown);
  if (!mailbox.ok()) return fail_all(mailbox.status());
  absl::Status locked =
      LockWholeFile(mailbox->get(), shown, options.lock_wait / 2);
  if (!locked.ok()) return fail_all(locked);

  struct stat st;
  if (fstat(mailbox->get(), &st) != 0) return fail_all(FileError(shown));
  const off_t before = st.st_size;
  off_t size = before;
  absl::StatusOr<std::string> end = MissingEnd(mailbox->get(), size, shown);
  if (!end.ok()) return fail_all(end.status());
  for (MboxLetter* letter : letters) {
    absl::Status s = WriteAll(mailbox->get(), *end, shown);
    if (s.ok()) {
      s = CopyRange(spool, letter->offset, letter->bytes, mailbox->get(),
                    shown);
    }
    if (s.ok()) {
      size += static_cast<off_t>(end->size()) + letter->bytes;
      end->clear();
      continue;
    }
    letter->status = s;
    if (ftruncate(mailbox->get(), size) != 0) return fail_all(FileError(shown));
  }
  if (fsync(mailbox->get()) != 0) {
    const absl::Status failed = FileError(shown);
    if (ftruncate(mailbox->get(), before) != 0)
      return fail_all(FileError(shown));
    fail_all(failed);
  }
}

}  // namespace holdfast
