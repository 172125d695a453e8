// Appending to the mailbox of a user in the mail folder.
#ifndef HOLDFAST_STORAGE_MAILBOX_MBOX_FILE_H_
#define HOLDFAST_STORAGE_MAILBOX_MBOX_FILE_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace holdfast {

struct MboxOptions {
  std::string mail_dir = "/var/mail";
  uid_t owner = 0;  // whose mailbox it must be
  // For the locks of others, both together.
  absl::Duration lock_wait = absl::Seconds(60);
};

// One letter in mbox format, somewhere in a spool file.
struct MboxLetter {
  off_t offset = 0;
  off_t bytes = 0;
  // An earlier attempt may have appended it: it is looked for first.
  bool look_first = false;
  absl::Status status;  // how it went
  // After an error: it stands in the mailbox all the same, perhaps for good.
  bool in_doubt = false;
};

// Whether `user` can be the name of a file in the mail folder.
bool IsMailboxName(absl::string_view user);

// Appends `letters` of the file `spool` to the mailbox of `user`, under both
// locks and one sync.  What a failed write or sync has left is cut off again;
// the status is kUnavailable with the system's words then.  Where it can't be
// cut off, nothing more is appended, and what stands there whole but is not
// known to be durable is in doubt.  Refuses what is a link, has several links,
// is no regular file or not the owner's.  Blocks.  Runs as the owner with the
// group of the mail folder.
//
// A letter that is looked for is found by all of its bytes but the line
// "From ", which has the time: its trace makes it unlike any other.  Not found
// is what a mail reader has moved or changed.
void AppendToMbox(const MboxOptions& options, const std::string& user,
                  int spool, const std::vector<MboxLetter*>& letters);

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_MAILBOX_MBOX_FILE_H_
