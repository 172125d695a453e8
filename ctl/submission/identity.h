// Who runs sendmail, and on which machine.
#ifndef HOLDFAST_CTL_SUBMISSION_IDENTITY_H_
#define HOLDFAST_CTL_SUBMISSION_IDENTITY_H_

#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

struct Identity {
  std::string login;      // "anonymous" if the system knows none
  std::string full_name;  // of the password entry
  std::string home;       // empty: none
};

// `use_login_name`: getlogin(3) is believed if it is this user's.
Identity ReadIdentity(bool use_login_name);

// The name mail of this machine has: /etc/mailname, else the canonical host
// name.  Empty: there is none.
std::string ReadMailName();

// The name in a password entry's comment: up to the first ',', '&' standing for
// the login name with a capital (passwd(5)).
std::string NameOfGecos(absl::string_view gecos, absl::string_view login);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SUBMISSION_IDENTITY_H_
