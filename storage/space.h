// Room for the queue: the data file, extended ahead of LMDB so that what must
// be written always can be, and the file system it lies on.
#ifndef HOLDFAST_STORAGE_SPACE_H_
#define HOLDFAST_STORAGE_SPACE_H_

#include <cstdint>

#include "storage/lmdb_env.h"

namespace holdfast {

class SpaceKeeper {
 public:
  // `fd`: of the data file, which outlives this.
  SpaceKeeper(int fd, uint64_t reserve_bytes, double min_free);

  // Between transactions: extends the file if less than the reserve lies
  // behind the last page that was ever used.
  void Extend(const LmdbSpace& space);
  // Asks the file system; call at most every kFileSystemPeriod.
  void LookAtFileSystem();

  // Pages of the file that can be written without any more room: the map's
  // where the file system can't promise that.
  uint64_t UsablePages(const LmdbSpace& space) const;
  // More than `queue min-free` is free (and, without fallocate, the reserve).
  bool file_system_has_room() const { return file_system_has_room_; }
  // False: the file system can't do fallocate(2).
  bool can_reserve() const { return can_reserve_; }

 private:
  const int fd_;
  const uint64_t reserve_bytes_;
  const double min_free_;
  bool can_reserve_ = true;
  bool file_system_has_room_ = true;
  uint64_t file_bytes_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_SPACE_H_
