// What `parent`, smtpd-agent and `deliver` have to agree on: the command line
// of an agent, what it says at its beginning, how long it may take.
#ifndef HOLDFAST_SERVER_AGENT_AGENT_ARGUMENTS_H_
#define HOLDFAST_SERVER_AGENT_AGENT_ARGUMENTS_H_

#include <limits.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace holdfast {

inline constexpr char kDefaultMailDir[] = "/var/mail";

// How errors of `parent` begin when one more agent does not fit: `deliver` can
// make room then.
inline constexpr char kNoAgentRoom[] = "no room for a delivery agent";

// The descriptor on which an agent tells `parent` how its beginning went: one
// letter, then a text, then it closes it.
inline constexpr int kAgentStatusFd = 4;
inline constexpr char kAgentStarted = 'o';    // text: home of `mailbox_user`
inline constexpr char kAgentPermanent = 'p';  // text: the error
inline constexpr char kAgentTemporary = 't';

// One step (a write, a commit) that takes longer than this ends the process by
// SIGALRM, as the reference ends a delivery ("terminated; timeout").
inline constexpr unsigned kAgentStepSeconds = 300;
// Where a command runs, which has a limit of its own, 0 for none: it comes
// first.  0: a step may take for ever.
constexpr unsigned CommandStepSeconds(unsigned limit) {
  constexpr unsigned kLater = 15;
  if (limit == 0 || limit > UINT_MAX - kLater) return 0;
  return std::max(kAgentStepSeconds, limit + kLater);
}

struct AgentArguments {
  // A user who is not in the system's user database (table userbase).
  struct User {
    uint32_t uid = 0, gid = 0;
    std::string home;
  };

  bool privileged = false;    // change users
  std::string user;           // to work as
  std::optional<User> known;  // what `user` is; else the system is asked
  bool mbox = false;
  std::string mail_dir = kDefaultMailDir;
  std::string mailbox_user;  // whose home is told; empty: nobody's
  std::optional<std::string> mailbox_home;  // else the system is asked
  // Runs the user's commands: `mda`, and those of aliases and ~/.forward.
  bool commands = false;
  std::string command;  // of the action; empty: it has none
  bool helper = false;  // `command` is a program of ours, with a path
  std::string wrapper;  // empty: none
  // `mda limit`, of each command; 0: none.
  uint64_t memory = 0;  // octets
  uint32_t descriptors = 0;
  uint32_t seconds = 0;
  char delimiter = '+';  // of sub-addresses
  // Not a delivery: become user `exec_uid` and run `exec`.
  std::optional<uint32_t> exec_uid;
  std::vector<std::string> exec;
};

// Pure, both.  Without the program's name.
std::vector<std::string> ToArguments(const AgentArguments& arguments);
absl::StatusOr<AgentArguments> ParseAgentArguments(
    const std::vector<std::string>& arguments);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_AGENT_ARGUMENTS_H_
