// Reads such an archive, entry by entry, and finds out whether its manifest
// says what is in it.  Nothing is written anywhere, whatever the names are.
#ifndef HOLDFAST_CTL_STORE_ARCHIVE_READER_H_
#define HOLDFAST_CTL_STORE_ARCHIVE_READER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/crypto/sha256_stream.h"

struct archive;

namespace holdfast {

// Of one entry: a message.  What comes out of a small file may be large.
inline constexpr uint64_t kMaxArchiveEntry = 4ull << 30;
inline constexpr uint64_t kMaxArchiveEntries = 100'000'000;

class ArchiveReader {
 public:
  struct Entry {
    std::string name;
    uint64_t size = 0;
  };

  ArchiveReader() = default;
  ~ArchiveReader();
  ArchiveReader(const ArchiveReader&) = delete;
  ArchiveReader& operator=(const ArchiveReader&) = delete;

  // Reads from where `fd` stands; it stays the caller's.
  absl::Status Open(int fd);
  // The next entry that is mail; what was left of the one before is read
  // first.  nullopt: the manifest, after which nothing may come, and it is
  // right.  kDataLoss: it is not, or there is none.
  absl::StatusOr<std::optional<Entry>> Next();
  // Appends at most 64 KiB; false: the entry has no more.
  absl::StatusOr<bool> Read(std::string* out);
  // All of it; kDataLoss if it is longer than `limit`.
  absl::StatusOr<std::string> ReadAll(size_t limit);

  // The manifest's counts must be told before the last Next().
  void Count(uint64_t messages, uint64_t envelopes) {
    messages_ += messages;
    envelopes_ += envelopes;
  }
  uint64_t messages() const { return messages_; }
  uint64_t envelopes() const { return envelopes_; }
  // After the end.
  const std::string& manifest_digest() const { return manifest_digest_; }

 private:
  absl::Status Failed(absl::string_view what);
  absl::Status EndEntry();
  absl::StatusOr<std::optional<Entry>> ReadManifest();

  struct archive* archive_ = nullptr;
  std::optional<Entry> entry_;
  bool listed_ = false;
  uint64_t read_ = 0;     // of entry_
  uint64_t entries_ = 0;  // so far
  uint64_t messages_ = 0, envelopes_ = 0;
  Sha256Stream digest_;    // of entry_
  Sha256Stream manifest_;  // as it should be
  bool first_ = true;
  std::string manifest_digest_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_ARCHIVE_READER_H_
