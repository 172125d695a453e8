// smtpd-auth: asks the system's user database for `parent`, which must never
// wait for it (NSS modules may use the network).  One question at a time.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include <optional>
#include <string>

#include "server/agent/blocking_door.h"
#include "server/agent/identity.h"
#include "server/door/parent_messages.h"
#include "server/door/room.h"

namespace holdfast {
namespace {

UserAnswer Answer(const UserQuestion& question) {
  UserAnswer answer;
  answer.question = question.question;
  absl::StatusOr<Identity> found = FindUser(question.name);
  if (found.ok()) {
    answer.result = UserAnswer::Result::kFound;
    answer.uid = found->uid;
    answer.gid = found->gid;
    answer.home = found->home;
  } else if (absl::IsNotFound(found.status())) {
    answer.result = UserAnswer::Result::kNotFound;
  } else {
    answer.result = UserAnswer::Result::kError;
  }
  return answer;
}

int Main() {
  if (fcntl(kParentDoorFd, F_SETFD, FD_CLOEXEC) < 0) {
    fprintf(stderr, "smtpd-auth is started by smtpd, not by hand\n");
    return 1;
  }
  // Ctrl-C goes to all; the parent closes the door.
  signal(SIGINT, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_NAME, "smtpd-auth");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_DUMPABLE, 0);
  BlockingDoor door(kParentDoorFd);
  for (;;) {
    absl::StatusOr<std::optional<BlockingDoor::Frame>> frame = door.Read();
    if (!frame.ok()) return 1;
    if (!frame->has_value()) return 0;
    if ((*frame)->type != UserQuestion::kType) return 1;
    absl::StatusOr<UserQuestion> question =
        Decode<UserQuestion>((*frame)->payload);
    if (!question.ok() || !door.Send(Answer(*question)).ok()) return 1;
  }
}

}  // namespace
}  // namespace holdfast

int main() { return holdfast::Main(); }
