// What the mail.* programs have in common: their input and how they end.
#ifndef HOLDFAST_CTL_DELIVERY_HELPER_EXIT_H_
#define HOLDFAST_CTL_DELIVERY_HELPER_EXIT_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace holdfast {

// Of sysexits(3), as smtpd reads them: 71 and 75 mean "again later".
inline constexpr int kExitError = 1;
inline constexpr int kExitUsage = 64;
inline constexpr int kExitNoUser = 67;
inline constexpr int kExitUnavailable = 69;
inline constexpr int kExitTemporary = 75;

// "PROGRAM: TEXT" to standard error, on one line; returns `status`, for main().
int Complain(absl::string_view program, absl::string_view text, int status);

// Mail of a user is delivered as that user.  True, and said, if this is root.
bool IsRoot(absl::string_view program);

// Reads `fd` to its end and gives it to `take` in pieces, until that says an
// error.  kUnavailable with the system's words.
absl::Status ReadAll(int fd,
                     absl::FunctionRef<absl::Status(absl::string_view)> take);

// An environment variable; empty if it is not set.
std::string Environment(const char* name);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_DELIVERY_HELPER_EXIT_H_
