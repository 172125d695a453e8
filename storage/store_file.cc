#include "storage/store_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "storage/keys.h"
#include "storage/lmdb_env.h"
#include "storage/records.h"

namespace holdfast {
namespace {

constexpr size_t kMetaBytes = 2 * 4096;
// Looked at by one mincore(2).
constexpr uint64_t kWindowBytes = 1ull << 30;

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

absl::Status Failed(const std::string& path, const char* what) {
  return absl::InternalError(
      absl::StrCat(path, ": ", what, ": ", std::strerror(errno)));
}

absl::Status SyncFolder(const std::string& folder) {
  const Fd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || fsync(fd.get()) != 0) return Failed(folder, "sync");
  return absl::OkStatus();
}

absl::Status FillNewStore(const std::string& path, uint64_t uuid,
                          uint32_t first_message, uint64_t map_bytes) {
  LmdbOptions options;
  options.path = path;
  options.map_bytes = map_bytes;
  options.create = true;
  auto env = LmdbEnv::Open(options);
  if (!env.ok()) return env.status();
  SchemaRecord schema;
  schema.uuid = uuid;
  schema.created = absl::Now();
  StateRecord state;
  state.next_message = std::max<uint32_t>(first_message, 1);
  LmdbTxn txn(env->get(), LmdbTxn::kWrite);
  txn.Put(Table::kMeta, kSchemaKey, SealRow(kSchemaKey, schema));
  txn.Put(Table::kMeta, kStateKey, SealRow(kStateKey, state));
  return txn.Commit();
}

// Whether any page of the file is in the page cache; kInternal.
absl::StatusOr<bool> IsCached(const std::string& path, int fd, uint64_t size) {
  for (uint64_t at = 0; at < size; at += kWindowBytes) {
    const size_t bytes = std::min(kWindowBytes, size - at);
    void* const map =
        mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(at));
    if (map == MAP_FAILED) return Failed(path, "mmap");
    std::vector<unsigned char> pages((bytes + 4095) / 4096);
    const int result = mincore(map, bytes, pages.data());
    munmap(map, bytes);
    if (result != 0) return Failed(path, "mincore");
    if (std::any_of(pages.begin(), pages.end(),
                    [](unsigned char page) { return (page & 1) != 0; }))
      return true;
  }
  return false;
}

absl::Status CompareMetaPages(const std::string& path) {
  const Fd cached(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const Fd direct(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
  if (cached.get() < 0) return Failed(path, "open");
  // A file system without O_DIRECT (in memory) has no disk to differ from.
  if (direct.get() < 0) return absl::OkStatus();
  const std::unique_ptr<void, void (*)(void*)> buffer(
      std::aligned_alloc(4096, 2 * kMetaBytes), std::free);
  char* const a = static_cast<char*>(buffer.get());
  char* const b = a + kMetaBytes;
  if (pread(cached.get(), a, kMetaBytes, 0) !=
          static_cast<ssize_t>(kMetaBytes) ||
      pread(direct.get(), b, kMetaBytes, 0) != static_cast<ssize_t>(kMetaBytes))
    return Failed(path, "read");
  if (std::memcmp(a, b, kMetaBytes) != 0)
    return absl::DataLossError(absl::StrCat(
        path, ": the disk does not hold what the page cache shows"));
  return absl::OkStatus();
}

}  // namespace

absl::Status MakeStoreFolder(const std::string& folder) {
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return Failed(folder, "mkdir");
  struct stat info;
  if (stat(folder.c_str(), &info) != 0) return Failed(folder, "stat");
  if (!S_ISDIR(info.st_mode))
    return absl::FailedPreconditionError(
        absl::StrCat(folder, ": not a folder"));
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return absl::FailedPreconditionError(
        absl::StrCat(folder, ": others may write to it"));
  return absl::OkStatus();
}

absl::Status MakeStoreFile(const std::string& folder, const std::string& name,
                           uint64_t uuid, uint32_t first_message,
                           uint64_t map_bytes) {
  const std::string path = absl::StrCat(folder, "/", name);
  const std::string draft = path + ".new";
  // What a crash in here left.
  unlink(draft.c_str());
  absl::Status status = FillNewStore(draft, uuid, first_message, map_bytes);
  if (!status.ok()) return status;
  unlink((draft + "-lock").c_str());
  {
    const Fd fd(open(draft.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd.get() < 0 || fsync(fd.get()) != 0) return Failed(draft, "sync");
  }
  if (rename(draft.c_str(), path.c_str()) != 0) return Failed(path, "rename");
  return SyncFolder(folder);
}

absl::Status DistrustPageCache(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (fd.get() < 0) return Failed(path, "open");
  if (fsync(fd.get()) != 0) return Failed(path, "sync");
  if (posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED) != 0)
    return CompareMetaPages(path);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return Failed(path, "stat");
  const auto cached =
      IsCached(path, fd.get(), static_cast<uint64_t>(info.st_size));
  if (cached.ok() && !*cached) return absl::OkStatus();
  return CompareMetaPages(path);
}

}  // namespace holdfast
