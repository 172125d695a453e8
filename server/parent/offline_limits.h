// What a user may leave in the offline folder, into which anybody may write:
// so much is kept of each, the rest is removed, so that nobody can fill the
// disk below the queue.
#ifndef HOLDFAST_SERVER_PARENT_OFFLINE_LIMITS_H_
#define HOLDFAST_SERVER_PARENT_OFFLINE_LIMITS_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace holdfast {

inline constexpr uint32_t kMaxOfflineFiles = 100;
inline constexpr uint64_t kMaxOfflineBytes = 100 << 20;
// In one scan, of folders that somebody has made there.
inline constexpr int kMaxOfflineRemovals = 1000;
inline constexpr int kMaxOfflineDepth = 16;

// What was seen in one scan.
class OfflineUsage {
 public:
  // Another file of `owner` (none: files that were not made in the folder, and
  // whose owner had perhaps no say).  False: it is too much; it is not counted.
  bool Add(std::optional<uid_t> owner, uint64_t bytes);
  void Clear() { seen_.clear(); }

 private:
  struct Seen {
    uint32_t files = 0;
    uint64_t bytes = 0;
  };
  std::map<std::optional<uid_t>, Seen> seen_;
};

// Removes the folder `name` in the folder `dir` as far as it holds what `owner`
// owns, never going through a link or into what is somebody else's.  Each
// removal, and each try, takes one from `budget`; at 0 it stops.
void RemoveOfflineFolder(int dir, const std::string& name, uid_t owner,
                         int* budget, int depth = 0);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_OFFLINE_LIMITS_H_
