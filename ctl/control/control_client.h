// smtpctl's side of the control socket.
#ifndef HOLDFAST_CTL_CONTROL_CONTROL_CLIENT_H_
#define HOLDFAST_CTL_CONTROL_CONTROL_CLIENT_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

// Connects to a Unix stream socket.  The descriptor is the caller's.
// kUnavailable: nobody listens there; else the system's text.
absl::StatusOr<int> ConnectUnix(const std::string& path);

// Sends the command, gives the answer to `write` in pieces (false: no more is
// wanted); the exit status.  Errors go to stderr, with `program` and ": "
// before them.  Blocks.
int RunControlCommand(int fd, const std::vector<std::string>& words,
                      absl::string_view program,
                      const std::function<bool(absl::string_view)>& write);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_CONTROL_CONTROL_CLIENT_H_
