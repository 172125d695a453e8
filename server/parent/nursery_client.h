// Has a nursery of agents (server/agent/nursery.h) fork one.
#ifndef HOLDFAST_SERVER_PARENT_NURSERY_CLIENT_H_
#define HOLDFAST_SERVER_PARENT_NURSERY_CLIENT_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/door/door.h"

namespace holdfast {

// It answers in the time of a fork; one that has not in this time is given up.
inline constexpr absl::Duration kNurseryPatience = absl::Seconds(1);

struct NurserySockets {
  OwnedFd ours, theirs;
};
NurserySockets MakeNurserySockets();

// Whether a nursery that was just started has said that it is ready.  Does not
// wait.
bool NurserySaidHello(int socket);

// The process id of a new child of ours.  Waits for the answer, as
// posix_spawn(3) waits for its child.  kUnimplemented: it was not asked (it is
// gone, or the words are too long), another way may be tried.  kUnavailable: it
// has given no good answer, and may have forked all the same.
absl::StatusOr<pid_t> AskNursery(int socket,
                                 const std::vector<std::string>& words,
                                 const std::vector<OwnedFd>& fds);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_NURSERY_CLIENT_H_
