// smtpd-agent as the one who becomes somebody else's program: a filter, or the
// process of a table.
#ifndef HOLDFAST_SERVER_AGENT_RUN_PROGRAM_H_
#define HOLDFAST_SERVER_AGENT_RUN_PROGRAM_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace holdfast {

// Its first argument.
inline constexpr char kProgramArgument[] = "--program";

// The descriptors it is started with.  It says on the last why the program
// could not be started; the program's own beginning closes it.
inline constexpr int kProgramSocketFd = 3;  // standard input and output
inline constexpr int kProgramErrorFd = 4;   // standard error
inline constexpr int kProgramStatusFd = 5;

struct ProgramArguments {
  // Empty: users are not changed, there is no chroot.
  std::string user;
  std::string group;   // empty: the user's
  std::string chroot;  // empty: none
  std::string path;
  std::vector<std::string> words;  // its argv
};

// Pure, both.
std::vector<std::string> ToArguments(const ProgramArguments& arguments);
absl::StatusOr<ProgramArguments> ParseProgramArguments(
    const std::vector<std::string>& words);

// Becomes the user, with nothing left of root and none of our descriptors, in a
// session of its own, and then the program (reference part 1, section 1.12).
// Privileges can be gained by it as by any program of that user.  Returns only
// if that fails, and has then said why.
int RunProgram(const ProgramArguments& arguments);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AGENT_RUN_PROGRAM_H_
