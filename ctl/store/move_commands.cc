#include "ctl/store/move_commands.h"

#include <errno.h>
#include <unistd.h>

#include "ctl/store/command_io.h"

namespace holdfast {

bool IsMoveCommand(const std::vector<std::string>& words) {
  return words.size() >= 2 && words[0] == "queue" &&
         (words[1] == "export" || words[1] == "import" || words[1] == "backup");
}

int RunMoveCommand(const std::vector<std::string>& words,
                   const std::string& store, const std::string& socket,
                   StoreOpener open) {
  // Mail goes first.
  if (nice(19) == -1) errno = 0;
  const std::vector<std::string> rest(words.begin() + 2, words.end());
  if (words[1] == "export") return RunExport(rest, socket, open);
  if (words[1] == "import") return RunImport(rest, socket, open);
  return RunBackup(rest, store, socket, open);
}

}  // namespace holdfast
