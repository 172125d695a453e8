// Format specifiers: "%{...}" in the path of a `maildir` action, in commands,
// wrappers, and in the pipes and files of aliases (smtpd.conf(5), FORMAT
// SPECIFIERS; reference part 1, section 6.3).
//
// Addresses come from strangers and end up in paths and in the words of a
// shell.  So all that no address without quotes can hold becomes ':', even with
// the modifier `raw`: what a quoted local part ("a;b"@example.org) brings along
// never gets further than here.  In a command `raw` changes nothing at all: an
// address may, without quotes, be `touch${IFS}/tmp/x`, and a command finds it
// as it is in its environment.
#ifndef HOLDFAST_CONFIG_FORMAT_SPECIFIERS_H_
#define HOLDFAST_CONFIG_FORMAT_SPECIFIERS_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/mail_address.h"

namespace holdfast {

struct FormatValues {
  MailAddress sender, rcpt, dest;
  std::string username;   // the looked-up user
  std::string directory;  // its home
  char delimiter = '+';   // of sub-addresses
  // What a wrapper wraps, already expanded; elsewhere there is no %{mda}.
  std::optional<std::string> mda;
};

// Bytes of what stands between "%{" and "}", and of the whole when expanded.
inline constexpr size_t kMaxSpecifierBytes = 127;
inline constexpr size_t kMaxExpandedBytes = 1023;

// Pure.  "~/" at the beginning and "%{...}" replaced.  A "%{" without its end:
// all stays as it is written.  kInvalidArgument, with the reference's words: a
// specifier is unknown, wrong or too long, or the whole is.
absl::StatusOr<std::string> ExpandCommand(absl::string_view format,
                                          const FormatValues& values);

// The same for a command whose values are parts of a path: it is also an error
// if one would climb to a folder above ("..").
absl::StatusOr<std::string> ExpandPathCommand(absl::string_view format,
                                              const FormatValues& values);

// The same for a path: it is also an error if a value from the message would
// climb to a folder above ("..").
absl::StatusOr<std::string> ExpandPath(absl::string_view format,
                                       const FormatValues& values);

// Whether either of them would look at `directory`.
bool NeedsDirectory(absl::string_view format);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_FORMAT_SPECIFIERS_H_
