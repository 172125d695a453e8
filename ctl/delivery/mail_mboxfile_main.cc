// mail.mboxfile [-f FROM] FILE: appends standard input to a file (reference
// part 1, section 6.5).  Also called mail.forwardfile.
#include <unistd.h>

#include <string>

#include "absl/time/time.h"
#include "ctl/delivery/helper_exit.h"
#include "ctl/delivery/spooled_letter.h"
#include "storage/mailbox/user_file.h"

namespace holdfast {
namespace {

constexpr absl::Duration kLockWait = absl::Seconds(60);

int Main(int argc, char** argv) {
  const std::string path = argc > 0 ? argv[0] : "";
  const std::string program = path.substr(path.rfind('/') + 1);
  if (IsRoot(program)) return kExitError;
  std::string from = "<unknown>";
  int option;
  while ((option = getopt(argc, argv, "f:")) != -1) {
    // What it does not know it has said, and goes on, as the reference does.
    if (option == 'f') from = optarg;
  }
  if (argc - optind > 1) {
    return Complain(program, "mail.mboxfile: only one mboxfile is allowed",
                    kExitError);
  }
  if (optind >= argc)
    return Complain(program, "mail.mboxfile: file required", kExitTemporary);
  SpoolFile spool;
  absl::Status done =
      SpoolLetter(STDIN_FILENO, from, MboxEncoder::Quote::kEveryLine, &spool);
  if (done.ok()) {
    bool in_doubt = false;  // there is no word for it
    done = AppendToUserFile(argv[optind], spool.fd(), 0, spool.size(),
                            kLockWait, &in_doubt);
  }
  if (done.ok()) return 0;
  return Complain(program, done.message(), kExitTemporary);
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) { return holdfast::Main(argc, argv); }
