// queue backup DIR: an export, taken into a new store at once.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ctl/store/command_io.h"
#include "ctl/store/exporter.h"
#include "ctl/store/importer.h"
#include "protocol/vis.h"
#include "storage/owned_fd.h"

namespace holdfast {
namespace {

// Of a copy; the daemon that opens it sets its own.
constexpr uint64_t kMaxCopyBytes = 1ull << 40;
constexpr char kUnfinished[] = "/unfinished";

absl::Status SystemError(absl::string_view what) {
  return absl::InternalError(absl::StrCat(what, ": ", strerror(errno)));
}

// Makes the folder, the store's owner's; an empty one of his, as a backup that
// failed leaves it, will do.
absl::Status MakeFolder(const std::string& folder, const struct stat& owner) {
  std::error_code none;
  if (mkdir(folder.c_str(), 0700) != 0) {
    const absl::Status error = SystemError(folder);
    struct stat st = {};
    const bool theirs = lstat(folder.c_str(), &st) == 0 &&
                        S_ISDIR(st.st_mode) && st.st_uid == owner.st_uid;
    return theirs && std::filesystem::is_empty(folder, none) ? absl::OkStatus()
                                                             : error;
  }
  if (geteuid() == 0 && chown(folder.c_str(), owner.st_uid, owner.st_gid) != 0)
    return SystemError(folder);
  return absl::OkStatus();
}

absl::Status BecomeOwner(const struct stat& owner) {
  if (geteuid() != 0 || owner.st_uid == 0) return absl::OkStatus();
  if (setgroups(0, nullptr) != 0 || setgid(owner.st_gid) != 0 ||
      setuid(owner.st_uid) != 0)
    return SystemError("becoming the queue's owner");
  return absl::OkStatus();
}

absl::Status SyncFolder(const std::string& folder) {
  const OwnedFd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd && fsync(fd.get()) == 0 ? absl::OkStatus() : SystemError(folder);
}

struct Copied {
  ExportBegin begin;
  uint64_t messages = 0, envelopes = 0;
};

absl::StatusOr<Copied> CopyInto(QueueLink* from, QueueStore* to) {
  Progress progress("backup");
  const std::unique_ptr<QueueLink> link = LinkStore(to);
  ImportOptions options;
  options.ids = ImportOptions::Ids::kSame;
  Importer importer(link.get(), options);
  CountedTaker counted(&importer, &progress);
  ExportReader reader(&counted);
  reader.on_begin = [&](const ExportBegin& begin) {
    progress.SetTotal(begin.messages);
    return absl::OkStatus();
  };
  absl::Status status = from->Export(
      {}, [&](std::string piece) { return reader.Take(piece); },
      [&] { return reader.ended(); });
  if (status.ok()) status = reader.End();
  if (status.ok()) status = importer.Finish();
  if (!status.ok()) return status;
  if (reader.damaged() > 0)
    return absl::DataLossError(absl::StrCat(
        reader.damaged(), " envelopes are damaged: queue check --repair"));
  return Copied{reader.begin(), reader.messages(), reader.envelopes()};
}

// What was written is what was read, and every rule of the store holds.
absl::Status Verify(QueueStore* copy, const Copied& copied) {
  std::string first;
  const absl::StatusOr<CheckSummary> summary = CheckQueue(
      copy,
      [&](absl::string_view line) {
        if (first.empty()) first = VisEncode(line);
      },
      nullptr);
  if (!summary.ok()) return summary.status();
  if (summary->problems > 0)
    return absl::DataLossError(absl::StrCat("the copy is damaged: ", first));
  if (summary->messages != copied.messages ||
      summary->envelopes != copied.envelopes)
    return absl::DataLossError("the copy is not whole");
  return absl::OkStatus();
}

void RemoveUnfinished(const std::string& folder) {
  std::error_code ignored;
  std::filesystem::remove_all(folder + kUnfinished, ignored);
}

absl::StatusOr<Copied> Backup(const std::string& folder,
                              const std::string& name, QueueLink* from) {
  StoreOptions options;
  options.path = folder + kUnfinished;
  options.size_limit = kMaxCopyBytes;
  options.min_free = 0;
  options.on_warning = [](absl::string_view line) { Say(line); };
  absl::StatusOr<std::unique_ptr<QueueStore>> copy =
      QueueStore::Open(std::move(options));
  if (!copy.ok()) return copy.status();
  absl::StatusOr<Copied> copied = CopyInto(from, copy->get());
  if (!copied.ok()) return copied;
  absl::Status status = Verify(copy->get(), *copied);
  copy->reset();
  if (!status.ok()) return status;
  const std::string done = absl::StrCat(folder, "/", name);
  if (rename((folder + kUnfinished).c_str(), done.c_str()) != 0)
    return SystemError(done);
  status = SyncFolder(folder);
  if (!status.ok()) return status;
  return copied;
}

}  // namespace

int RunBackup(const std::vector<std::string>& words, const std::string& store,
              const std::string& socket, StoreOpener open, bool json) {
  if (words.size() != 1 || words[0].empty() || words[0][0] == '-')
    return Fail("queue backup FOLDER");
  struct stat owner = {};
  if (stat(store.c_str(), &owner) != 0)
    return Fail(absl::StrCat(store, ": ", strerror(errno)));
  absl::Status status = MakeFolder(words[0], owner);
  if (!status.ok()) return Fail(status);
  absl::StatusOr<LinkedQueue> queue =
      OpenQueue(socket, /*read_only=*/true, open);
  if (!queue.ok()) return Fail(queue.status());
  status = BecomeOwner(owner);
  if (!status.ok()) return Fail(status);
  const absl::StatusOr<Copied> copied =
      Backup(words[0], store.substr(store.rfind('/') + 1), queue->link.get());
  if (!copied.ok()) {
    RemoveUnfinished(words[0]);
    return Fail(absl::StrCat(std::string(copied.status().message()),
                             "; there is no backup in ", words[0]));
  }
  Json object;
  object["messages"] = copied->messages;
  object["envelopes"] = copied->envelopes;
  object["reports-left-out"] = copied->begin.reports;
  Summary(json, STDOUT_FILENO)
      .Tell(absl::StrCat("queue backup: ", copied->messages, " messages, ",
                         copied->envelopes, " envelopes, verified"),
            object);
  if (copied->begin.reports > 0)
    Say(absl::StrCat("queue backup: ", copied->begin.reports,
                     " reports that were about to be made are not in it"));
  return 0;
}

}  // namespace holdfast
