#include "ctl/delivery/maildir_delivery.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "ctl/delivery/helper_exit.h"
#include "protocol/header_watch.h"
#include "storage/mailbox/file_error.h"
#include "storage/mailbox/maildir_folder.h"
#include "storage/mailbox/spool_file.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

constexpr mode_t kFolderMode = 0700;
constexpr mode_t kFileMode = 0600;

// The Maildir itself, or the folder of the extension, if it exists.
absl::StatusOr<MaildirFolder> OpenTarget(const MaildirDelivery& delivery) {
  absl::StatusOr<MaildirFolder> base = OpenMaildir(delivery.path);
  if (!base.ok()) return base.status();
  if (fchmod(base->dir.get(), kFolderMode) != 0)
    return FileError(delivery.path);
  const std::string name = SubfolderName(delivery.extension);
  struct stat st;
  if (name.empty() ||
      fstatat(base->dir.get(), absl::StrCat(".", name).c_str(), &st, 0) != 0 ||
      !S_ISDIR(st.st_mode))
    return base;
  return OpenMaildir(absl::StrCat(delivery.path, "/.", name));
}

// Copies the message to `fd` and syncs it.  Says whether its header calls it
// spam.
absl::StatusOr<bool> WriteMessage(int input, int fd, const std::string& shown) {
  bool spam = false;
  HeaderWatch header([&spam](absl::string_view line) {
    spam = spam || HeaderLineIs(line, "X-Spam", "yes") ||
           HeaderLineIs(line, "X-Spam-Flag", "yes");
  });
  const absl::Status copied = ReadAll(input, [&](absl::string_view bytes) {
    header.Feed(bytes);
    return WriteAll(fd, bytes, shown);
  });
  if (!copied.ok()) return copied;
  if (fsync(fd) != 0) return FileError(shown);
  return spam;
}

absl::Status Publish(const MaildirFolder& from, const MaildirFolder& to,
                     const std::string& name) {
  const std::string shown = absl::StrCat(to.path, "/new");
  if (renameat(from.tmp.get(), name.c_str(), to.fresh.get(), name.c_str()) != 0)
    return FileError(absl::StrCat(shown, "/", name));
  if (fsync(to.fresh.get()) != 0) return FileError(shown);
  return absl::OkStatus();
}

}  // namespace

absl::Status DeliverToMaildir(const MaildirDelivery& delivery, int input) {
  absl::StatusOr<MaildirFolder> folder = OpenTarget(delivery);
  if (!folder.ok()) return folder.status();
  const std::string& name = delivery.file_name;
  const std::string shown = absl::StrCat(folder->path, "/tmp/", name);
  const OwnedFd fd(openat(folder->tmp.get(), name.c_str(),
                          O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                          kFileMode));
  if (!fd) return FileError(shown);
  const absl::StatusOr<bool> spam = WriteMessage(input, fd.get(), shown);
  absl::Status done = spam.status();
  if (spam.ok()) {
    if (delivery.junk && *spam) {
      const absl::StatusOr<MaildirFolder> junk =
          OpenMaildir(absl::StrCat(delivery.path, "/.Junk"));
      done = junk.ok() ? Publish(*folder, *junk, name) : junk.status();
    } else {
      done = Publish(*folder, *folder, name);
    }
  }
  if (!done.ok()) unlinkat(folder->tmp.get(), name.c_str(), 0);
  return done;
}

}  // namespace holdfast
