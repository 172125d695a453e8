// For tests: runs a piece of code inside a room's sandbox.
#ifndef HOLDFAST_SERVER_SANDBOX_SANDBOX_PROBE_H_
#define HOLDFAST_SERVER_SANDBOX_SANDBOX_PROBE_H_

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "server/sandbox/sandbox.h"

namespace holdfast {

inline constexpr int kNoSandbox = 250;
inline constexpr int kKilledInSandbox = 251;

// In a child, as user 65534 if this is root; what `what` returns (below 250) is
// the result.  The sandbox can't be left, so the test must not enter it itself.
// `before` is run in the child, outside the sandbox.
inline int InSandbox(
    const SandboxRules& rules, const std::function<int()>& what,
    const std::function<void()>& before = [] {}) {
  const pid_t child = fork();
  if (child == 0) {
    before();
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
      _exit(kNoSandbox);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) _exit(kNoSandbox);
    const auto missing = EnterSandbox(rules);
    if (!missing.ok() || !missing->empty()) _exit(kNoSandbox);
    _exit(what());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : kKilledInSandbox;
}

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_SANDBOX_SANDBOX_PROBE_H_
