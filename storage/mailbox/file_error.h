// Errors of the system about files, as they stand in the log.
#ifndef HOLDFAST_STORAGE_MAILBOX_FILE_ERROR_H_
#define HOLDFAST_STORAGE_MAILBOX_FILE_ERROR_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace holdfast {

// kUnavailable with the text of errno: "PATH: No space left on device".  errno
// stays as it is.
absl::Status FileError(absl::string_view path);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_MAILBOX_FILE_ERROR_H_
