#include "storage/space.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>

namespace holdfast {
namespace {

// Extending costs little, but not nothing: by an eighth of the file, within
// these limits.
constexpr uint64_t kMinStep = 4 << 20;
constexpr uint64_t kMaxStep = 64 << 20;

}  // namespace

SpaceKeeper::SpaceKeeper(int fd, uint64_t reserve_bytes, double min_free)
    : fd_(fd), reserve_bytes_(reserve_bytes), min_free_(min_free) {
  struct stat file;
  if (fstat(fd_, &file) == 0) file_bytes_ = static_cast<uint64_t>(file.st_size);
  LookAtFileSystem();
}

void SpaceKeeper::Extend(const LmdbSpace& space) {
  const uint64_t map_bytes = space.map_pages * space.page_bytes;
  const uint64_t used_end = (space.last_page + 1) * space.page_bytes;
  // The reserve, and what one group may take (half as much): a group must not
  // be told "no room" because the file had not been made longer yet.
  const uint64_t wanted =
      std::min(map_bytes, used_end + reserve_bytes_ + reserve_bytes_ / 2);
  if (!can_reserve_ || file_bytes_ >= wanted) return;
  const uint64_t step = std::clamp(file_bytes_ / 8, kMinStep, kMaxStep);
  // Not posix_fallocate(3), whose emulation writes into pages in use.
  for (const uint64_t end : {std::min(map_bytes, wanted + step), wanted}) {
    if (fallocate(fd_, 0, static_cast<off_t>(file_bytes_),
                  static_cast<off_t>(end - file_bytes_)) == 0) {
      file_bytes_ = end;
      return;
    }
    if (errno == EOPNOTSUPP || errno == ENOSYS) {
      can_reserve_ = false;
      LookAtFileSystem();
      return;
    }
  }
}

void SpaceKeeper::LookAtFileSystem() {
  struct statvfs fs;
  if (fstatvfs(fd_, &fs) != 0 || fs.f_blocks == 0) return;
  const double free = static_cast<double>(fs.f_bavail) / fs.f_blocks;
  const uint64_t free_bytes = uint64_t{fs.f_bavail} * fs.f_frsize;
  file_system_has_room_ =
      free >= min_free_ && (can_reserve_ || free_bytes >= 2 * reserve_bytes_);
}

uint64_t SpaceKeeper::UsablePages(const LmdbSpace& space) const {
  if (!can_reserve_) return space.map_pages;
  return std::min(space.map_pages, std::max(file_bytes_ / space.page_bytes,
                                            space.last_page + 1));
}

}  // namespace holdfast
