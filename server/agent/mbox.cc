#include "server/agent/mbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "server/agent/maildir_folder.h"
#include "server/agent/mbox_lock.h"

namespace holdfast {
namespace {

constexpr mode_t kMode = 0660;
constexpr size_t kCopyBytes = 64 << 10;
constexpr size_t kMaxUserBytes = 255;

absl::StatusOr<OwnedFd> OpenTemporary() {
  OwnedFd fd(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd) return fd;
  char name[] = "/tmp/smtpd.XXXXXXXXXX";
  fd.Reset(mkostemp(name, O_CLOEXEC));
  if (!fd) return FileError("/tmp");
  unlink(name);
  return fd;
}

absl::Status WriteAll(int fd, absl::string_view bytes,
                      const std::string& shown) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) return FileError(shown);
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

// In local time, as ctime(3), without its line end.
std::string CTime() {
  const time_t now = time(nullptr);
  struct tm local;
  localtime_r(&now, &local);
  char text[64];
  const size_t n = strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", &local);
  return std::string(text, n);
}

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
  letter.offset = spooled_;
  if (!IsUserName(letter.user)) {
    letter.status = absl::InvalidArgumentError("not a user name");
  } else if (!spool_) {
    absl::StatusOr<OwnedFd> spool = OpenTemporary();
    if (spool.ok())
      spool_ = *std::move(spool);
    else
      letter.status = spool.status();
  }
  encoder_ = std::make_unique<MboxEncoder>(delivery.from, CTime());
}

void MboxGroup::Spool(const std::string& bytes) {
  Letter& letter = letters_.back();
  if (!letter.status.ok()) return;
  letter.status = WriteAll(spool_.get(), bytes, "/tmp");
  if (letter.status.ok()) {
    spooled_ += static_cast<off_t>(bytes.size());
    letter.bytes += static_cast<off_t>(bytes.size());
  } else if (ftruncate(spool_.get(), spooled_) != 0 ||
             lseek(spool_.get(), spooled_, SEEK_SET) < 0) {
    letter.status = FileError("/tmp");
  }
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

absl::Status MboxGroup::CopyLetter(const Letter& letter, int mailbox) {
  std::string buffer(kCopyBytes, '\0');
  off_t done = 0;
  while (done < letter.bytes) {
    const size_t want =
        std::min(kCopyBytes, static_cast<size_t>(letter.bytes - done));
    const ssize_t n =
        pread(spool_.get(), &buffer[0], want, letter.offset + done);
    if (n == 0) return absl::UnavailableError("/tmp: file ends early");
    if (n < 0 && errno != EINTR) return FileError("/tmp");
    if (n <= 0) continue;
    absl::Status s = WriteAll(
        mailbox, absl::string_view(buffer).substr(0, static_cast<size_t>(n)),
        absl::StrCat(options_.mail_dir, "/", letter.user));
    if (!s.ok()) return s;
    done += n;
  }
  return absl::OkStatus();
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
    if (s.ok()) s = CopyLetter(*letter, mailbox->get());
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
  spool_.Reset();
  spooled_ = 0;
  return results;
}

}  // namespace holdfast
