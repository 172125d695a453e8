#include "server/agent/mbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "server/agent/maildir_folder.h"
#include "server/agent/mbox_lock.h"

namespace holdfast {
namespace {

constexpr mode_t kMode = 0660;
constexpr size_t kMaxUserBytes = 255;

bool IsUserName(absl::string_view user) {
  return !user.empty() && user.size() <= kMaxUserBytes && user[0] != '.' &&
         user.find('/') == absl::string_view::npos &&
         user.find('\0') == absl::string_view::npos;
}

// A mailbox that a crash cut off: the next letter must begin on a line of its
// own behind an empty one.
absl::StatusOr<std::string> MissingEnd(int fd, off_t size,
                                       const std::string& shown) {
  if (size == 0) return std::string();
  char last[2] = {'\n', '\n'};
  const off_t from = std::max<off_t>(size - 2, 0);
  const ssize_t n = pread(fd, last, static_cast<size_t>(size - from), from);
  if (n != static_cast<ssize_t>(size - from)) return FileError(shown);
  if (last[n - 1] != '\n') return std::string("\n\n");
  if (n == 2 && last[0] != '\n') return std::string("\n");
  return std::string();
}

}  // namespace

void MboxGroup::Begin(const AgentDelivery& delivery) {
  Letter& letter = letters_.emplace_back();
  letter.envelope = delivery.envelope;
  letter.user = delivery.mailbox_user;
  letter.offset = spool_->size();
  if (!IsUserName(letter.user))
    letter.status = absl::InvalidArgumentError("not a user name");
  encoder_ = std::make_unique<MboxEncoder>(delivery.from, CTime());
}

void MboxGroup::Spool(const std::string& bytes) {
  Letter& letter = letters_.back();
  if (!letter.status.ok()) return;
  letter.status = spool_->Append(bytes);
  letter.bytes = spool_->size() - letter.offset;
}

void MboxGroup::Write(absl::string_view bytes) {
  std::string encoded;
  encoder_->Write(bytes, &encoded);
  Spool(encoded);
}

void MboxGroup::End() {
  std::string encoded;
  encoder_->Finish(&encoded);
  Spool(encoded);
  encoder_.reset();
}

void MboxGroup::Cancel() {
  encoder_.reset();
  Letter& letter = letters_.back();
  if (letter.status.ok())
    letter.status = absl::UnavailableError("message body can't be read");
}

absl::StatusOr<OwnedFd> MboxGroup::OpenMailbox(int dir, const std::string& user,
                                               const std::string& shown) {
  constexpr int kFlags =
      O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  OwnedFd fd(openat(dir, user.c_str(), kFlags));
  if (!fd && errno == ENOENT) {
    fd.Reset(openat(dir, user.c_str(), kFlags | O_CREAT | O_EXCL, kMode));
    struct stat folder;
    if (!fd || fchmod(fd.get(), kMode) != 0 || fstat(dir, &folder) != 0)
      return FileError(shown);
    // The group of the folder, wherever it isn't inherited.
    if (fchown(fd.get(), static_cast<uid_t>(-1), folder.st_gid) != 0 &&
        errno != EPERM)
      return FileError(shown);
    if (fsync(dir) != 0) return FileError(shown);
  }
  if (!fd) return FileError(shown);
  struct stat st;
  if (fstat(fd.get(), &st) != 0) return FileError(shown);
  if (!S_ISREG(st.st_mode))
    return absl::UnavailableError(absl::StrCat(shown, ": not a regular file"));
  if (st.st_nlink != 1)
    return absl::UnavailableError(absl::StrCat(shown, ": has several links"));
  if (st.st_uid != options_.owner)
    return absl::UnavailableError(absl::StrCat(shown, ": not the user's own"));
  return fd;
}

void MboxGroup::Append(const std::string& user) {
  std::vector<Letter*> mine;
  for (Letter& letter : letters_) {
    if (letter.user == user && letter.status.ok()) mine.push_back(&letter);
  }
  auto fail_all = [&mine](const absl::Status& status) {
    for (Letter* letter : mine) letter->status = status;
  };
  const std::string shown = absl::StrCat(options_.mail_dir, "/", user);
  OwnedFd dir(
      open(options_.mail_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return fail_all(FileError(options_.mail_dir));
  absl::StatusOr<std::unique_ptr<DotLock>> lock =
      DotLock::Take(dir.get(), absl::StrCat(user, ".lock"), options_.mail_dir,
                    options_.lock_wait / 2);
  if (!lock.ok()) return fail_all(lock.status());
  absl::StatusOr<OwnedFd> mailbox = OpenMailbox(dir.get(), user, shown);
  if (!mailbox.ok()) return fail_all(mailbox.status());
  absl::Status locked =
      LockWholeFile(mailbox->get(), shown, options_.lock_wait / 2);
  if (!locked.ok()) return fail_all(locked);

  struct stat st;
  if (fstat(mailbox->get(), &st) != 0) return fail_all(FileError(shown));
  const off_t before = st.st_size;
  off_t size = before;
  absl::StatusOr<std::string> end = MissingEnd(mailbox->get(), size, shown);
  if (!end.ok()) return fail_all(end.status());
  for (Letter* letter : mine) {
    absl::Status s = WriteAll(mailbox->get(), *end, shown);
    if (s.ok()) {
      s = CopyRange(spool_->fd(), letter->offset, letter->bytes, mailbox->get(),
                    shown);
    }
    if (s.ok()) {
      size += static_cast<off_t>(end->size()) + letter->bytes;
      end->clear();
      continue;
    }
    letter->status = s;
    if (ftruncate(mailbox->get(), size) != 0) return fail_all(FileError(shown));
  }
  if (fsync(mailbox->get()) != 0) {
    const absl::Status failed = FileError(shown);
    if (ftruncate(mailbox->get(), before) != 0)
      return fail_all(FileError(shown));
    fail_all(failed);
  }
}

std::vector<AgentResults::One> MboxGroup::Commit() {
  std::set<std::string> users;
  for (const Letter& letter : letters_) {
    if (letter.status.ok()) users.insert(letter.user);
  }
  for (const std::string& user : users) Append(user);
  std::vector<AgentResults::One> results;
  for (const Letter& letter : letters_) {
    AgentResults::One& one = results.emplace_back();
    one.envelope = letter.envelope;
    one.ok = letter.status.ok();
    one.permanent = absl::IsInvalidArgument(letter.status);
    one.text = std::string(letter.status.message());
  }
  letters_.clear();
  spool_ = std::make_unique<SpoolFile>();
  return results;
}

}  // namespace holdfast
