// Is this the password of that account of the system?  (reference part 1,
// section 5)
//
// Asked of PAM, service "smtpd", where /etc/pam.d/smtpd exists: authenticate
// and account management must agree.  Elsewhere the shadow file says it (an
// account that is locked, has expired or whose password must be changed is
// refused), or the passwd file where the account has no entry there.
#ifndef HOLDFAST_SERVER_AUTH_PASSWORD_CHECK_H_
#define HOLDFAST_SERVER_AUTH_PASSWORD_CHECK_H_

#include <shadow.h>

#include <string>

#include "server/door/lookup_messages.h"

namespace holdfast {

inline constexpr size_t kMaxPasswordBytes = 1023;

// What no account and no password looks like: too long, control characters in
// the name, a slash (modules make paths of names), a NUL in the password.
bool IsPossibleAccount(const PasswordQuestion& question);

// Whether the entry lets anybody in on the day `today` (days since 1970).
bool IsAccountOpen(const spwd& entry, long today);

// Blocks for as long as PAM's modules do.  For processes without threads.
PasswordAnswer AnswerPassword(const PasswordQuestion& question);

// The two ways, each on its own.
PasswordAnswer::Result CheckByPam(const PasswordQuestion& question);
PasswordAnswer::Result CheckByShadow(const PasswordQuestion& question);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_AUTH_PASSWORD_CHECK_H_
