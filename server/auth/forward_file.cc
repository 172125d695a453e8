#include "server/auth/forward_file.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "server/agent/identity.h"
#include "server/door/door.h"

namespace holdfast {
namespace {

using Result = ForwardAnswer::Result;

constexpr char kWho[] = "warn: smtpd: parent_forward_open: ";

ForwardAnswer Ended(Result result, const std::string& error) {
  ForwardAnswer answer;
  answer.result = result;
  answer.error = error;
  return answer;
}

ForwardAnswer Broken(const std::string& path, int error) {
  return Ended(Result::kError, absl::StrCat(kWho, path, ": ", strerror(error)));
}

ForwardAnswer Insecure(const std::string& path) {
  return Ended(Result::kUnsafe,
               absl::StrCat("warn: smtpd: ", path, ": insecure file"));
}

bool OthersMayWrite(const struct stat& info) {
  return (info.st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

// One byte more than is allowed is read, to see that there is more.
ForwardAnswer ReadAll(int fd, const std::string& path) {
  ForwardAnswer answer;
  std::string& text = answer.contents;
  text.resize(kMaxForwardBytes + 1);
  size_t have = 0;
  while (have < text.size()) {
    const ssize_t got = read(fd, text.data() + have, text.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Broken(path, errno);
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  text.resize(have);
  if (have == 0) return Ended(Result::kNone, "info: forward file is empty");
  if (have > kMaxForwardBytes) {
    return Ended(Result::kError, "info: forward file exceeds max size");
  }
  answer.result = Result::kFound;
  return answer;
}

// Is a user for as long as it lives.
class Disguise {
 public:
  // `name` is empty for one who is no user of the system.
  Disguise(const std::string& name, uid_t uid, gid_t gid) {
    if (geteuid() != 0) return;  // already the only user there is
    const int count = getgroups(0, nullptr);
    groups_.resize(count < 0 ? 0 : static_cast<size_t>(count));
    if (count < 0 || getgroups(count, groups_.data()) != count) {
      error_ = errno;
      return;
    }
    put_on_ = true;
    const int joined =
        name.empty() ? setgroups(1, &gid) : initgroups(name.c_str(), gid);
    if (joined != 0 || setegid(gid) != 0 || seteuid(uid) != 0) error_ = errno;
  }
  // Who cannot become root again must not answer the next question.
  ~Disguise() {
    if (!put_on_) return;
    if (seteuid(0) != 0 || setegid(getgid()) != 0 ||
        setgroups(groups_.size(), groups_.data()) != 0) {
      _exit(1);
    }
  }
  Disguise(const Disguise&) = delete;
  Disguise& operator=(const Disguise&) = delete;

  int error() const { return error_; }

 private:
  std::vector<gid_t> groups_;
  bool put_on_ = false;
  int error_ = 0;
};

}  // namespace

ForwardAnswer ReadForward(const std::string& home, uid_t uid) {
  const OwnedFd folder(open(home.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat info;
  if (!folder && (errno == ENOENT || errno == ENOTDIR)) {
    return Ended(Result::kNone,
                 absl::StrCat(kWho, home, ": ", strerror(errno)));
  }
  if (!folder || fstat(folder.get(), &info) != 0) return Broken(home, errno);
  // The mark of an administrator at work on it (Postfix and others agree).
  if ((info.st_mode & S_ISVTX) != 0) {
    return Ended(Result::kError, absl::StrCat(kWho, home, " is sticky"));
  }
  const bool folder_is_safe =
      (info.st_uid == 0 || info.st_uid == uid) && !OthersMayWrite(info);

  const std::string path = absl::StrCat(home, "/.forward");
  const OwnedFd file(
      openat(folder.get(), ".forward",
             O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file) {
    if (errno == ENOENT) return Ended(Result::kNone, "");
    if (errno == ELOOP) {
      return Ended(Result::kUnsafe,
                   absl::StrCat(kWho, path, ": cannot follow symbolic links"));
    }
    // What open(2) says of a socket.
    return errno == ENXIO ? Insecure(path) : Broken(path, errno);
  }
  if (fstat(file.get(), &info) != 0) return Broken(path, errno);
  if (!folder_is_safe || !S_ISREG(info.st_mode) || info.st_uid != uid ||
      OthersMayWrite(info)) {
    return Insecure(path);
  }
  return ReadAll(file.get(), path);
}

ForwardAnswer AnswerForward(const ForwardQuestion& question) {
  Identity user;
  user.uid = question.uid;
  user.gid = question.gid;
  user.home = question.home;
  if (!question.has_user) {
    absl::StatusOr<Identity> found = FindUser(question.name);
    if (!found.ok()) {
      return Ended(Result::kError,
                   absl::StrCat(kWho, question.name, ": ",
                                std::string(found.status().message())));
    }
    user = *std::move(found);
  }
  const Disguise disguise(question.has_user ? "" : user.user, user.uid,
                          user.gid);
  if (disguise.error() != 0) return Broken(user.home, disguise.error());
  ForwardAnswer answer = ReadForward(user.home, user.uid);
  answer.uid = user.uid;
  return answer;
}

}  // namespace holdfast
