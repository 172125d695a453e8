#include "ctl/submission/offline_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ctl/control/whole_io.h"
#include "protocol/offline_file.h"

namespace holdfast {
namespace {

constexpr int kNameTries = 20;

absl::Status SystemError(const std::string& what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(errno)));
}

std::string RandomSuffix() {
  static constexpr absl::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  unsigned char random[10] = {};
  if (getrandom(random, sizeof random, 0) != sizeof random) return "";
  std::string suffix;
  for (const unsigned char c : random) suffix += kLetters[c % kLetters.size()];
  return suffix;
}

bool WriteMessage(int fd, const std::string& line,
                  const Submission& submission) {
  return WriteAll(fd, absl::StrCat(line, "\n")) &&
         ForEachPiece(submission, [&](absl::string_view piece) {
           return WriteAll(fd, piece);
         });
}

// The folder can be written but not read (1733), so its entry cannot be synced
// by itself: syncing the file system does it.
bool SyncAll(int fd) { return fsync(fd) == 0 && syncfs(fd) == 0; }

absl::Status Link(int fd, const std::string& folder, absl::Time now) {
  const std::string self = absl::StrCat("/proc/self/fd/", fd);
  for (int i = 0; i < kNameTries; ++i) {
    const std::string suffix = RandomSuffix();
    if (suffix.empty()) return SystemError("getrandom");
    const std::string path =
        absl::StrCat(folder, "/", absl::ToUnixSeconds(now), ".", suffix);
    if (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path.c_str(),
               AT_SYMLINK_FOLLOW) == 0) {
      if (SyncAll(fd)) return absl::OkStatus();
      const absl::Status status = SystemError(path);
      unlink(path.c_str());
      return status;
    }
    if (errno != EEXIST) return SystemError(path);
  }
  return absl::UnavailableError(absl::StrCat(folder, ": no free name"));
}

// For file systems without O_TMPFILE.  The file is seen while it is written;
// the daemon leaves it alone until it is closed.
absl::Status StoreNamed(const std::string& folder, const std::string& line,
                        const Submission& submission, absl::Time now) {
  std::string path =
      absl::StrCat(folder, "/", absl::ToUnixSeconds(now), ".XXXXXXXXXX");
  const int fd = mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) return SystemError(path);
  absl::Status status;
  if (!WriteMessage(fd, line, submission) || !SyncAll(fd)) {
    status = SystemError(path);
    unlink(path.c_str());
  }
  close(fd);
  return status;
}

}  // namespace

absl::StatusOr<std::string> OfflineLine(
    const std::vector<std::string>& arguments,
    const std::vector<std::string>& blind) {
  std::vector<std::string> words = arguments;
  for (const std::string& address : blind)
    words.push_back(absl::StrCat("<", address, ">"));
  for (const std::string& word : words)
    if (word.find_first_of(std::string("|\r\n\0", 4)) != std::string::npos)
      return absl::InvalidArgumentError(
          absl::StrCat(word, " contains illegal character"));
  return absl::StrCat(kOfflineFileMark, words.empty() ? "" : "|",
                      absl::StrJoin(words, "|"));
}

absl::Status StoreOffline(const std::string& folder, const std::string& line,
                          const Submission& submission, absl::Time now) {
  const int fd =
      open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
    return StoreNamed(folder, line, submission, now);
  if (fd < 0) return SystemError(folder);
  const absl::Status status = WriteMessage(fd, line, submission)
                                  ? Link(fd, folder, now)
                                  : SystemError(folder);
  close(fd);
  return status;
}

}  // namespace holdfast
