#include "server/agent/run_program.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "server/agent/identity.h"

namespace holdfast {
namespace {

constexpr size_t kFixedWords = 5;
constexpr int kFailed = 75;  // EX_TEMPFAIL

absl::Status Failed(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(errno)));
}

absl::StatusOr<Identity> FindIdentity(const ProgramArguments& arguments) {
  absl::StatusOr<Identity> identity = FindUser(arguments.user);
  if (absl::IsNotFound(identity.status()))
    return absl::NotFoundError(absl::StrCat("no user ", arguments.user));
  if (!identity.ok() || arguments.group.empty()) return identity;
  errno = 0;
  const group* found = getgrnam(arguments.group.c_str());
  if (found == nullptr)
    return absl::NotFoundError(absl::StrCat("no group ", arguments.group));
  identity->gid = found->gr_gid;
  return identity;
}

absl::Status BecomeOwner(const ProgramArguments& arguments) {
  // The user database is outside.
  absl::StatusOr<Identity> identity = FindIdentity(arguments);
  if (!identity.ok()) return identity.status();
  if (!arguments.chroot.empty() && chroot(arguments.chroot.c_str()) != 0)
    return Failed(absl::StrCat("chroot ", arguments.chroot));
  if (absl::Status s = ChangeIds(*identity); !s.ok()) return s;
  LeaveRootsThings();
  return absl::OkStatus();
}

absl::Status PlaceDescriptors() {
  if (dup2(kProgramSocketFd, STDIN_FILENO) < 0 ||
      dup2(kProgramSocketFd, STDOUT_FILENO) < 0 ||
      dup2(kProgramErrorFd, STDERR_FILENO) < 0)
    return Failed("dup2");
  close(kProgramSocketFd);
  close(kProgramErrorFd);
  return absl::OkStatus();
}

absl::Status Prepare(const ProgramArguments& arguments) {
  const pid_t parent = getppid();
  setsid();  // fails only where it is a session of its own already
  if (!arguments.user.empty()) {
    if (absl::Status s = BecomeOwner(arguments); !s.ok()) return s;
  }
  // Changing users cleared it, so it comes after; the parent may have died in
  // between.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return Failed("prctl");
  if (getppid() != parent) return absl::UnavailableError("smtpd has ended");
  if (chdir("/") != 0) return Failed("chdir");
  umask(022);
  return PlaceDescriptors();
}

}  // namespace

std::vector<std::string> ToArguments(const ProgramArguments& arguments) {
  std::vector<std::string> words = {kProgramArgument, arguments.user,
                                    arguments.group, arguments.chroot,
                                    arguments.path};
  words.insert(words.end(), arguments.words.begin(), arguments.words.end());
  return words;
}

absl::StatusOr<ProgramArguments> ParseProgramArguments(
    const std::vector<std::string>& words) {
  if (words.size() <= kFixedWords || words[0] != kProgramArgument ||
      words[4].empty())
    return absl::InvalidArgumentError("not a program's");
  ProgramArguments arguments;
  arguments.user = words[1];
  arguments.group = words[2];
  arguments.chroot = words[3];
  arguments.path = words[4];
  arguments.words.assign(words.begin() + kFixedWords, words.end());
  return arguments;
}

int RunProgram(const ProgramArguments& arguments) {
  absl::Status status = Prepare(arguments);
  if (status.ok()) {
    std::vector<char*> words;
    for (const std::string& word : arguments.words)
      words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    execv(arguments.path.c_str(), words.data());
    status = Failed(arguments.path);
  }
  const std::string why(status.message());
  // Shorter than a pipe is deep: one write.  If nobody reads it, nobody cares.
  return write(kProgramStatusFd, why.data(), why.size()) < 0 ? 1 : kFailed;
}

}  // namespace holdfast
