#include "storage/owner_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace holdfast {
namespace {

constexpr char kRunning[] = " running\n";
constexpr char kClean[] = " clean\n";

std::string ReadText(int fd) {
  char text[64];
  const ssize_t size = pread(fd, text, sizeof text, 0);
  return size > 0 ? std::string(text, static_cast<size_t>(size)) : "";
}

void WriteText(int fd, const std::string& text) {
  // Best effort: without it the next start checks more, that is all.
  if (ftruncate(fd, 0) != 0) return;
  if (pwrite(fd, text.data(), text.size(), 0) < 0) return;
}

absl::Status OpenError(const std::string& path) {
  const int error = errno;
  const std::string text = absl::StrCat(path, ": ", std::strerror(error));
  if (error == EACCES || error == EPERM || error == EROFS)
    return absl::PermissionDeniedError(text);
  if (error == ENOENT) return absl::NotFoundError(text);
  return absl::InternalError(text);
}

absl::Status Taken(const std::string& path, int fd) {
  // The text is the last owner's, who need not be the one that is in the way.
  if (flock(fd, LOCK_SH | LOCK_NB) == 0)
    return absl::UnavailableError(absl::StrCat(path, ": held by readers"));
  const std::string text = ReadText(fd);
  int64_t pid = 0;
  if (absl::SimpleAtoi(absl::StripSuffix(text, kRunning), &pid) && pid > 0) {
    return absl::UnavailableError(
        absl::StrCat(path, ": held by process ", pid));
  }
  return absl::UnavailableError(absl::StrCat(path, ": held"));
}

}  // namespace

absl::StatusOr<OwnerLock> OwnerLock::Take(const std::string& path,
                                          bool exclusive) {
  const int flags = exclusive ? O_RDWR | O_CREAT : O_RDONLY;
  const int fd = open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return OpenError(path);
  if (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
    const absl::Status status =
        errno == EWOULDBLOCK ? Taken(path, fd) : OpenError(path);
    close(fd);
    return status;
  }
  const std::string text = ReadText(fd);
  // An empty file: a store that is just being made.
  OwnerLock lock(fd, text.empty() || absl::EndsWith(text, kClean));
  if (exclusive) WriteText(fd, absl::StrCat(getpid(), kRunning));
  return lock;
}

void OwnerLock::MarkClean() { WriteText(fd_, absl::StrCat(getpid(), kClean)); }

OwnerLock::~OwnerLock() {
  if (fd_ >= 0) close(fd_);
}
OwnerLock::OwnerLock(OwnerLock&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), was_clean_(other.was_clean_) {}
OwnerLock& OwnerLock::operator=(OwnerLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  was_clean_ = other.was_clean_;
  return *this;
}

}  // namespace holdfast
