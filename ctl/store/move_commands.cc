#include "ctl/store/move_commands.h"

#include <errno.h>
#include <unistd.h>

#include "ctl/store/command_io.h"
#include "storage/idle_priority.h"

namespace holdfast {

bool IsMoveCommand(const std::vector<std::string>& words) {
  return words.size() >= 2 && words[0] == "queue" &&
         (words[1] == "export" || words[1] == "import" || words[1] == "backup");
}

int RunMoveCommand(const std::vector<std::string>& words,
                   const std::string& store, const std::string& socket,
                   StoreOpener open) {
  std::vector<std::string> rest(words.begin() + 2, words.end());
  // smtpctl puts it there.
  const bool json = !rest.empty() && rest.back() == "--json";
  if (json) rest.pop_back();
  // Mail goes first; what is imported is mail that waits, too.
  if (words[1] != "import")
    RunAtIdlePriority();
  else if (nice(19) == -1)
    errno = 0;
  if (words[1] == "export") return RunExport(rest, socket, open, json);
  if (words[1] == "import") return RunImport(rest, socket, open, json);
  return RunBackup(rest, store, socket, open, json);
}

}  // namespace holdfast
