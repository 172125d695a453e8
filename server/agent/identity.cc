#include "server/agent/identity.h"

#include <errno.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr size_t kMaxRecordBytes = 1 << 20;

// getpwnam_r(3): a system without the user may answer with any of these.
bool MeansNotFound(int error) {
  return error == 0 || error == ENOENT || error == ESRCH || error == EBADF ||
         error == EPERM;
}

absl::StatusOr<Identity> Ask(
    const std::function<int(passwd*, char*, size_t, passwd**)>& ask) {
  std::vector<char> buffer(4096);
  passwd record;
  passwd* found = nullptr;
  int error = 0;
  while ((error = ask(&record, buffer.data(), buffer.size(), &found)) ==
             ERANGE &&
         buffer.size() < kMaxRecordBytes) {
    buffer.resize(buffer.size() * 2);
  }
  if (found != nullptr)
    return Identity{found->pw_name, found->pw_uid, found->pw_gid,
                    found->pw_dir};
  if (MeansNotFound(error)) return absl::NotFoundError("no such user");
  return absl::UnavailableError(
      absl::StrCat("user database: ", strerror(error)));
}

absl::Status Failed(const char* call) {
  return absl::UnavailableError(absl::StrCat(call, ": ", strerror(errno)));
}

}  // namespace

absl::Status ChangeIds(const Identity& identity) {
  if (setgroups(1, &identity.gid) != 0) return Failed("setgroups");
  if (setresgid(identity.gid, identity.gid, identity.gid) != 0)
    return Failed("setresgid");
  if (setresuid(identity.uid, identity.uid, identity.uid) != 0)
    return Failed("setresuid");
  uid_t ruid, euid, suid;
  gid_t rgid, egid, sgid;
  if (getresuid(&ruid, &euid, &suid) != 0 ||
      getresgid(&rgid, &egid, &sgid) != 0)
    return Failed("getresuid");
  if (ruid != identity.uid || euid != identity.uid || suid != identity.uid ||
      rgid != identity.gid || egid != identity.gid || sgid != identity.gid)
    return absl::UnavailableError("privileges were not dropped");
  if (identity.uid != 0 && setuid(0) == 0)
    return absl::UnavailableError("privileges came back");
  return absl::OkStatus();
}

// Keys in the keyring of whoever has started smtpd are not the user's; and mail
// is not to lie about in core files.  Where the kernel has no keyrings there is
// nothing to leave.
void LeaveRootsThings() {
  syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
}

absl::StatusOr<Identity> FindUser(const std::string& name) {
  return Ask([&name](passwd* record, char* buffer, size_t size, passwd** out) {
    return getpwnam_r(name.c_str(), record, buffer, size, out);
  });
}

absl::StatusOr<Identity> FindUserById(uid_t uid) {
  return Ask([uid](passwd* record, char* buffer, size_t size, passwd** out) {
    return getpwuid_r(uid, record, buffer, size, out);
  });
}

absl::Status Become(const Identity& identity, bool privileged, bool allow_root,
                    bool commands) {
  const pid_t parent = getppid();
  if (privileged) {
    if (identity.uid == 0 && !allow_root) {
      return absl::PermissionDeniedError(
          absl::StrCat("MDA not allowed to deliver to: ", identity.user));
    }
    if (absl::Status s = ChangeIds(identity); !s.ok()) return s;
  } else if (identity.uid != geteuid()) {
    return absl::UnavailableError(absl::StrCat(
        "smtpd runs as an ordinary user and can't deliver as ", identity.user));
  }
  // Changing users cleared it, so it comes after; the parent may have died in
  // between.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return Failed("prctl");
  if (getppid() != parent) return absl::UnavailableError("smtpd has ended");
  if (!commands && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return Failed("prctl");
  if (prctl(PR_SET_DUMPABLE, 0) != 0) return Failed("prctl");
  if (privileged) LeaveRootsThings();
  setsid();  // fails only where it is a session of its own already
  umask(077);
  if (identity.home.empty() || chdir(identity.home.c_str()) != 0) {
    if (chdir("/") != 0) return Failed("chdir");
  }
  return absl::OkStatus();
}

}  // namespace holdfast
