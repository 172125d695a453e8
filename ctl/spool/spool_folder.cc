#include "ctl/spool/spool_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr size_t kWindow = 64 << 10;

absl::Status Failed(const std::string& path) {
  const std::string text = absl::StrCat(path, ": ", strerror(errno));
  return errno == ENOENT ? absl::NotFoundError(text)
                         : absl::DataLossError(text);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(path.c_str()),
                                                   closedir);
  if (folder == nullptr) return Failed(path);
  std::vector<std::string> names;
  for (errno = 0; const dirent* entry = readdir(folder.get());) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  if (errno != 0) return Failed(path);
  std::sort(names.begin(), names.end());
  return names;
}

bool IsFolder(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

absl::StatusOr<SpoolFile> OpenSpoolFile(const std::string& path) {
  SpoolFile file;
  // A pipe must not stop us.
  file.fd = OwnedFd(
      open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat info;
  if (!file.fd || fstat(file.fd.get(), &info) != 0) return Failed(path);
  if (!S_ISREG(info.st_mode))
    return absl::DataLossError(absl::StrCat(path, ": not a regular file"));
  file.size = static_cast<uint64_t>(info.st_size);
  file.executable = (info.st_mode & S_IXUSR) != 0;
  file.changed = absl::TimeFromTimespec(info.st_mtim);
  return file;
}

absl::string_view FileBytes::From(uint64_t at) {
  if (at < window_at_ || at >= window_at_ + window_.size()) {
    if (at >= file_.size) return {};
    window_.resize(kWindow);
    ssize_t n;
    do {
      n = pread(file_.fd.get(), window_.data(), kWindow,
                static_cast<off_t>(at));
    } while (n < 0 && errno == EINTR);
    window_.resize(n > 0 ? static_cast<size_t>(n) : 0);
    window_at_ = at;
  }
  return absl::string_view(window_).substr(at - window_at_);
}

}  // namespace holdfast
