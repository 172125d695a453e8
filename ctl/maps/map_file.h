// Berkeley DB files as makemap makes them; the only users of libdb outside
// tests (the daemon reads with config/db_file.h).
#ifndef HOLDFAST_CTL_MAPS_MAP_FILE_H_
#define HOLDFAST_CTL_MAPS_MAP_FILE_H_

#include <sys/types.h>

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "ctl/maps/map_source.h"

namespace holdfast {

struct MapFileOptions {
  bool btree = false;  // else a hash
  mode_t mode = 0644;
  uid_t owner = static_cast<uid_t>(-1);  // -1: whoever writes it
  gid_t group = static_cast<gid_t>(-1);
};

// Puts the entries, each key and value with a NUL behind it, into a new file
// that takes the place of `path` when it is whole and synced; else `path` is
// what it was.
absl::Status WriteMapFile(const std::string& path, const MapEntries& entries,
                          const MapFileOptions& options);

// Says every entry of the file, of either kind, without NULs, in the file's
// order.  `say` returns false to stop.
absl::Status ReadMapFile(
    const std::string& path,
    const std::function<bool(absl::string_view key, absl::string_view value)>&
        say);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_MAPS_MAP_FILE_H_
