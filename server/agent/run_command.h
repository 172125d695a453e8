// Runs one command of a user, with a message as its input.
#ifndef HOLDFAST_SERVER_AGENT_RUN_COMMAND_H_
#define HOLDFAST_SERVER_AGENT_RUN_COMMAND_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace holdfast {

// A command that takes longer is ended.
inline constexpr absl::Duration kCommandLimit = absl::Seconds(300);
// Of its output the end is kept.
inline constexpr size_t kKeptOutputBytes = 4096;

// What a command may take (`mda limit`).
struct CommandLimits {
  absl::Duration time = kCommandLimit;  // may be infinite
  // Of each of its processes; 0: what the agent has.
  uint64_t memory = 0;  // octets of data
  uint32_t descriptors = 0;
};

struct CommandRun {
  std::string line;  // for /bin/sh -c
  std::vector<std::string> environment;
  // Its input: `bytes` from `offset` of this file.
  int input = -1;
  off_t offset = 0;
  off_t bytes = 0;
  CommandLimits limits;
};

struct CommandEnd {
  enum class How {
    kExited,      // `value` is the status
    kSignalled,   // `value` is the signal
    kTimeout,     // it was killed, with all of its process group
    kNotStarted,  // `last_line` says why
  };
  How how = How::kNotStarted;
  int value = 0;
  bool consumed = false;  // it has taken all of its input
  std::string last_line;  // of its output that is not empty
  // It has failed, it seems, at this limit: "memory limit", "descriptor limit";
  // else null.
  const char* limit = nullptr;
};

// What the end of a command that has failed says of its limits.  The system
// tells nobody that a process was refused memory or a descriptor, so this goes
// by what programs say of it, and by the memory it had (`peak`, octets).  Pure.
const char* LimitReached(const CommandEnd& end, const CommandLimits& limits,
                         uint64_t peak);

// Blocks until the command has ended; what it has left running in the
// background does not hold it up.  The command runs in a session of its own,
// in the present folder, with default signals and nothing open but its input
// and its output.
CommandEnd RunCommand(const CommandRun& run);

// sysexits(3) as the log names them: 67 is "user unknown"; null if it has no
// name.
const char* SysexitName(int status);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_RUN_COMMAND_H_
