// Which programs of others a configuration has run, and how each is to be
// called (reference part 1, sections 1.7 and 1.12).
#ifndef HOLDFAST_SERVER_PARENT_PROGRAMS_H_
#define HOLDFAST_SERVER_PARENT_PROGRAMS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "config/config.h"
#include "server/agent/run_program.h"
#include "server/door/room.h"

namespace holdfast {

// As whom filters and processes of tables run if nothing is said.
inline constexpr char kProgramUser[] = "_smtpd";

// Where programs are looked for that are named without a path: `own` folders,
// then those of OpenSMTPD: its own, Debian's, others'.
std::vector<std::string> ProgramFolders(std::vector<std::string> own);

struct ProgramSpec {
  Room room = Room::kFilters;  // that speaks with it
  std::string name;            // in Config::processors, or Config::tables
  // A filter's; a relative one is looked for in `folders` at each start.
  std::string command;
  // Of a table: its process is "table-" and this, and its path.
  std::string backend;
  std::string table_path;
  std::string user, group, chroot;  // empty user: whoever smtpd is
  std::vector<std::string> folders;

  // Looks where the program is.
  ProgramArguments Arguments() const;
};

std::vector<ProgramSpec> ProgramsOf(const Config& config, bool privileged,
                                    const std::vector<std::string>& folders);

// Whether there is a program "table-WORD" in `folders`.
bool HasTableProgram(absl::string_view word,
                     const std::vector<std::string>& folders);

// Lines of `smtpd -n` about filters whose program or user is not there.
std::vector<std::string> MissingPrograms(
    const Config& config, const std::vector<std::string>& folders);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_PARENT_PROGRAMS_H_
