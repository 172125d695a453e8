#include "storage/compact_store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/lmdb_env.h"
#include "storage/owned_fd.h"
#include "storage/owner_lock.h"

namespace holdfast {
namespace {

using Opener = absl::FunctionRef<absl::StatusOr<std::unique_ptr<QueueStore>>(
    const std::string& folder, bool read_only)>;

constexpr char kQueueFile[] = "/queue.mdb";
constexpr char kOwnerFile[] = "/owner.lock";

absl::Status Failed(const std::string& what) {
  return absl::InternalError(absl::StrCat(what, ": ", strerror(errno)));
}

absl::Status SyncFolder(const std::string& path) {
  const OwnedFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd && fsync(fd.get()) == 0 ? absl::OkStatus() : Failed(path);
}

// A folder below the store's, and all that may be in it; gone with this.
class Workplace {
 public:
  explicit Workplace(const std::string& folder) : path_(folder + "/compact") {
    Clear();  // what a crash left
  }
  ~Workplace() { Clear(); }
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;

  // With the lock that a store that is read has to have.
  absl::Status Make() const {
    if (mkdir(path_.c_str(), 0700) != 0) return Failed(path_);
    const OwnedFd lock(open((path_ + kOwnerFile).c_str(),
                            O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    return lock ? absl::OkStatus() : Failed(path_);
  }
  const std::string& path() const { return path_; }
  std::string file() const { return path_ + kQueueFile; }

 private:
  void Clear() const {
    for (const char* name : {kQueueFile, "/queue.mdb-lock", kOwnerFile})
      unlink((path_ + name).c_str());
    rmdir(path_.c_str());
  }

  const std::string path_;
};

// What must be the same in both.
struct Contents {
  CheckSummary check;
  StoreFigures figures;
  std::string uuid;
  Ledger ledger;
};

absl::StatusOr<Contents> Examine(QueueStore* store) {
  absl::StatusOr<CheckSummary> check = CheckQueue(
      store, [](absl::string_view) {}, nullptr);
  if (!check.ok()) return check.status();
  if (check->problems > 0)
    return absl::FailedPreconditionError(
        absl::StrCat("queue compact: ", check->problems,
                     " problems are in the way: queue check --repair"));
  absl::StatusOr<std::unique_ptr<QueueView>> view = store->View();
  if (!view.ok()) return view.status();
  return Contents{*check, (*view)->Figures(), store->uuid(),
                  (*view)->ReadLedger()};
}

bool AreSame(const Contents& a, const Contents& b) {
  if (a.uuid != b.uuid || a.check.messages != b.check.messages ||
      a.check.envelopes != b.check.envelopes ||
      a.check.chunks != b.check.chunks ||
      a.ledger.accepted != b.ledger.accepted ||
      a.ledger.queued != b.ledger.queued ||
      a.figures.tables.size() != b.figures.tables.size())
    return false;
  for (size_t i = 0; i < a.figures.tables.size(); ++i)
    if (a.figures.tables[i].rows != b.figures.tables[i].rows) return false;
  return true;
}

absl::Status Copy(const std::string& from, const std::string& to) {
  LmdbOptions options;
  options.path = from;
  options.read_only = true;
  const auto env = LmdbEnv::Open(options);
  if (!env.ok()) return env.status();
  const OwnedFd fd(
      open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return Failed(to);
  const absl::Status status = (*env)->CopyCompact(fd.get());
  if (!status.ok()) return status;
  return fsync(fd.get()) == 0 ? absl::OkStatus() : Failed(to);
}

uint64_t SizeOf(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size)
                                        : 0;
}

absl::StatusOr<Contents> ExamineFolder(const std::string& folder,
                                       bool read_only, Opener open) {
  absl::StatusOr<std::unique_ptr<QueueStore>> store = open(folder, read_only);
  if (!store.ok()) return store.status();
  return Examine(store->get());
}

}  // namespace

absl::StatusOr<CompactSummary> CompactStore(const std::string& folder,
                                            Opener open) {
  // Opened to write: what a crash left behind is dealt with first.
  absl::StatusOr<Contents> before =
      ExamineFolder(folder, /*read_only=*/false, open);
  if (!before.ok()) return before.status();
  absl::StatusOr<OwnerLock> lock =
      OwnerLock::Take(folder + kOwnerFile, /*exclusive=*/true);
  if (!lock.ok()) return lock.status();
  const bool was_clean = lock->was_clean();
  const std::string file = folder + kQueueFile;
  CompactSummary summary;
  summary.bytes_before = SizeOf(file);
  absl::Status status;
  {
    Workplace work(folder);
    status = work.Make();
    if (status.ok()) status = Copy(file, work.file());
    if (status.ok()) {
      const absl::StatusOr<Contents> after =
          ExamineFolder(work.path(), /*read_only=*/true, open);
      status = after.status();
      if (status.ok() && !AreSame(*before, *after))
        status = absl::FailedPreconditionError(
            "queue compact: the copy is not the same; nothing was changed");
    }
    summary.bytes_after = SizeOf(work.file());
    if (status.ok()) status = SyncFolder(work.path());
    if (status.ok() && rename(work.file().c_str(), file.c_str()) != 0)
      status = Failed(file);
    if (status.ok()) status = SyncFolder(folder);
  }
  if (was_clean) lock->MarkClean();
  if (!status.ok()) return status;
  summary.messages = before->check.messages;
  summary.envelopes = before->check.envelopes;
  return summary;
}

}  // namespace holdfast
