// A log of all writes and flushes that a disk got, in the format of the
// kernel's dm-log-writes (which QEMU's blklogwrites driver writes, too), and
// what the disk may look like after a power cut at any point of it.
#ifndef HOLDFAST_CTL_LOAD_WRITE_LOG_H_
#define HOLDFAST_CTL_LOAD_WRITE_LOG_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

struct WriteLogEntry {
  uint64_t offset = 0;  // bytes on the disk
  uint64_t length = 0;  // bytes; 0: only a flush or a mark
  uint64_t data = 0;    // where the bytes are in the log
  bool flush = false;   // all earlier writes are durable when this is done
  bool fua = false;     // this write itself is durable when done
  bool discard = false;
};

// What of the writes that no flush covers is on the disk.
enum class CutMode {
  kNone,
  kAll,
  kHalf,    // each write with a chance of one half
  kTorn,    // each 512 bytes with a chance of one half
  kPrefix,  // the first some of them, the last one torn
};

// "none", "all", "half", "torn", "prefix"
absl::StatusOr<CutMode> ParseCutMode(absl::string_view text);

class WriteLog {
 public:
  // Reads the entries of `path`; the data stay in the file.
  static absl::StatusOr<WriteLog> Open(const std::string& path);

  const std::vector<WriteLogEntry>& entries() const { return entries_; }

  // Applies to the image at `image` what is on the disk when the power goes
  // after entry `cut` (a number of entries).  Writes at or above
  // `marker_offset` are always applied: they are the test's own, not the
  // disk's.
  absl::Status Replay(const std::string& image, size_t cut, CutMode mode,
                      uint64_t seed, uint64_t marker_offset) const;

 private:
  struct Closer {
    int fd = -1;
    ~Closer();
  };

  absl::Status Apply(int image, const WriteLogEntry& entry) const;
  absl::Status ApplyTorn(int image, const WriteLogEntry& entry, uint64_t seed,
                         uint64_t index) const;

  std::shared_ptr<Closer> file_;
  std::vector<WriteLogEntry> entries_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_LOAD_WRITE_LOG_H_
