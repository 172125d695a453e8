// One message into a Maildir, as mail.maildir does it.
#ifndef HOLDFAST_CTL_DELIVERY_MAILDIR_DELIVERY_H_
#define HOLDFAST_CTL_DELIVERY_MAILDIR_DELIVERY_H_

#include <string>

#include "absl/status/status.h"

namespace holdfast {

struct MaildirDelivery {
  std::string path;       // absolute
  std::string extension;  // into .EXT, if there is such a folder
  bool junk = false;      // into .Junk, if the header says spam
  std::string file_name;  // that nobody else has
};

// Reads the message from `input`: written in tmp/, synced, renamed into new/,
// the folder synced.  After an error nothing is left behind.
// kInvalidArgument: `path` is no path of a Maildir; kUnavailable: the system's
// words.  Blocks.
absl::Status DeliverToMaildir(const MaildirDelivery& delivery, int input);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_DELIVERY_MAILDIR_DELIVERY_H_
