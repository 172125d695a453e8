// Files of tables as they travel: `parent` reads a file into memory that cannot
// be changed any more (memfd_create(2), sealed) and gives rooms the descriptor.
// So files that only root can read work, all rooms see the same bytes, a room
// that starts again gets what was checked, and whatever happens to the file
// meanwhile harms nobody.
#ifndef HOLDFAST_SERVER_TABLES_SEALED_FILE_H_
#define HOLDFAST_SERVER_TABLES_SEALED_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/table.h"
#include "server/door/door.h"

namespace holdfast {

// Which state of which file: differs when it was written or replaced.
struct FileStamp {
  uint64_t device = 0;
  uint64_t inode = 0;
  int64_t size = 0;
  int64_t changed_ns = 0;
  bool operator==(const FileStamp&) const = default;
};

struct SealedFile {
  OwnedFd memory;
  FileStamp stamp;  // before it was read
};

// Errors are the system's ("No such file or directory").
absl::StatusOr<FileStamp> StampOf(const std::string& path);
// Regular files of at most kMaxTableFileBytes; does not wait for writers of
// pipes.
absl::StatusOr<SealedFile> SealFile(const std::string& path);
absl::StatusOr<OwnedFd> SealBytes(absl::string_view bytes);

// Reads `memory` as the contents of `table`, prepared for how it is used.
// kInvalidArgument, kDataLoss: "PATH:LINE MESSAGE" or "PATH: MESSAGE".  Touches
// nothing of the table that ever changes: may be called on any thread.
absl::StatusOr<std::shared_ptr<const TableContents>> ParseSealed(
    int memory, const Table& table);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_TABLES_SEALED_FILE_H_
