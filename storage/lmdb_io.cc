#include "storage/lmdb_io.h"

#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace holdfast {
namespace {

// LMDB's two meta pages are the first two of the file (of 4,096 bytes).
constexpr off_t kMetaEnd = 2 * 4096;

thread_local IoWatch* current_watch = nullptr;
std::atomic<IoHook> test_hook{nullptr};

size_t TotalBytes(const iovec* pieces, int count) {
  size_t total = 0;
  for (int i = 0; i < count; ++i) total += pieces[i].iov_len;
  return total;
}

}  // namespace

struct IoWatchAccess {
  static void Note(IoCall call, ssize_t result, size_t wanted) {
    IoWatch* const watch = current_watch;
    if (watch == nullptr) return;
    if (call == IoCall::kSync) ++watch->syncs_;
    const bool failed = result < 0 || (call != IoCall::kSync &&
                                       static_cast<size_t>(result) < wanted);
    // An interrupted call is made again.
    if (!failed || watch->failed_ || (result < 0 && errno == EINTR)) return;
    watch->failed_ = true;
    watch->failure_ = {call, result < 0 ? errno : 0};
  }
};

namespace {

template <class Call>
ssize_t Watched(IoCall kind, size_t bytes, Call call) {
  ssize_t result;
  const IoHook hook = test_hook.load(std::memory_order_relaxed);
  const IoFault fault = hook == nullptr ? IoFault{} : hook(kind, bytes);
  if (fault.pass) {
    result = call();
  } else if (fault.error != 0) {
    errno = fault.error;
    result = -1;
  } else {
    result = static_cast<ssize_t>(bytes - fault.short_by);
  }
  const int saved = errno;
  IoWatchAccess::Note(kind, result, bytes);
  errno = saved;
  return result;
}

}  // namespace

bool IoFailure::NoRoom() const {
  return call == IoCall::kWrite &&
         (error == 0 || error == ENOSPC || error == EDQUOT);
}

IoWatch::IoWatch() { current_watch = this; }
IoWatch::~IoWatch() { current_watch = nullptr; }

void SetIoHookForTest(IoHook hook) { test_hook = hook; }

}  // namespace holdfast

extern "C" {

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  using holdfast::IoCall;
  return holdfast::Watched(
      offset < holdfast::kMetaEnd ? IoCall::kMetaWrite : IoCall::kWrite, size,
      [&] { return syscall(SYS_pwrite64, fd, bytes, size, offset); });
}

ssize_t pwritev(int fd, const iovec* pieces, int count, off_t offset) {
  // The kernel takes the offset in two halves; on 64 bits the low one is all.
  return holdfast::Watched(
      holdfast::IoCall::kWrite, holdfast::TotalBytes(pieces, count),
      [&] { return syscall(SYS_pwritev, fd, pieces, count, offset, 0); });
}

ssize_t writev(int fd, const iovec* pieces, int count) {
  return holdfast::Watched(
      holdfast::IoCall::kWrite, holdfast::TotalBytes(pieces, count),
      [&] { return syscall(SYS_writev, fd, pieces, count); });
}

int fdatasync(int fd) {
  return static_cast<int>(holdfast::Watched(
      holdfast::IoCall::kSync, 0, [&] { return syscall(SYS_fdatasync, fd); }));
}

int fsync(int fd) {
  return static_cast<int>(holdfast::Watched(
      holdfast::IoCall::kSync, 0, [&] { return syscall(SYS_fsync, fd); }));
}

}  // extern "C"
