// Format specifiers in the path of a `maildir` action (smtpd.conf(5), FORMAT
// SPECIFIERS; reference part 1, section 6.3).
#ifndef HOLDFAST_SERVER_DELIVER_EXPAND_PATH_H_
#define HOLDFAST_SERVER_DELIVER_EXPAND_PATH_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/mail_address.h"

namespace holdfast {

struct PathValues {
  MailAddress sender, rcpt, dest;
  std::string username;   // the looked-up user
  std::string directory;  // its home
  char delimiter = '+';   // of sub-addresses
};

// Pure.  "~/" and "%{...}" replaced.  kInvalidArgument: a specifier is
// unknown, wrong or too long, or a value from the message would climb to a
// folder above ("..").
absl::StatusOr<std::string> ExpandPath(absl::string_view format,
                                       const PathValues& values);

// Whether ExpandPath() would look at `directory`.
bool NeedsDirectory(absl::string_view format);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_DELIVER_EXPAND_PATH_H_
