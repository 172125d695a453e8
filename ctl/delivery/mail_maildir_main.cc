// mail.maildir [-j] [DIR]: delivers standard input into a Maildir (reference
// part 1, section 6.5).
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "ctl/delivery/helper_exit.h"
#include "ctl/delivery/maildir_delivery.h"

namespace holdfast {
namespace {

constexpr char kProgram[] = "mail.maildir";

// "<seconds>.<8 hex digits>.<host>"
std::string UniqueName() {
  uint32_t random = 0;
  if (getrandom(&random, sizeof random, 0) != sizeof random)
    random = static_cast<uint32_t>(getpid());
  char host[256] = "localhost";
  gethostname(host, sizeof host - 1);
  std::string name = absl::StrFormat("%d.%08x.", time(nullptr), random);
  for (const char* c = host; *c != '\0'; ++c)
    name += *c == '/' || *c == ':' ? '_' : *c;
  return name;
}

int Main(int argc, char** argv) {
  if (IsRoot(kProgram)) return kExitError;
  MaildirDelivery delivery;
  int option;
  while ((option = getopt(argc, argv, "j")) != -1) {
    // What it does not know it has said, and goes on, as the reference does.
    if (option == 'j') delivery.junk = true;
  }
  if (argc - optind > 1) {
    return Complain(kProgram, "mail.maildir: only one maildir is allowed",
                    kExitError);
  }
  if (optind < argc) {
    delivery.path = argv[optind];
  } else {
    delivery.path = absl::StrCat(Environment("HOME"), "/Maildir");
  }
  delivery.extension = Environment("EXTENSION");
  delivery.file_name = UniqueName();
  const absl::Status done = DeliverToMaildir(delivery, STDIN_FILENO);
  if (done.ok()) return 0;
  return Complain(kProgram, done.message(),
                  absl::IsInvalidArgument(done) ? kExitError : kExitTemporary);
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) { return holdfast::Main(argc, argv); }
