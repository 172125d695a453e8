#include "server/parent/offline_limits.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <utility>

#include "server/door/door.h"

namespace holdfast {
namespace {

struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};

// Null if it is not a folder of `owner`.
std::unique_ptr<DIR, CloseDir> OpenFolder(int dir, const std::string& name,
                                          uid_t owner) {
  OwnedFd fd(openat(dir, name.c_str(),
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st;
  if (!fd || fstat(fd.get(), &st) != 0 || st.st_uid != owner) return nullptr;
  std::unique_ptr<DIR, CloseDir> folder(fdopendir(fd.get()));
  if (folder != nullptr) (void)fd.Release();
  return folder;
}

}  // namespace

bool OfflineUsage::Add(std::optional<uid_t> owner, uint64_t bytes) {
  Seen& seen = seen_[owner];
  if (seen.files >= kMaxOfflineFiles || bytes > kMaxOfflineBytes - seen.bytes)
    return false;
  ++seen.files;
  seen.bytes += bytes;
  return true;
}

void RemoveOfflineFolder(int dir, const std::string& name, uid_t owner,
                         int* budget, int depth) {
  const auto folder = OpenFolder(dir, name, owner);
  if (folder == nullptr || depth >= kMaxOfflineDepth) return;
  const int fd = dirfd(folder.get());
  while (*budget > 0) {
    const dirent* entry = readdir(folder.get());
    if (entry == nullptr) break;
    const std::string inner = entry->d_name;
    if (inner == "." || inner == "..") continue;
    --*budget;
    struct stat st;
    if (fstatat(fd, inner.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        st.st_uid != owner)
      continue;
    if (S_ISDIR(st.st_mode))
      RemoveOfflineFolder(fd, inner, owner, budget, depth + 1);
    else
      unlinkat(fd, inner.c_str(), 0);
  }
  unlinkat(dir, name.c_str(), AT_REMOVEDIR);
}

}  // namespace holdfast
