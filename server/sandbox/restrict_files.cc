// Landlock: which files a process may reach by their paths, and since later
// versions other things.
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "server/sandbox/sandbox.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

// What the system's header may be too old for.
constexpr uint64_t kFsRefer = 1 << 13;
constexpr uint64_t kFsTruncate = 1 << 14;
constexpr uint64_t kFsIoctlDevice = 1 << 15;
constexpr uint64_t kNetBindTcp = 1 << 0;
constexpr uint64_t kNetConnectTcp = 1 << 1;
constexpr uint64_t kScopeAbstractUnixSocket = 1 << 0;
constexpr uint64_t kScopeSignal = 1 << 1;

struct RulesetAttributes {
  uint64_t handled_fs = 0;
  uint64_t handled_net = 0;  // since version 4
  uint64_t scoped = 0;       // since version 6
};

constexpr uint64_t kRead =
    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr uint64_t kWrite =
    kRead | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |
    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
    LANDLOCK_ACCESS_FS_MAKE_DIR | kFsTruncate;
// Every right of the first version; what no rule grants is gone.
constexpr uint64_t kFirstVersion =
    (kWrite & ~kFsTruncate) | LANDLOCK_ACCESS_FS_EXECUTE |
    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_SOCK |
    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
    LANDLOCK_ACCESS_FS_MAKE_SYM;

absl::Status SystemError(absl::string_view what) {
  return absl::InternalError(absl::StrCat(what, ": ", strerror(errno)));
}

// As much as this version of Landlock can hold.
RulesetAttributes AttributesFor(const SandboxRules& rules, long version) {
  RulesetAttributes out;
  out.handled_fs = kFirstVersion;
  if (version >= 2) out.handled_fs |= kFsRefer;
  if (version >= 3) out.handled_fs |= kFsTruncate;
  if (version >= 4 && !rules.internet)
    out.handled_net = kNetBindTcp | kNetConnectTcp;
  if (version >= 5) out.handled_fs |= kFsIoctlDevice;
  if (version >= 6) out.scoped = kScopeAbstractUnixSocket | kScopeSignal;
  return out;
}

size_t SizeIn(long version) {
  if (version >= 6) return sizeof(RulesetAttributes);
  return (version >= 4 ? 2 : 1) * sizeof(uint64_t);
}

absl::Status Allow(int ruleset, const std::string& folder, uint64_t access) {
  const OwnedFd fd(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return absl::OkStatus();
    return SystemError(folder);
  }
  landlock_path_beneath_attr rule = {};
  rule.allowed_access = access;
  rule.parent_fd = fd.get();
  if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule,
              0) != 0)
    return SystemError(folder);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> RestrictFiles(const SandboxRules& rules) {
  const long version = syscall(SYS_landlock_create_ruleset, nullptr, 0,
                               LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 0) {
    if (errno == ENOSYS || errno == EOPNOTSUPP) return false;
    return SystemError("landlock_create_ruleset");
  }
  const RulesetAttributes attributes = AttributesFor(rules, version);
  const OwnedFd ruleset(static_cast<int>(
      syscall(SYS_landlock_create_ruleset, &attributes, SizeIn(version), 0)));
  if (!ruleset) return SystemError("landlock_create_ruleset");
  absl::Status status;
  for (const std::string& folder : rules.writable)
    status.Update(Allow(ruleset.get(), folder, kWrite & attributes.handled_fs));
  for (const std::string& folder : rules.readable)
    status.Update(Allow(ruleset.get(), folder, kRead));
  if (!status.ok()) return status;
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0)
    return SystemError("landlock_restrict_self");
  return true;
}

}  // namespace holdfast
