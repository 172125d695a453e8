// smtpd-auth: asks the system's user database, checks passwords and looks into
// homes for `parent`, which must never wait for them (modules of NSS and PAM,
// and homes, may be on the network).  One question at a time.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include <optional>
#include <string>

#include "protocol/secret.h"
#include "server/agent/blocking_door.h"
#include "server/agent/identity.h"
#include "server/auth/forward_file.h"
#include "server/auth/password_check.h"
#include "server/door/lookup_messages.h"
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

ForwardAnswer Answer(const ForwardQuestion& question) {
  ForwardAnswer answer = AnswerForward(question);
  answer.question = question.question;
  return answer;
}

PasswordAnswer Answer(PasswordQuestion& question) {
  const PasswordAnswer answer = AnswerPassword(question);
  Wipe(&question.password);
  return answer;
}

// False: this is not such a question, or it cannot be answered any more.
template <class Question>
bool TryAnswer(const BlockingDoor::Frame& frame, BlockingDoor* door) {
  if (frame.type != Question::kType) return false;
  absl::StatusOr<Question> question = Decode<Question>(frame.payload);
  return question.ok() && door->Send(Answer(*question)).ok();
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
    if (!TryAnswer<UserQuestion>(**frame, &door) &&
        !TryAnswer<ForwardQuestion>(**frame, &door) &&
        !TryAnswer<PasswordQuestion>(**frame, &door)) {
      return 1;
    }
    Wipe(&(*frame)->payload);
  }
}

}  // namespace
}  // namespace holdfast

int main() { return holdfast::Main(); }
