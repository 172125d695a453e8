// What a room gives up for good before it looks at anything from outside
// (promise P7): files by Landlock, system calls by seccomp.
#ifndef HOLDFAST_SERVER_SANDBOX_SANDBOX_H_
#define HOLDFAST_SERVER_SANDBOX_SANDBOX_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/door/room.h"

namespace holdfast {

// What a room may still do.  Descriptors it already has are not concerned.
struct SandboxRules {
  // Folders below which files may be read, written, made and removed; a folder
  // that isn't there is left out.
  std::vector<std::string> writable;
  // Folders below which files may be read.
  std::vector<std::string> readable;
  // Whether it may make Internet sockets.
  bool internet = false;
  // Whether it may make Unix sockets: who is not in a chroot finds the
  // system's log again by one.
  bool local = false;
};

// The rules of a room; `folder` is the one below which it writes: the store of
// `queue`, the folder of `filters`; the others have none.
SandboxRules RulesOf(Room room, const std::string& folder);

// Applies to this thread and to all it starts from now on; cannot be undone.
// no_new_privs must be set.  Beyond the rules nobody may start a program or a
// process, look into another process, send it a signal, or change owner, mode
// or length of a file by its path.  Gives the names of what the kernel lacks
// ("Landlock", "seccomp"): less protection, not a reason to stop.
absl::StatusOr<std::vector<std::string>> EnterSandbox(
    const SandboxRules& rules);

// The two halves of it.  False: the kernel has no such thing.
absl::StatusOr<bool> RestrictFiles(const SandboxRules& rules);
absl::StatusOr<bool> RestrictCalls(const SandboxRules& rules);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_SANDBOX_SANDBOX_H_
