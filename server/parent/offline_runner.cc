#include "server/parent/offline_runner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "protocol/offline_file.h"
#include "protocol/vis.h"
#include "server/agent/agent_arguments.h"
#include "server/log/log.h"

namespace holdfast {

namespace {

// A lease for reading is refused while somebody has the file open for writing:
// its sendmail has not come to its end.  (parent ignores SIGIO, in case
// somebody opens it in between.)
bool IsBeingWritten(int fd) {
  if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0) return errno == EAGAIN;
  fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
}

constexpr mode_t kMessageMode = S_IRUSR | S_IWUSR;
constexpr uint64_t kBlockBytes = 512;  // of stat(2), whatever the file system

// Why what was opened is no message; empty: it is one.
absl::string_view WhyNot(const struct stat& st, const struct stat& scanned,
                         gid_t group) {
  if (!S_ISREG(st.st_mode)) return "not a regular file";
  if (st.st_nlink != 1) return "has several links";
  if (st.st_uid != scanned.st_uid || st.st_gid != scanned.st_gid ||
      st.st_ino != scanned.st_ino || st.st_dev != scanned.st_dev)
    return "changed while it was looked at";
  if (st.st_gid != group) return "was not made in this folder";
  if ((st.st_mode & 07777) != kMessageMode) return "has another mode than 0600";
  return "";
}

}  // namespace

absl::StatusOr<OfflineMessage> OpenOffline(int dir, const std::string& name,
                                           uint64_t max_bytes) {
  auto bad = [](const char* why) { return absl::InvalidArgumentError(why); };
  struct stat folder, scanned, st;
  if (fstat(dir, &folder) != 0 ||
      fstatat(dir, name.c_str(), &scanned, AT_SYMLINK_NOFOLLOW) != 0)
    return absl::NotFoundError(strerror(errno));
  // Looked at before it is opened: opening a device may do something.
  if (!S_ISREG(scanned.st_mode)) return bad("not a regular file");
  OfflineMessage message;
  message.fd.Reset(
      openat(dir, name.c_str(),
             O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!message.fd || fstat(message.fd.get(), &st) != 0)
    return absl::NotFoundError(strerror(errno));
  const absl::string_view why = WhyNot(st, scanned, folder.st_gid);
  if (!why.empty()) return absl::InvalidArgumentError(why);
  if (IsBeingWritten(message.fd.get()))
    return absl::NotFoundError("not yet complete");
  message.owner = st.st_uid;
  message.device = st.st_dev;
  message.inode = st.st_ino;
  if (st.st_size == 0) {
    message.empty = true;
    return message;
  }
  if (static_cast<uint64_t>(st.st_size) > max_bytes + kMaxOfflineArguments)
    return bad("message too large");

  std::string head(kMaxOfflineArguments, '\0');
  const ssize_t n = pread(message.fd.get(), &head[0], head.size(), 0);
  if (n < 0) return absl::UnavailableError(strerror(errno));
  head.resize(static_cast<size_t>(n));
  const size_t end = head.find('\n');
  if (end == std::string::npos) return bad("no line of arguments");
  head.resize(end);
  if (head.find('\0') != std::string::npos) return bad("NUL in arguments");
  message.arguments = absl::StrSplit(head, '|');
  if (message.arguments.front() != kOfflineFileMark)
    return bad("does not begin as a message does");
  message.arguments.erase(message.arguments.begin());
  if (lseek(message.fd.get(), static_cast<off_t>(end + 1), SEEK_SET) < 0)
    return absl::UnavailableError(strerror(errno));
  return message;
}

void OfflineRunner::Begin() { After(kOfflineFirst); }

void OfflineRunner::After(absl::Duration delay) {
  next_ = loop_->RunAfter(delay, [this] { Scan(); });
}

bool OfflineRunner::BeginScan() {
  folder_.Reset(open(options_.folder.c_str(),
                     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st;
  if (!folder_ || fstat(folder_.get(), &st) != 0) return false;
  folder_owner_ = st.st_uid;
  folder_group_ = st.st_gid;
  const int fd = fcntl(folder_.get(), F_DUPFD_CLOEXEC, 0);
  dir_.reset(fd >= 0 ? fdopendir(fd) : nullptr);
  if (dir_ == nullptr && fd >= 0) close(fd);
  usage_.Clear();
  removals_ = kMaxOfflineRemovals;
  // What is not refused any more is tried again.
  const absl::Duration now = loop_->Elapsed();
  for (auto it = refused_.begin(); it != refused_.end();)
    it = it->second <= now ? refused_.erase(it) : std::next(it);
  return dir_ != nullptr;
}

void OfflineRunner::EndScan() {
  dir_.reset();
  for (const auto& [owner, count] : removed_)
    LogWarn("warn: %s: %d removed that were uid %d's: too much, or no files",
            options_.folder, count, owner);
  removed_.clear();
  limits_hold_ = true;
  After(kOfflineEvery);
}

void OfflineRunner::Scan() {
  if (dir_ == nullptr && !BeginScan()) {
    LogWarn("warn: %s: %s", options_.folder, strerror(errno));
    return After(kOfflineEvery);
  }
  for (int i = 0; i < kOfflineSlice; ++i) {
    if (running_.size() >= kMaxOfflineRuns) break;
    const dirent* entry = readdir(dir_.get());
    if (entry == nullptr) return EndScan();
    const std::string name = entry->d_name;
    if (name != "." && name != ".." && Keep(name)) Consider(name);
  }
  After(kOfflinePause);
}

bool OfflineRunner::Keep(const std::string& name) {
  struct stat st;
  if (fstatat(folder_.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return false;
  // Who owns the folder is trusted not to fill it.
  if (!limits_hold_ || st.st_uid == folder_owner_) return true;
  if (S_ISDIR(st.st_mode)) {
    ++removed_[st.st_uid];
    RemoveOfflineFolder(folder_.get(), name, st.st_uid, &removals_);
    return false;
  }
  std::optional<uid_t> owner;
  if (st.st_gid == folder_group_) owner = st.st_uid;
  const uint64_t bytes = static_cast<uint64_t>(st.st_blocks) * kBlockBytes;
  if (usage_.Add(owner, bytes)) return true;
  if (running_.count(name) != 0) return false;
  ++removed_[st.st_uid];
  Remove(name, st.st_dev, st.st_ino);
  return false;
}

void OfflineRunner::Consider(const std::string& name) {
  // Such names no sendmail gives.
  if (name[0] == '.') return;
  if (running_.count(name) != 0 || refused_.count(name) != 0) return;
  absl::StatusOr<OfflineMessage> message =
      OpenOffline(folder_.get(), name, options_.max_message_size);
  if (absl::IsNotFound(message.status())) return;  // gone, or still unreadable
  if (!message.ok())
    return Refuse(name, std::string(message.status().message()));
  if (message->empty) {
    // A sendmail may be about to write it; one that was killed never will.
    struct stat st;
    if (fstat(message->fd.get(), &st) == 0 &&
        loop_->Now() - absl::TimeFromTimespec(st.st_mtim) > kOfflineRetry)
      Remove(name, message->device, message->inode);
    return;
  }
  if (!options_.privileged && message->owner != options_.own_uid) return;
  if (options_.smtpctl.empty()) return Refuse(name, "not found");
  Launch(name, *std::move(message));
}

void OfflineRunner::Launch(const std::string& name, OfflineMessage message) {
  AgentArguments arguments;
  arguments.privileged = options_.privileged;
  arguments.exec_uid = message.owner;
  arguments.exec = {options_.smtpctl, "sendmail", "-S"};
  arguments.exec.insert(arguments.exec.end(), message.arguments.begin(),
                        message.arguments.end());
  ProgramStart program;
  program.path = options_.agent;
  program.arguments = ToArguments(arguments);
  if (!options_.spool.empty())
    program.environment.push_back(absl::StrCat("SMTPD_SPOOL=", options_.spool));
  program.standard_input = std::move(message.fd);
  program.quiet = true;
  absl::StatusOr<pid_t> pid = processes_->Start(
      std::move(program),
      [this, name](int wait_status) { OnExit(name, wait_status); });
  if (!pid.ok()) return Refuse(name, std::string(pid.status().message()));
  Run& run = running_[name];
  run.pid = *pid;
  run.device = message.device;
  run.inode = message.inode;
  run.deadline = loop_->RunAfter(kOfflineDeadline, [this, started = *pid] {
    processes_->Kill(started, SIGKILL);
  });
}

void OfflineRunner::OnExit(const std::string& name, int wait_status) {
  auto it = running_.find(name);
  if (it == running_.end()) return;
  const Run run = std::move(it->second);
  running_.erase(it);
  if (wait_status == 0)
    Remove(name, run.device, run.inode);
  else
    Refuse(name, HowItEnded(wait_status));
}

void OfflineRunner::Refuse(const std::string& name, const std::string& cause) {
  LogWarn("warn: smtpd: couldn't enqueue offline message %s/%s; smtpctl %s",
          options_.folder, VisEncode(name), cause);
  if (refused_.size() < kMaxOfflineRefused)
    refused_[name] = loop_->Elapsed() + kOfflineRetry;
}

void OfflineRunner::Remove(const std::string& name, uint64_t device,
                           uint64_t inode) {
  struct stat st;
  if (fstatat(folder_.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 ||
      st.st_dev != device || st.st_ino != inode)
    return;
  if (unlinkat(folder_.get(), name.c_str(), 0) != 0)
    LogWarn("warn: %s/%s: %s", options_.folder, VisEncode(name),
            strerror(errno));
}

}  // namespace holdfast
