#include "ctl/load/write_log.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

// struct log_write_super and log_write_entry of the kernel's
// drivers/md/dm-log-writes.c; little endian.
constexpr uint64_t kMagic = 0x6a736677736872;
constexpr uint64_t kVersion = 1;
constexpr uint64_t kFlush = 1;
constexpr uint64_t kFua = 2;
constexpr uint64_t kDiscard = 4;
constexpr uint64_t kMark = 8;

constexpr uint64_t kDiskSector = 512;  // unit of an entry's position
constexpr uint64_t kTornPiece = 512;   // what a disk writes whole
constexpr uint64_t kLargestWrite = 64 << 20;

struct SuperBlock {
  uint64_t magic, version, entries;
  uint32_t sector_size;
};

struct EntryBlock {
  uint64_t sector, sectors, flags, data_length;
};

absl::Status SystemError(const std::string& what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(errno)));
}

absl::Status ReadAt(int fd, uint64_t offset, void* out, size_t length) {
  const ssize_t got = pread(fd, out, length, offset);
  if (got < 0) return SystemError("write log");
  if (static_cast<size_t>(got) != length) {
    return absl::DataLossError("the write log ends too early");
  }
  return absl::OkStatus();
}

absl::Status WriteAt(int fd, uint64_t offset, const char* bytes,
                     size_t length) {
  if (pwrite(fd, bytes, length, offset) != static_cast<ssize_t>(length)) {
    return SystemError("image");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CutMode> ParseCutMode(absl::string_view text) {
  if (text == "none") return CutMode::kNone;
  if (text == "all") return CutMode::kAll;
  if (text == "half") return CutMode::kHalf;
  if (text == "torn") return CutMode::kTorn;
  if (text == "prefix") return CutMode::kPrefix;
  return absl::InvalidArgumentError(absl::StrCat("no such mode: ", text));
}

WriteLog::Closer::~Closer() {
  if (fd >= 0) close(fd);
}

absl::StatusOr<WriteLog> WriteLog::Open(const std::string& path) {
  WriteLog log;
  log.file_ = std::make_shared<Closer>();
  log.file_->fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (log.file_->fd < 0) return SystemError(path);
  SuperBlock super{};
  absl::Status read = ReadAt(log.file_->fd, 0, &super, sizeof(super));
  if (!read.ok()) return read;
  const uint64_t unit = le32toh(super.sector_size);
  if (le64toh(super.magic) != kMagic || le64toh(super.version) != kVersion ||
      unit < kDiskSector || unit > 65536) {
    return absl::DataLossError(absl::StrCat(path, ": not a write log"));
  }
  uint64_t at = unit;
  for (uint64_t i = 0; i < le64toh(super.entries); ++i) {
    EntryBlock block{};
    read = ReadAt(log.file_->fd, at, &block, sizeof(block));
    if (!read.ok()) return read;
    at += unit;
    const uint64_t flags = le64toh(block.flags);
    WriteLogEntry entry;
    entry.offset = le64toh(block.sector) * unit;
    entry.length = le64toh(block.sectors) * unit;
    entry.data = at;
    entry.flush = flags & kFlush;
    entry.fua = flags & kFua;
    entry.discard = flags & kDiscard;
    if (flags & kMark) {
      entry.length = 0;
      at += (le64toh(block.data_length) + unit - 1) / unit * unit;
    } else if (!entry.discard) {
      if (entry.length > kLargestWrite) {
        return absl::DataLossError(absl::StrCat(path, ": entry ", i));
      }
      at += entry.length;
    }
    log.entries_.push_back(entry);
  }
  return log;
}

absl::Status WriteLog::Apply(int image, const WriteLogEntry& entry) const {
  if (entry.length == 0) return absl::OkStatus();
  if (entry.discard) {
    if (fallocate(image, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  entry.offset, entry.length) != 0) {
      return SystemError("fallocate");
    }
    return absl::OkStatus();
  }
  std::string bytes(entry.length, '\0');
  const absl::Status read =
      ReadAt(file_->fd, entry.data, bytes.data(), bytes.size());
  if (!read.ok()) return read;
  return WriteAt(image, entry.offset, bytes.data(), bytes.size());
}

absl::Status WriteLog::ApplyTorn(int image, const WriteLogEntry& entry,
                                 uint64_t seed, uint64_t index) const {
  if (entry.discard) return absl::OkStatus();
  std::mt19937_64 random(seed * 1000003 + index);
  std::string bytes(entry.length, '\0');
  const absl::Status read =
      ReadAt(file_->fd, entry.data, bytes.data(), bytes.size());
  if (!read.ok()) return read;
  for (uint64_t at = 0; at < bytes.size(); at += kTornPiece) {
    if (random() & 1) continue;
    const absl::Status written =
        WriteAt(image, entry.offset + at, bytes.data() + at,
                std::min<uint64_t>(kTornPiece, bytes.size() - at));
    if (!written.ok()) return written;
  }
  return absl::OkStatus();
}

absl::Status WriteLog::Replay(const std::string& image, size_t cut,
                              CutMode mode, uint64_t seed,
                              uint64_t marker_offset) const {
  cut = std::min(cut, entries_.size());
  Closer target;
  target.fd = open(image.c_str(), O_RDWR | O_CLOEXEC);
  if (target.fd < 0) return SystemError(image);
  // What the last flush covers: everything before it.
  size_t durable = cut;
  while (durable > 0 && !entries_[durable - 1].flush) --durable;
  std::mt19937_64 random(seed);
  const size_t open_writes = cut - durable;
  const size_t prefix = open_writes > 0 ? random() % (open_writes + 1) : 0;
  for (size_t i = 0; i < cut; ++i) {
    const WriteLogEntry& entry = entries_[i];
    const bool certain =
        i < durable || entry.fua || entry.offset >= marker_offset;
    absl::Status applied;
    if (certain || mode == CutMode::kAll) {
      applied = Apply(target.fd, entry);
    } else if (mode == CutMode::kHalf) {
      if (random() & 1) applied = Apply(target.fd, entry);
    } else if (mode == CutMode::kTorn) {
      applied = ApplyTorn(target.fd, entry, seed, i);
    } else if (mode == CutMode::kPrefix && i - durable < prefix) {
      applied = i - durable + 1 < prefix ? Apply(target.fd, entry)
                                         : ApplyTorn(target.fd, entry, seed, i);
    }
    if (!applied.ok()) return applied;
  }
  return absl::OkStatus();
}

}  // namespace holdfast
