#include "server/agent/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/agent/parallel_sync.h"
#include "storage/mailbox/file_error.h"

namespace holdfast {
namespace {

constexpr mode_t kFileMode = 0600;
// So many files are kept open before they are synced: the group of a large
// batch is synced in pieces (the renames still wait for the commit).
constexpr size_t kMaxUnsynced = 64;
constexpr char kDefaultFolder[] = "/Maildir";
constexpr char kJunkFolder[] = "Junk";

// A name that stays within its folder.
bool IsFileName(absl::string_view name) {
  return !name.empty() && name.size() <= NAME_MAX && name[0] != '.' &&
         name.find('/') == absl::string_view::npos &&
         name.find(':') == absl::string_view::npos &&
         name.find('\0') == absl::string_view::npos;
}

// rename(2) that never replaces.
int RenameNoReplace(int from, int to, const char* name) {
  if (renameat2(from, name, to, name, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  // A file system without it: a second link, then the first one goes.
  if (linkat(from, name, to, name, 0) != 0) return -1;
  unlinkat(from, name, 0);
  return 0;
}

}  // namespace

MaildirGroup::~MaildirGroup() {
  for (File& file : files_) {
    if (file.in_tmp)
      unlinkat(file.folder->tmp.get(), file.delivery.file_name.c_str(), 0);
  }
}

void MaildirGroup::Fail(File* file, absl::Status status) {
  if (!file->status.ok()) return;
  file->status = std::move(status);
  if (file->fd && !file->synced) {
    file->fd.Reset();
    --unsynced_;
  }
  if (file->in_tmp) {
    unlinkat(file->folder->tmp.get(), file->delivery.file_name.c_str(), 0);
    file->in_tmp = false;
  }
}

absl::StatusOr<MaildirFolder*> MaildirGroup::OpenFolder(
    const std::string& path) {
  auto it = folders_.find(path);
  if (it != folders_.end()) return &it->second;
  absl::StatusOr<MaildirFolder> folder = OpenMaildir(path);
  if (!folder.ok()) return folder.status();
  return &folders_.emplace(path, *std::move(folder)).first->second;
}

MaildirFolder* MaildirGroup::FindSubfolder(MaildirFolder* base,
                                           const std::string& name) {
  struct stat st;
  if (name.empty() ||
      fstatat(base->dir.get(), absl::StrCat(".", name).c_str(), &st, 0) != 0 ||
      !S_ISDIR(st.st_mode)) {
    return nullptr;
  }
  absl::StatusOr<MaildirFolder*> folder =
      OpenFolder(absl::StrCat(base->path, "/.", name));
  return folder.ok() ? *folder : nullptr;
}

absl::Status MaildirGroup::Open(File* file) {
  const AgentDelivery& delivery = file->delivery;
  if (!IsFileName(delivery.file_name))
    return absl::InvalidArgumentError("not a file name");
  std::string path = delivery.path;
  if (path.empty()) path = home_ + kDefaultFolder;
  absl::StatusOr<MaildirFolder*> base = OpenFolder(path);
  if (!base.ok()) return base.status();
  file->base = file->folder = *base;
  if (MaildirFolder* extension =
          FindSubfolder(*base, SubfolderName(delivery.subaddress))) {
    file->folder = extension;
  }
  return CreateTemporary(file);
}

absl::Status MaildirGroup::CreateTemporary(File* file) {
  const int dir = file->folder->tmp.get();
  const char* name = file->delivery.file_name.c_str();
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  int fd = openat(dir, name, kFlags, kFileMode);
  if (fd < 0 && errno == EEXIST) {
    // Left by an agent that was killed: no other one works on this envelope.
    unlinkat(dir, name, 0);
    fd = openat(dir, name, kFlags, kFileMode);
  }
  if (fd < 0) return FileError(absl::StrCat(file->folder->path, "/tmp"));
  file->fd.Reset(fd);
  file->in_tmp = true;
  ++unsynced_;
  return absl::OkStatus();
}

void MaildirGroup::Begin(const AgentDelivery& delivery) {
  if (unsynced_ >= kMaxUnsynced) SyncWritten();
  File& file = files_.emplace_back();
  file.delivery = delivery;
  if (delivery.junk) {
    file.header = std::make_unique<HeaderWatch>(
        [this, index = files_.size() - 1](absl::string_view line) {
          if (HeaderLineIs(line, "X-Spam", "yes") ||
              HeaderLineIs(line, "X-Spam-Flag", "yes"))
            files_[index].spam = true;
        });
  }
  if (absl::Status s = Open(&file); !s.ok()) Fail(&file, std::move(s));
}

void MaildirGroup::Write(absl::string_view bytes) {
  File& file = files_.back();
  if (!file.status.ok()) return;
  if (file.header != nullptr && !file.header->Feed(bytes)) file.header.reset();
  while (!bytes.empty()) {
    const ssize_t n = write(file.fd.get(), bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      Fail(&file, FileError(absl::StrCat(file.folder->path, "/tmp")));
      return;
    }
    bytes.remove_prefix(static_cast<size_t>(n));
    file.bytes += static_cast<uint64_t>(n);
  }
}

void MaildirGroup::End() { files_.back().header.reset(); }

void MaildirGroup::Cancel() {
  End();
  Fail(&files_.back(), absl::UnavailableError("message body can't be read"));
}

void MaildirGroup::SyncWritten() {
  std::vector<File*> files;
  std::vector<int> fds;
  for (File& file : files_) {
    if (!file.fd || file.synced) continue;
    files.push_back(&file);
    fds.push_back(file.fd.get());
  }
  const std::vector<int> errors = SyncAll(fds);
  for (size_t i = 0; i < files.size(); ++i) {
    if (errors[i] != 0) {
      errno = errors[i];
      Fail(files[i], FileError(absl::StrCat(files[i]->folder->path, "/tmp")));
      continue;
    }
    files[i]->synced = true;
    files[i]->fd.Reset();
    --unsynced_;
  }
}

absl::StatusOr<MaildirFolder*> MaildirGroup::TargetFolder(File* file) {
  if (!file->spam) return file->folder;
  return OpenFolder(absl::StrCat(file->base->path, "/.", kJunkFolder));
}

absl::StatusOr<bool> MaildirGroup::FoundEarlier(const File& file) {
  // The subfolder may have been made, or removed, since the first attempt.
  std::vector<const MaildirFolder*> places = {file.base};
  if (file.folder != file.base) places.push_back(file.folder);
  if (const MaildirFolder* junk = FindSubfolder(file.base, kJunkFolder))
    places.push_back(junk);
  for (const MaildirFolder* place : places) {
    absl::StatusOr<bool> found =
        FindAndSync(*place, file.delivery.file_name, file.bytes);
    if (!found.ok() || *found) return found;
  }
  return false;
}

void MaildirGroup::Place(File* file, std::vector<MaildirFolder*>* touched) {
  const char* name = file->delivery.file_name.c_str();
  if (file->delivery.in_doubt) {
    absl::StatusOr<bool> found = FoundEarlier(*file);
    if (!found.ok()) {
      Fail(file, found.status());
      file->in_doubt = true;
      return;
    }
    if (*found) {
      unlinkat(file->folder->tmp.get(), name, 0);
      file->in_tmp = false;
      return;
    }
  }
  absl::StatusOr<MaildirFolder*> target = TargetFolder(file);
  if (!target.ok()) return Fail(file, target.status());
  if (RenameNoReplace(file->folder->tmp.get(), (*target)->fresh.get(), name) !=
      0) {
    return Fail(file, FileError(absl::StrCat((*target)->path, "/new/", name)));
  }
  file->in_tmp = false;
  file->folder = *target;
  if (std::find(touched->begin(), touched->end(), *target) == touched->end())
    touched->push_back(*target);
}

std::vector<AgentResults::One> MaildirGroup::Commit() {
  SyncWritten();
  std::vector<MaildirFolder*> touched;
  std::vector<File*> renamed;
  for (File& file : files_) {
    if (!file.status.ok()) continue;
    Place(&file, &touched);
    if (file.status.ok()) renamed.push_back(&file);
  }
  std::vector<int> fds;
  for (MaildirFolder* folder : touched) fds.push_back(folder->fresh.get());
  const std::vector<int> errors = SyncAll(fds);
  for (File* file : renamed) {
    const auto it = std::find(touched.begin(), touched.end(), file->folder);
    if (it == touched.end()) continue;  // found, and synced then
    errno = errors[static_cast<size_t>(it - touched.begin())];
    if (errno == 0) continue;
    Fail(file, FileError(absl::StrCat(file->folder->path, "/new")));
    file->in_doubt = true;
  }
  std::vector<AgentResults::One> results;
  for (const File& file : files_) {
    AgentResults::One& one = results.emplace_back();
    one.envelope = file.delivery.envelope;
    one.ok = file.status.ok();
    one.permanent = absl::IsInvalidArgument(file.status);
    one.text = std::string(file.status.message());
    one.in_doubt = file.in_doubt;
  }
  files_.clear();
  folders_.clear();
  unsynced_ = 0;
  return results;
}

}  // namespace holdfast
