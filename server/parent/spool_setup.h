// The folders of the spool: made if missing, checked exactly if not (reference
// part 1, section 8).
#ifndef HOLDFAST_SERVER_PARENT_SPOOL_SETUP_H_
#define HOLDFAST_SERVER_PARENT_SPOOL_SETUP_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "config/config.h"

namespace holdfast {

struct FolderRule {
  std::string path;
  mode_t mode = 0;  // of stat(2), sticky bit included
  uid_t owner = 0;
  std::optional<gid_t> group;  // unset: any
};

// Makes or checks.  The messages of what is wrong, in the reference's words;
// none: all is well.
std::vector<std::string> EnsureFolder(const FolderRule& rule);

struct SpoolOwners {
  uid_t root = 0;
  uid_t queue = 0;  // _smtpq
  gid_t queue_group = 0;
};

// All folders of the spool, and the empty one that rooms are shut into.
// `problems` gets the messages; the error ends the start ("error in spool
// directory setup").
absl::Status SetUpSpool(const SpoolPaths& paths, const SpoolOwners& owners,
                        std::vector<std::string>* problems);

// An empty folder below the spool.
std::string EmptyFolder(const SpoolPaths& paths);

// "rwx--x--x" as the reference prints modes.
std::string ModeText(mode_t mode);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_SPOOL_SETUP_H_
