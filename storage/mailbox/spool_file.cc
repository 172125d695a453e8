#include "storage/mailbox/spool_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/mailbox/file_error.h"

namespace holdfast {
namespace {

constexpr size_t kCopyBytes = 64 << 10;

absl::StatusOr<OwnedFd> OpenSpoolFile() {
  OwnedFd fd(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd) return fd;
  char name[] = "/tmp/smtpd.XXXXXXXXXX";
  fd.Reset(mkostemp(name, O_CLOEXEC));
  if (!fd) return FileError("/tmp");
  unlink(name);
  return fd;
}

}  // namespace

absl::Status SpoolFile::Append(absl::string_view bytes) {
  if (!fd_) {
    absl::StatusOr<OwnedFd> fd = OpenSpoolFile();
    if (!fd.ok()) return fd.status();
    fd_ = *std::move(fd);
  }
  const absl::Status written = WriteAll(fd_.get(), bytes, "/tmp");
  if (written.ok()) {
    size_ += static_cast<off_t>(bytes.size());
    return written;
  }
  if (ftruncate(fd_.get(), size_) != 0 || lseek(fd_.get(), size_, SEEK_SET) < 0)
    return FileError("/tmp");
  return written;
}

absl::Status WriteAll(int fd, absl::string_view bytes,
                      const std::string& shown) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) return FileError(shown);
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

bool CutBack(int fd, off_t size, const std::string& shown,
             absl::Status* failed) {
  if (ftruncate(fd, size) == 0) return true;
  *failed = absl::UnavailableError(absl::StrCat(
      failed->message(),
      "; what was written can't be cut off: ", FileError(shown).message()));
  return false;
}

std::string CTime() {
  const time_t now = time(nullptr);
  struct tm local;
  localtime_r(&now, &local);
  char text[64];
  const size_t n = strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", &local);
  return std::string(text, n);
}

absl::Status CopyRange(int from, off_t offset, off_t bytes, int to,
                       const std::string& shown) {
  std::string buffer(kCopyBytes, '\0');
  off_t done = 0;
  while (done < bytes) {
    const size_t want = std::min(kCopyBytes, static_cast<size_t>(bytes - done));
    const ssize_t n = pread(from, &buffer[0], want, offset + done);
    if (n == 0) return absl::UnavailableError("/tmp: file ends early");
    if (n < 0 && errno != EINTR) return FileError("/tmp");
    if (n <= 0) continue;
    absl::Status s = WriteAll(
        to, absl::string_view(buffer).substr(0, static_cast<size_t>(n)), shown);
    if (!s.ok()) return s;
    done += n;
  }
  return absl::OkStatus();
}

}  // namespace holdfast
