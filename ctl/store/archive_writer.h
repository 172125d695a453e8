// A tar file, compressed with zstd, with a manifest of what is in it
// (storage/EXPORT.md).  Entries in the order they are given, with no times or
// owners of their own: the same mail makes the same manifest.
#ifndef HOLDFAST_CTL_STORE_ARCHIVE_WRITER_H_
#define HOLDFAST_CTL_STORE_ARCHIVE_WRITER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/crypto/sha256_stream.h"
#include "storage/owned_fd.h"

struct archive;

namespace holdfast {

// The manifest's lines; the reader makes the same ones to compare.
inline constexpr absl::string_view kManifestName = "manifest.json";
inline constexpr absl::string_view kAboutName = "export.json";
std::string ManifestBegin();
// Without a comma before the first.
std::string ManifestEntry(bool first, absl::string_view name, uint64_t size,
                          const std::string& sha256);
std::string ManifestEnd(uint64_t messages, uint64_t envelopes);

class ArchiveWriter {
 public:
  ArchiveWriter() = default;
  ~ArchiveWriter();
  ArchiveWriter(const ArchiveWriter&) = delete;
  ArchiveWriter& operator=(const ArchiveWriter&) = delete;

  // Writes to `fd`, which stays the caller's.
  absl::Status Open(int fd);
  // `listed`: stands in the manifest.
  absl::Status Begin(const std::string& name, uint64_t size,
                     bool listed = true);
  absl::Status Data(absl::string_view bytes);
  // kDataLoss: less or more than was announced.
  absl::Status End();
  absl::Status Add(const std::string& name, absl::string_view bytes,
                   bool listed = true);
  // Manifest and end; the manifest's SHA-256.
  absl::StatusOr<std::string> Finish(uint64_t messages, uint64_t envelopes);

 private:
  absl::Status Failed(absl::string_view what);
  absl::Status Note(absl::string_view text);

  struct archive* archive_ = nullptr;
  OwnedFd manifest_;  // without a name
  uint64_t manifest_bytes_ = 0;
  bool first_ = true;
  std::string name_;
  uint64_t size_ = 0, left_ = 0;
  bool listed_ = true;
  Sha256Stream digest_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_ARCHIVE_WRITER_H_
