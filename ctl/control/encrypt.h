// `smtpctl encrypt`: passwords to what tables of credentials hold (reference
// part 1, section 9).
#ifndef HOLDFAST_CTL_CONTROL_ENCRYPT_H_
#define HOLDFAST_CTL_CONTROL_ENCRYPT_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace holdfast {

// A hash of crypt(3) with a new salt: of the first kind of the reference's list
// that the system's library knows (yescrypt on Debian).
absl::StatusOr<std::string> CryptHash(const std::string& password);

// Prints a hash for each line of standard input.  The exit status: 1 if a
// line has none, after saying why on standard error.
int EncryptLines(
    const std::function<absl::StatusOr<std::string>(const std::string&)>& hash);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_CONTROL_ENCRYPT_H_
