// The folders of another mail server's spool, read with care: its files may
// come, go and be links while they are looked at.
#ifndef HOLDFAST_CTL_SPOOL_SPOOL_FOLDER_H_
#define HOLDFAST_CTL_SPOOL_SPOOL_FOLDER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ctl/spool/postfix_spool.h"
#include "storage/owned_fd.h"

namespace holdfast {

// Names in it, sorted, without those that begin with a dot.  kNotFound.
absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path);

bool IsFolder(const std::string& path);

struct SpoolFile {
  OwnedFd fd;
  uint64_t size = 0;
  bool executable = false;  // by its owner
  absl::Time changed;       // mtime
};
// A regular file, not a link.  kNotFound, kDataLoss.
absl::StatusOr<SpoolFile> OpenSpoolFile(const std::string& path);

class FileBytes : public RandomBytes {
 public:
  // `file` outlives it.
  explicit FileBytes(const SpoolFile* file) : file_(*file) {}
  uint64_t size() const override { return file_.size; }
  absl::string_view From(uint64_t at) override;

 private:
  const SpoolFile& file_;
  std::string window_;
  uint64_t window_at_ = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SPOOL_SPOOL_FOLDER_H_
