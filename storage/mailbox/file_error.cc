#include "storage/mailbox/file_error.h"

#include <errno.h>
#include <string.h>

#include "absl/strings/str_cat.h"

namespace holdfast {

absl::Status FileError(absl::string_view path) {
  const int error = errno;
  absl::Status status =
      absl::UnavailableError(absl::StrCat(path, ": ", strerror(error)));
  errno = error;
  return status;
}

}  // namespace holdfast
