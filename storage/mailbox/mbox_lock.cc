#include "storage/mailbox/mbox_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "storage/mailbox/file_error.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(250);

// Time that only moves forward.
absl::Duration Elapsed() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

// Whether the process that a lock file names is alive on this machine; "yes"
// if it can't be told that it isn't.
bool OwnerMayLive(int fd) {
  char text[32];
  const ssize_t n = pread(fd, text, sizeof text, 0);
  int pid = 0;
  if (n <= 0 ||
      !absl::SimpleAtoi(absl::StripAsciiWhitespace(
                            absl::string_view(text, static_cast<size_t>(n))),
                        &pid) ||
      pid <= 0)
    return false;  // it names nobody: its age alone decides
  return kill(pid, 0) == 0 || errno != ESRCH;
}

// Removes the lock if it is stale.  Somebody else may do the same, and put a
// new one there, at any moment: it is moved aside first and looked at again.
void BreakIfStale(int dir, const std::string& name) {
  OwnedFd fd(openat(dir, name.c_str(),
                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat st;
  if (!fd || fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return;
  const absl::Duration age = absl::Now() - absl::TimeFromTimespec(st.st_mtim);
  if (age < kStaleLockAge || OwnerMayLive(fd.get())) return;
  const std::string aside = absl::StrCat(name, ".", getpid());
  if (renameat(dir, name.c_str(), dir, aside.c_str()) != 0) return;
  struct stat moved;
  if (fstatat(dir, aside.c_str(), &moved, AT_SYMLINK_NOFOLLOW) == 0 &&
      (moved.st_ino != st.st_ino || moved.st_dev != st.st_dev)) {
    // Not the one that was stale: back with it, unless the next one was
    // faster; fcntl keeps those two apart.
    if (linkat(dir, aside.c_str(), dir, name.c_str(), 0) != 0 &&
        errno != EEXIST)
      return;
  }
  unlinkat(dir, aside.c_str(), 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<DotLock>> DotLock::Take(int dir,
                                                       const std::string& name,
                                                       const std::string& shown,
                                                       absl::Duration wait) {
  const absl::Duration until = Elapsed() + wait;
  for (;;) {
    OwnedFd fd(openat(dir, name.c_str(),
                      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                      0600));
    if (fd) {
      struct stat st;
      const std::string pid = absl::StrCat(getpid(), "\n");
      if (fstat(fd.get(), &st) != 0 ||
          write(fd.get(), pid.data(), pid.size()) !=
              static_cast<ssize_t>(pid.size())) {
        absl::Status failed = FileError(absl::StrCat(shown, "/", name));
        unlinkat(dir, name.c_str(), 0);
        return failed;
      }
      return std::unique_ptr<DotLock>(
          new DotLock(dir, name, st.st_dev, st.st_ino));
    }
    if (errno != EEXIST) return FileError(absl::StrCat(shown, "/", name));
    BreakIfStale(dir, name);
    if (Elapsed() >= until) {
      return absl::UnavailableError(
          absl::StrCat(shown, "/", name, ": mailbox is locked"));
    }
    absl::SleepFor(kPoll);
  }
}

DotLock::~DotLock() {
  struct stat st;
  if (fstatat(dir_, name_.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
      st.st_dev == device_ && st.st_ino == inode_) {
    unlinkat(dir_, name_.c_str(), 0);
  }
}

absl::Status LockWholeFile(int fd, const std::string& shown,
                           absl::Duration wait) {
  const absl::Duration until = Elapsed() + wait;
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  while (fcntl(fd, F_SETLK, &lock) != 0) {
    if (errno != EACCES && errno != EAGAIN && errno != EINTR)
      return FileError(shown);
    if (Elapsed() >= until) {
      return absl::UnavailableError(absl::StrCat(shown, ": mailbox is locked"));
    }
    absl::SleepFor(kPoll);
  }
  return absl::OkStatus();
}

}  // namespace holdfast
