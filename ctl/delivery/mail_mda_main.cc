// mail.mda COMMAND: runs a command by the shell, with our own input (reference
// part 1, section 6.2).
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/delivery/helper_exit.h"

namespace holdfast {
namespace {

constexpr char kProgram[] = "mail.mda";

int Main(int argc, char** argv) {
  if (IsRoot(kProgram)) return kExitError;
  // As getopt(3) with no options has it: "--" ends them.
  const int first = argc > 1 && std::string(argv[1]) == "--" ? 2 : 1;
  if (argc <= first)
    return Complain(kProgram, "mail.mda: command required", kExitError);
  if (argc > first + 1) {
    return Complain(kProgram, "mail.mda: only one command is supported",
                    kExitError);
  }
  const int status = system(argv[first]);
  if (status == -1 || !WIFEXITED(status)) return kExitTemporary;
  return WEXITSTATUS(status);
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) { return holdfast::Main(argc, argv); }
