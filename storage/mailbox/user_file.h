// Appending to a file that a user named ("/file" of an alias or ~/.forward).
#ifndef HOLDFAST_STORAGE_MAILBOX_USER_FILE_H_
#define HOLDFAST_STORAGE_MAILBOX_USER_FILE_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace holdfast {

// Appends `bytes` from `offset` of `spool` to `path`, which is made with mode
// 0600 if it is missing, and syncs it; a regular file is locked by fcntl(2),
// for at most `lock_wait`, and is as long as before after an error.  A device
// such as /dev/null will do; what could make us wait (a fifo) will not.
// kUnavailable with the system's words.  Blocks.
//
// `*in_doubt`, after an error: all of it stands in the file, since it could be
// neither synced nor cut off.
absl::Status AppendToUserFile(const std::string& path, int spool, off_t offset,
                              off_t bytes, absl::Duration lock_wait,
                              bool* in_doubt);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_MAILBOX_USER_FILE_H_
