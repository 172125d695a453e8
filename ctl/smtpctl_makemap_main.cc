// smtpctl-makemap: what smtpctl becomes under the names makemap and newaliases,
// so that nothing else of it links libdb:
//
//   smtpctl-makemap makemap [argument ...]
//   smtpctl-makemap newaliases SPOOL [argument ...]
#include <signal.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "ctl/control/whole_io.h"
#include "ctl/maps/makemap.h"

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> words(argv + (argc > 0), argv + argc);
  if (!words.empty() && words[0] == "makemap")
    return holdfast::RunMakemap({words.begin() + 1, words.end()});
  if (words.size() >= 2 && words[0] == "newaliases")
    return holdfast::RunNewaliases({words.begin() + 2, words.end()}, words[1]);
  holdfast::WriteAll(STDERR_FILENO, "smtpctl-makemap: executed by smtpctl\n");
  return 1;
}
