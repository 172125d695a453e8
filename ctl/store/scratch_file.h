// A file without a name, in $TMPDIR or /var/tmp: what does not fit memory.
#ifndef HOLDFAST_CTL_STORE_SCRATCH_FILE_H_
#define HOLDFAST_CTL_STORE_SCRATCH_FILE_H_

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "storage/owned_fd.h"

namespace holdfast {

inline absl::StatusOr<OwnedFd> ScratchFile() {
  const char* folder = getenv("TMPDIR");
  std::string name =
      absl::StrCat(folder != nullptr && *folder != '\0' ? folder : "/var/tmp",
                   "/smtpctl.XXXXXX");
  OwnedFd fd(mkostemp(name.data(), O_CLOEXEC));
  if (!fd)
    return absl::InternalError(absl::StrCat(name, ": ", strerror(errno)));
  unlink(name.c_str());
  return fd;
}

}  // namespace holdfast

#endif  // HOLDFAST_CTL_STORE_SCRATCH_FILE_H_
