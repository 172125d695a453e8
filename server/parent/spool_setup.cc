#include "server/parent/spool_setup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/filter_use.h"
#include "server/door/door.h"

namespace holdfast {
namespace {

constexpr mode_t kModeBits = 07777;

std::string SystemText(const std::string& path) {
  return absl::StrCat(path, ": ", strerror(errno));
}

// Those above the spool's own folder.
bool MakeParents(const std::string& path) {
  for (size_t at = path.find('/', 1); at != std::string::npos;
       at = path.find('/', at + 1)) {
    if (mkdir(path.substr(0, at).c_str(), 0755) != 0 && errno != EEXIST)
      return false;
  }
  return true;
}

// On the descriptor, so that nobody changes what is looked at.
bool MakeFolder(const FolderRule& rule) {
  if (mkdir(rule.path.c_str(), 0700) != 0) return errno == EEXIST;
  OwnedFd fd(
      open(rule.path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return false;
  const gid_t group = rule.group.value_or(static_cast<gid_t>(-1));
  return fchown(fd.get(), rule.owner, group) == 0 &&
         fchmod(fd.get(), rule.mode) == 0;
}

// An empty folder that somebody made for us (`mkdir /srv/mail`, then `spool
// "/srv/mail"`; or the `offline` of another program) gets the mode it must
// have; one that is in use is never changed, only complained about.
void AdoptEmptyFolder(const FolderRule& rule) {
  OwnedFd fd(
      open(rule.path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st;
  if (!fd || fstat(fd.get(), &st) != 0 || st.st_uid != rule.owner) return;
  DIR* const folder = opendir(rule.path.c_str());
  if (folder == nullptr) return;
  bool empty = true;
  while (const dirent* entry = readdir(folder)) {
    const std::string name = entry->d_name;
    empty = empty && (name == "." || name == "..");
  }
  closedir(folder);
  if (empty) fchmod(fd.get(), rule.mode);
}

}  // namespace

std::string ModeText(mode_t mode) {
  std::string out;
  for (int shift = 6; shift >= 0; shift -= 3) {
    const mode_t bits = mode >> shift;
    out += bits & 4 ? 'r' : '-';
    out += bits & 2 ? 'w' : '-';
    out += bits & 1 ? 'x' : '-';
  }
  if (mode & S_ISVTX) out.back() = mode & 1 ? 't' : 'T';
  return out;
}

std::vector<std::string> EnsureFolder(const FolderRule& rule) {
  if (!MakeFolder(rule)) return {SystemText(rule.path)};
  struct stat st;
  if (lstat(rule.path.c_str(), &st) != 0) return {SystemText(rule.path)};
  if (!S_ISDIR(st.st_mode))
    return {absl::StrCat(rule.path, " is not a directory")};
  std::vector<std::string> out;
  if (st.st_uid != rule.owner) {
    out.push_back(absl::StrCat(rule.path, " is not owned by uid ", rule.owner));
  }
  if (rule.group && st.st_gid != *rule.group) {
    out.push_back(
        absl::StrCat(rule.path, " is not owned by gid ", *rule.group));
  }
  if ((st.st_mode & kModeBits) != rule.mode) {
    out.push_back(absl::StrFormat("%s must be %s (%o)", rule.path,
                                  ModeText(rule.mode), rule.mode));
  }
  return out;
}

std::string EmptyFolder(const SpoolPaths& paths) {
  return absl::StrCat(paths.root, "/empty");
}

absl::Status SetUpSpool(const SpoolPaths& paths, const SpoolOwners& owners,
                        std::vector<std::string>* problems) {
  auto ensure = [problems](const FolderRule& rule) {
    std::vector<std::string> found = EnsureFolder(rule);
    problems->insert(problems->end(), found.begin(), found.end());
    return found.empty();
  };
  if (!MakeParents(paths.root)) problems->push_back(SystemText(paths.root));
  const FolderRule root = {paths.root, 0711, owners.root, std::nullopt};
  AdoptEmptyFolder(root);
  if (!ensure(root) ||
      !ensure({EmptyFolder(paths), 0711, owners.root, std::nullopt}) ||
      !ensure({paths.store, 0700, owners.queue, std::nullopt}) ||
      !ensure({FilterFolder(paths), 0700, owners.queue, std::nullopt}))
    return absl::FailedPreconditionError("error in spool directory setup");
  // Set-group-id: what is made there is known by its group (offline_runner.h).
  const FolderRule offline = {paths.offline, 03733, owners.root,
                              owners.queue_group};
  AdoptEmptyFolder(offline);
  if (!ensure(offline))
    return absl::FailedPreconditionError("error in offline directory setup");
  return absl::OkStatus();
}

}  // namespace holdfast
