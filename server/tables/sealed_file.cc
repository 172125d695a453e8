#include "server/tables/sealed_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

absl::Status SystemError(int error) {
  return absl::NotFoundError(strerror(error));
}

FileStamp StampFrom(const struct stat& st) {
  FileStamp stamp;
  stamp.device = st.st_dev;
  stamp.inode = st.st_ino;
  stamp.size = st.st_size;
  stamp.changed_ns =
      int64_t{st.st_mtim.tv_sec} * 1000000000 + st.st_mtim.tv_nsec;
  return stamp;
}

absl::StatusOr<OwnedFd> MakeMemory() {
  OwnedFd memory(memfd_create("table", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return SystemError(errno);
  return memory;
}

absl::Status WriteAll(int fd, const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, bytes, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError(errno);
    bytes += n;
    size -= static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status Copy(int from, int to) {
  static constexpr size_t kPiece = 256 << 10;
  const std::unique_ptr<char[]> buffer(new char[kPiece]);
  size_t total = 0;
  while (true) {
    const ssize_t n = read(from, buffer.get(), kPiece);
    if (n == 0) return absl::OkStatus();
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError(errno);
    total += static_cast<size_t>(n);
    if (total > kMaxTableFileBytes) return SystemError(EFBIG);
    absl::Status written = WriteAll(to, buffer.get(), static_cast<size_t>(n));
    if (!written.ok()) return written;
  }
}

absl::Status Seal(int memory) {
  return fcntl(memory, F_ADD_SEALS, kSeals) == 0 ? absl::OkStatus()
                                                 : SystemError(errno);
}

// /dev/null: a table with nothing in it, by tradition.
bool IsNullDevice(const struct stat& st) {
  return S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

}  // namespace

absl::StatusOr<FileStamp> StampOf(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return SystemError(errno);
  return StampFrom(st);
}

absl::StatusOr<SealedFile> SealFile(const std::string& path) {
  if (path.find('\0') != std::string::npos) return SystemError(EINVAL);
  const OwnedFd file(
      open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat st;
  if (!file || fstat(file.get(), &st) != 0) return SystemError(errno);
  if (S_ISDIR(st.st_mode)) return SystemError(EISDIR);
  if (!S_ISREG(st.st_mode) && !IsNullDevice(st))
    return absl::NotFoundError("Not a regular file");
  absl::StatusOr<OwnedFd> memory = MakeMemory();
  if (!memory.ok()) return memory.status();
  absl::Status status = Copy(file.get(), memory->get());
  if (status.ok()) status = Seal(memory->get());
  if (!status.ok()) return status;
  SealedFile sealed;
  sealed.memory = *std::move(memory);
  sealed.stamp = StampFrom(st);
  return sealed;
}

absl::StatusOr<OwnedFd> SealBytes(absl::string_view bytes) {
  absl::StatusOr<OwnedFd> memory = MakeMemory();
  if (!memory.ok()) return memory.status();
  absl::Status status = WriteAll(memory->get(), bytes.data(), bytes.size());
  if (status.ok()) status = Seal(memory->get());
  if (!status.ok()) return status;
  return memory;
}

absl::StatusOr<std::shared_ptr<const TableContents>> ParseSealed(
    int memory, const Table& table) {
  struct stat st;
  // What is not sealed could shrink under the mapping.
  if ((fcntl(memory, F_GET_SEALS) & kSeals) != kSeals ||
      fstat(memory, &st) != 0) {
    return absl::InternalError(
        absl::StrCat(table.path(), ": not in sealed memory"));
  }
  const auto size = static_cast<size_t>(st.st_size);
  void* mapped = nullptr;
  if (size > 0) {
    mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED, memory, 0);
    if (mapped == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          absl::StrCat(table.path(), ": ", strerror(errno)));
    }
  }
  absl::StatusOr<std::shared_ptr<const TableContents>> contents =
      ParseTableBytes(table.backend(), table.path(),
                      {static_cast<const char*>(mapped), size});
  if (size > 0) munmap(mapped, size);
  if (!contents.ok()) return contents;
  absl::Status fits = table.CheckUses(**contents);
  if (!fits.ok()) return fits;
  table.Prepare(**contents);
  return contents;
}

}  // namespace holdfast
