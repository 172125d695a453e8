// mail.local [-Ll] [-f FROM] USER ...: appends standard input to the mailboxes
// of users in the mail folder (reference part 1, section 6.5).  Also called
// mail.mbox.
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ctl/delivery/helper_exit.h"
#include "ctl/delivery/spooled_letter.h"
#include "storage/mailbox/mbox_file.h"

namespace holdfast {
namespace {

constexpr char kProgram[] = "mail.local";

struct Owner {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
};

// Becomes `owner`, with the group that may make files in the mail folder.
bool BecomeOwner(const Owner& owner, const std::string& folder) {
  struct stat st;
  const bool shared = stat(folder.c_str(), &st) == 0 && st.st_gid != 0;
  const gid_t group = shared ? st.st_gid : owner.gid;
  return setgroups(1, &group) == 0 && setresgid(group, group, group) == 0 &&
         setresuid(owner.uid, owner.uid, owner.uid) == 0;
}

int Append(const Owner& owner, const SpoolFile& spool) {
  MboxOptions options;
  options.owner = owner.uid;
  MboxLetter letter;
  letter.bytes = spool.size();
  AppendToMbox(options, owner.name, spool.fd(), {&letter});
  if (letter.status.ok()) return 0;
  return Complain(kProgram, letter.status.message(), kExitTemporary);
}

// Root does not write into folders of others: a child does, as the user.
int AppendAsUser(const Owner& owner, const SpoolFile& spool) {
  if (geteuid() != 0) return Append(owner, spool);
  const pid_t pid = fork();
  if (pid < 0)
    return Complain(kProgram, absl::StrCat("fork: ", strerror(errno)),
                    kExitTemporary);
  if (pid == 0) {
    umask(077);
    if (!BecomeOwner(owner, MboxOptions().mail_dir))
      _exit(Complain(kProgram, strerror(errno), kExitTemporary));
    _exit(Append(owner, spool));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : kExitTemporary;
}

int FindOwner(const char* name, Owner* owner) {
  errno = 0;
  const passwd* const found = getpwnam(name);
  if (found != nullptr && IsMailboxName(name)) {
    *owner = {name, found->pw_uid, found->pw_gid};
    return 0;
  }
  const bool unknown = found != nullptr || errno == 0 || errno == ENOENT;
  return unknown ? Complain(kProgram, absl::StrCat("unknown name: ", name),
                            kExitNoUser)
                 : Complain(kProgram, strerror(errno), kExitTemporary);
}

int Main(int argc, char** argv) {
  const char* const login = getlogin();
  std::string from = login != nullptr ? login : "";
  if (const passwd* own = getpwuid(getuid()); from.empty() && own != nullptr)
    from = own->pw_name;
  int option;
  while ((option = getopt(argc, argv, "f:lL")) != -1) {
    if (option == 'f') from = optarg;
    if (option == '?') optind = argc + 1;  // usage
  }
  if (optind >= argc) {
    return Complain(kProgram, "usage: mail.local [-Ll] [-f from] user ...",
                    kExitUsage);
  }
  SpoolFile spool;
  const absl::Status read =
      SpoolLetter(STDIN_FILENO, from.empty() ? "MAILER-DAEMON" : from,
                  MboxEncoder::Quote::kAfterEmpty, &spool);
  if (!read.ok()) return Complain(kProgram, read.message(), kExitTemporary);
  int worst = 0;
  for (int i = optind; i < argc; ++i) {
    Owner owner;
    int status = FindOwner(argv[i], &owner);
    if (status == 0) status = AppendAsUser(owner, spool);
    // One that may go later weighs more than one that never will.
    worst = worst == kExitTemporary ? worst : std::max(worst, status);
  }
  return worst;
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) { return holdfast::Main(argc, argv); }
