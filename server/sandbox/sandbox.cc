#include "server/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr uint64_t kRead =
    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr uint64_t kWrite =
    kRead | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |
    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
    LANDLOCK_ACCESS_FS_MAKE_DIR;
// Every right of the first version of Landlock; what no rule grants is gone.
constexpr uint64_t kHandled =
    kWrite | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
    LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;

// Nothing any room does after its start needs these.
constexpr int kForbidden[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(name_to_handle_at),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(personality),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
};

absl::Status SystemError(absl::string_view what, int error) {
  return absl::InternalError(absl::StrCat(what, ": ", strerror(error)));
}

absl::Status Allow(int ruleset, const std::string& folder, uint64_t access) {
  const int fd = open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return absl::OkStatus();
    return SystemError(folder, errno);
  }
  landlock_path_beneath_attr rule = {};
  rule.allowed_access = access;
  rule.parent_fd = fd;
  const long done = syscall(SYS_landlock_add_rule, ruleset,
                            LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  const int error = errno;
  close(fd);
  return done == 0 ? absl::OkStatus() : SystemError(folder, error);
}

// False: the kernel has no Landlock.
absl::StatusOr<bool> RestrictFiles(const SandboxRules& rules) {
  landlock_ruleset_attr attr = {};
  attr.handled_access_fs = kHandled;
  const int ruleset = static_cast<int>(
      syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0));
  if (ruleset < 0) {
    if (errno == ENOSYS || errno == EOPNOTSUPP) return false;
    return SystemError("landlock_create_ruleset", errno);
  }
  absl::Status status;
  for (const std::string& folder : rules.writable)
    status.Update(Allow(ruleset, folder, kWrite));
  for (const std::string& folder : rules.readable)
    status.Update(Allow(ruleset, folder, kRead));
  if (status.ok() && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
    status = SystemError("landlock_restrict_self", errno);
  close(ruleset);
  if (!status.ok()) return status;
  return true;
}

// False: the kernel has no seccomp.
absl::StatusOr<bool> RestrictCalls(const SandboxRules& rules) {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (filter == nullptr) return absl::InternalError("seccomp_init");
  const uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
  int error = 0;
  auto add = [&](int result) {
    if (result < 0 && error == 0) error = -result;
  };
  for (int call : kForbidden) add(seccomp_rule_add(filter, refuse, call, 0));
  if (!rules.internet) {
    for (scmp_datum_t family : {AF_INET, AF_INET6})
      add(seccomp_rule_add(filter, refuse, SCMP_SYS(socket), 1,
                           SCMP_A0(SCMP_CMP_EQ, family)));
  }
  for (scmp_datum_t family : {AF_NETLINK, AF_PACKET}) {
    // Netlink is how some C libraries ask for interfaces; no room needs to.
    add(seccomp_rule_add(filter, refuse, SCMP_SYS(socket), 1,
                         SCMP_A0(SCMP_CMP_EQ, family)));
  }
  const int loaded = error == 0 ? seccomp_load(filter) : 0;
  seccomp_release(filter);
  if (error != 0) return SystemError("seccomp_rule_add", error);
  if (loaded == -EINVAL || loaded == -ENOSYS) return false;
  if (loaded < 0) return SystemError("seccomp_load", -loaded);
  return true;
}

}  // namespace

SandboxRules RulesOf(Room room, const std::string& store) {
  SandboxRules rules;
  switch (room) {
    case Room::kQueue:
      rules.writable = {store};
      break;
    case Room::kLookup:
      // Files that aliases include may lie anywhere; the user `_smtpq` must be
      // able to read them all the same.
      rules.readable = {"/"};
      break;
    case Room::kReceive:
    case Room::kRelay:
      rules.internet = true;
      break;
    default:
      break;
  }
  return rules;
}

absl::StatusOr<std::vector<std::string>> EnterSandbox(
    const SandboxRules& rules) {
  std::vector<std::string> missing;
  const absl::StatusOr<bool> files = RestrictFiles(rules);
  if (!files.ok()) return files.status();
  if (!*files) missing.push_back("Landlock");
  const absl::StatusOr<bool> calls = RestrictCalls(rules);
  if (!calls.ok()) return calls.status();
  if (!*calls) missing.push_back("seccomp");
  return missing;
}

}  // namespace holdfast
