// Octets that are pulled, piece by piece, and what can lie around them: a file,
// the seal and the compression of OpenSMTPD's queue.
#ifndef HOLDFAST_CTL_SPOOL_BYTE_SOURCE_H_
#define HOLDFAST_CTL_SPOOL_BYTE_SOURCE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Appends what comes next, at most 64 KiB; false: that was all.  kDataLoss.
  virtual absl::StatusOr<bool> Read(std::string* out) = 0;
};

inline constexpr size_t kSourcePiece = 64 << 10;

class TextSource : public ByteSource {
 public:
  // `text` outlives it.
  explicit TextSource(absl::string_view text) : text_(text) {}
  absl::StatusOr<bool> Read(std::string* out) override;

 private:
  absl::string_view text_;
};

// From where `fd` stands, which stays the caller's.
class FileSource : public ByteSource {
 public:
  explicit FileSource(int fd) : fd_(fd) {}
  absl::StatusOr<bool> Read(std::string* out) override;

 private:
  const int fd_;
};

// One octet 1, a nonce of 12, AES-256-GCM, its tag of 16.  Only the end of it
// says whether what was read is true: read all of it once before using any.
class UnsealedSource : public ByteSource {
 public:
  UnsealedSource(std::unique_ptr<ByteSource> sealed, absl::string_view key);
  ~UnsealedSource() override;
  absl::StatusOr<bool> Read(std::string* out) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// gzip (RFC 1952).
class GunzipSource : public ByteSource {
 public:
  explicit GunzipSource(std::unique_ptr<ByteSource> packed);
  ~GunzipSource() override;
  absl::StatusOr<bool> Read(std::string* out) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// All of it; kDataLoss, if it is more than `limit`.
absl::StatusOr<std::string> ReadWhole(ByteSource* source, size_t limit);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SPOOL_BYTE_SOURCE_H_
