#include "storage/mailbox/maildir_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/mailbox/file_error.h"

namespace holdfast {
namespace {

constexpr mode_t kMode = 0700;
constexpr size_t kMaxPathBytes = 1023;

absl::Status MakeFolder(int dir, const char* name, const std::string& shown) {
  if (mkdirat(dir, name, kMode) == 0) {
    if (fsync(dir) != 0) return FileError(shown);
    return absl::OkStatus();
  }
  return errno == EEXIST ? absl::OkStatus() : FileError(shown);
}

absl::StatusOr<OwnedFd> OpenFolderAt(int dir, const char* name,
                                     const std::string& shown) {
  OwnedFd fd(openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return FileError(shown);
  return fd;
}

// Goes down `path` and makes each folder that is missing.
absl::StatusOr<OwnedFd> OpenAndMake(const std::string& path) {
  OwnedFd whole(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (whole) return whole;
  if (errno != ENOENT) return FileError(path);
  absl::StatusOr<OwnedFd> at = OpenFolderAt(AT_FDCWD, "/", "/");
  size_t start = 1;
  while (at.ok() && start < path.size()) {
    size_t end = path.find('/', start);
    if (end == std::string::npos) end = path.size();
    const std::string name = path.substr(start, end - start);
    start = end + 1;
    if (name.empty()) continue;
    const std::string shown = path.substr(0, end);
    absl::StatusOr<OwnedFd> next = OpenFolderAt(at->get(), name.c_str(), shown);
    if (!next.ok() && errno == ENOENT) {
      absl::Status made = MakeFolder(at->get(), name.c_str(), shown);
      if (!made.ok()) return made;
      next = OpenFolderAt(at->get(), name.c_str(), shown);
    }
    at = std::move(next);
  }
  return at;
}

struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};

bool IsNameWithFlags(absl::string_view entry, absl::string_view name) {
  return absl::StartsWith(entry, name) &&
         (entry.size() == name.size() || entry[name.size()] == ':');
}

// Looks through one of new/ and cur/.  Entries that vanish meanwhile (a mail
// reader moves them) are passed over.
absl::StatusOr<bool> FindIn(const OwnedFd& folder, const std::string& shown,
                            absl::string_view name, uint64_t bytes) {
  const int fd = openat(folder.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FileError(shown);
  std::unique_ptr<DIR, CloseDir> dir(fdopendir(fd));
  if (dir == nullptr) {
    close(fd);
    return FileError(shown);
  }
  // What an entry did to errno must not pass for an error of readdir(3).
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir.get());
    if (entry == nullptr) break;
    if (!IsNameWithFlags(entry->d_name, name)) continue;
    OwnedFd file(openat(folder.get(), entry->d_name,
                        O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat st;
    if (!file || fstat(file.get(), &st) != 0) continue;
    if (!S_ISREG(st.st_mode) || static_cast<uint64_t>(st.st_size) != bytes)
      continue;
    if (fsync(file.get()) != 0 || fsync(folder.get()) != 0)
      return FileError(absl::StrCat(shown, "/", entry->d_name));
    return true;
  }
  if (errno != 0) return FileError(shown);
  return false;
}

}  // namespace

absl::StatusOr<MaildirFolder> OpenMaildir(const std::string& path) {
  if (path.empty() || path[0] != '/' || path.size() > kMaxPathBytes ||
      path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a path of a Maildir: ", path));
  }
  absl::StatusOr<OwnedFd> dir = OpenAndMake(path);
  if (!dir.ok()) return dir.status();
  MaildirFolder folder;
  folder.path = path;
  folder.dir = *std::move(dir);
  const std::pair<const char*, OwnedFd*> parts[] = {
      {"cur", &folder.cur}, {"tmp", &folder.tmp}, {"new", &folder.fresh}};
  for (const auto& [name, fd] : parts) {
    const std::string shown = absl::StrCat(path, "/", name);
    absl::StatusOr<OwnedFd> part = OpenFolderAt(folder.dir.get(), name, shown);
    if (!part.ok() && errno == ENOENT) {
      absl::Status made = MakeFolder(folder.dir.get(), name, shown);
      if (!made.ok()) return made;
      part = OpenFolderAt(folder.dir.get(), name, shown);
    }
    if (!part.ok()) return part.status();
    *fd = *std::move(part);
  }
  return folder;
}

std::string SubfolderName(absl::string_view extension) {
  std::string name(extension);
  for (char& c : name) {
    if (strchr("!#$%&'*/?^`{|}~", c) != nullptr || c == '\0') c = ':';
  }
  // ".." would be the folder above.
  if (name.empty() || name == "." || name.size() > NAME_MAX - 1) return "";
  return name;
}

absl::StatusOr<bool> FindAndSync(const MaildirFolder& folder,
                                 absl::string_view name, uint64_t bytes) {
  absl::StatusOr<bool> found =
      FindIn(folder.fresh, absl::StrCat(folder.path, "/new"), name, bytes);
  if (!found.ok() || *found) return found;
  // A reader moves files from new/ to cur/, never back: looked at in this
  // order, a file that moves is not missed.
  return FindIn(folder.cur, absl::StrCat(folder.path, "/cur"), name, bytes);
}

}  // namespace holdfast
