// What LMDB's system calls came to.  LMDB reports a short write, a full disk
// and a broken one alike, and does not say which call failed; the difference
// decides between "no room" and "failed sync" (FORMAT.md, "Errors").  So this
// library defines pwrite(2), writev(2), pwritev(2), fdatasync(2) and fsync(2)
// for the whole program (it must be linked into the executable; the dynamic
// linker then prefers these to libc's) and passes them on to the kernel.
#ifndef HOLDFAST_STORAGE_LMDB_IO_H_
#define HOLDFAST_STORAGE_LMDB_IO_H_

#include <cstddef>
#include <cstdint>

namespace holdfast {

enum class IoCall : uint8_t {
  kWrite,      // of data pages
  kMetaWrite,  // of a meta page: the commit itself
  kSync,
};

// The first failure of a call.
struct IoFailure {
  IoCall call = IoCall::kWrite;
  int error = 0;  // errno; 0: a short write

  // Whether more room is all it takes.
  bool NoRoom() const;
};

// While one lives, calls of this thread are watched.  One at a time a thread.
class IoWatch {
 public:
  IoWatch();
  ~IoWatch();
  IoWatch(const IoWatch&) = delete;
  IoWatch& operator=(const IoWatch&) = delete;

  const IoFailure* failure() const { return failed_ ? &failure_ : nullptr; }
  // Syncs seen: none means that the calls do not come here.
  int syncs() const { return syncs_; }

 private:
  friend struct IoWatchAccess;
  IoFailure failure_;
  bool failed_ = false;
  int syncs_ = 0;
};

// For tests: called before each watched call; what it returns happens instead
// of the call, unless `pass`.
struct IoFault {
  bool pass = true;
  int error = 0;        // errno of the failure, or
  size_t short_by = 0;  // write all but so many bytes
};
using IoHook = IoFault (*)(IoCall call, size_t bytes);
void SetIoHookForTest(IoHook hook);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_LMDB_IO_H_
