// As whom an agent works, and how it becomes that user.
#ifndef HOLDFAST_SERVER_AGENT_IDENTITY_H_
#define HOLDFAST_SERVER_AGENT_IDENTITY_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace holdfast {

struct Identity {
  std::string user;  // for messages
  uid_t uid = 0;
  gid_t gid = 0;
  std::string home;
};

// What the user database says.  kNotFound: there is no such user;
// kUnavailable: it could not be asked.  Blocks.
absl::StatusOr<Identity> FindUser(const std::string& name);
absl::StatusOr<Identity> FindUserById(uid_t uid);

// Becomes `identity` for good: its group as the only one, its user, verified;
// a new session; the home folder, or / if that can't be entered; umask 077; no
// new privileges, not dumpable, no core files, a session keyring of its own.
// With `commands` privileges can be gained (by programs with the set-user-id
// bit, as everywhere).  When the process that started it dies, this one is
// killed.  With `privileged` false (smtpd was started by an ordinary user)
// users are not changed, and `identity` must be this user.
//
// kPermissionDenied: this user is never served ("MDA not allowed ...");
// kUnavailable: not now.
absl::Status Become(const Identity& identity, bool privileged, bool allow_root,
                    bool commands = false);

// The two parts of it that programs which are not ours need, too: the group and
// the user, verified; and nothing of root's keyrings, no core files.
absl::Status ChangeIds(const Identity& identity);
void LeaveRootsThings();

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_IDENTITY_H_
