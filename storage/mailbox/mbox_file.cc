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
// Of what is read while looking for a letter.
constexpr off_t kPieceBytes = 1 << 20;
// So much of a letter is looked for; then all of it is compared.
constexpr size_t kBeginBytes = 4096;

// kUnavailable, too, if the file ends early.
absl::Status ReadRange(int fd, off_t offset, off_t bytes,
                       const std::string& shown, std::string* out) {
  out->resize(static_cast<size_t>(bytes));
  for (size_t done = 0; done < out->size();) {
    const ssize_t n = pread(fd, &(*out)[done], out->size() - done,
                            offset + static_cast<off_t>(done));
    if (n == 0)
      return absl::UnavailableError(absl::StrCat(shown, ": file ends early"));
    if (n < 0 && errno != EINTR) return FileError(shown);
    if (n > 0) done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

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

// Whether `a` and `b` have the same `bytes`.
absl::StatusOr<bool> SameBytes(int a, off_t a_offset, int b, off_t b_offset,
                               off_t bytes, const std::string& shown) {
  std::string one, other;
  for (off_t done = 0; done < bytes; done += one.size()) {
    const off_t want = std::min<off_t>(kPieceBytes, bytes - done);
    absl::Status read = ReadRange(a, a_offset + done, want, "/tmp", &one);
    if (read.ok()) read = ReadRange(b, b_offset + done, want, shown, &other);
    if (!read.ok()) return read;
    if (one != other) return false;
  }
  return true;
}

// Whether the mailbox, `size` long, has the letter behind any "From " line.
absl::StatusOr<bool> IsThere(int mailbox, off_t size, const std::string& shown,
                             int spool, const MboxLetter& letter) {
  std::string begin;
  absl::Status read =
      ReadRange(spool, letter.offset,
                std::min<off_t>(kPieceBytes, letter.bytes), "/tmp", &begin);
  if (!read.ok()) return read;
  const size_t line = begin.find('\n');
  if (line == std::string::npos) return false;
  const off_t offset = letter.offset + static_cast<off_t>(line);
  const off_t bytes = letter.bytes - static_cast<off_t>(line);
  begin.erase(0, line);  // with the end of the line before
  begin.resize(std::min(begin.size(), kBeginBytes));

  std::string piece;
  const off_t step = kPieceBytes;
  const off_t overlap = static_cast<off_t>(begin.size()) - 1;
  for (off_t at = 0; at + bytes <= size; at += step) {
    read = ReadRange(mailbox, at, std::min(step + overlap, size - at), shown,
                     &piece);
    if (!read.ok()) return read;
    for (size_t hit = piece.find(begin); hit != std::string::npos;
         hit = piece.find(begin, hit + 1)) {
      const off_t there = at + static_cast<off_t>(hit);
      if (there + bytes > size) break;
      absl::StatusOr<bool> same =
          SameBytes(spool, offset, mailbox, there, bytes, shown);
      if (!same.ok() || *same) return same;
    }
  }
  return false;
}

// With the locks.
void AppendLocked(int mailbox, const std::string& shown, int spool,
                  const std::vector<MboxLetter*>& letters) {
  auto fail_all = [&letters](const absl::Status& status) {
    for (MboxLetter* letter : letters) letter->status = status;
  };
  struct stat st;
  if (fstat(mailbox, &st) != 0) return fail_all(FileError(shown));
  const off_t before = st.st_size;
  absl::StatusOr<std::string> end = MissingEnd(mailbox, before, shown);
  if (!end.ok()) return fail_all(end.status());
  off_t size = before;
  std::vector<MboxLetter*> whole;
  absl::Status broken;
  for (MboxLetter* letter : letters) {
    letter->status = broken;
    if (!broken.ok()) continue;
    if (letter->look_first) {
      absl::StatusOr<bool> there =
          IsThere(mailbox, before, shown, spool, *letter);
      letter->status = there.status();
      if (there.ok() && *there) whole.push_back(letter);
      if (!there.ok() || *there) continue;
    }
    letter->status = WriteAll(mailbox, *end, shown);
    if (letter->status.ok()) {
      letter->status =
          CopyRange(spool, letter->offset, letter->bytes, mailbox, shown);
    }
    if (letter->status.ok()) {
      size += static_cast<off_t>(end->size()) + letter->bytes;
      end->clear();
      whole.push_back(letter);
    } else if (!CutBack(mailbox, size, shown, &letter->status)) {
      broken = letter->status;
    }
  }
  if (whole.empty() || fsync(mailbox) == 0) return;
  absl::Status failed = FileError(shown);
  const bool cut = CutBack(mailbox, before, shown, &failed);
  for (MboxLetter* letter : whole) {
    letter->status = failed;
    letter->in_doubt = !cut || letter->look_first;
  }
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

  AppendLocked(mailbox->get(), shown, spool, letters);
}

}  // namespace holdfast
