// A mail address: user and domain, without angle brackets.
#ifndef HOLDFAST_PROTOCOL_MAIL_ADDRESS_H_
#define HOLDFAST_PROTOCOL_MAIL_ADDRESS_H_

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace holdfast {

// As in the reference: a path is split at its last '@'.  Both halves empty is
// the null sender.
struct MailAddress {
  std::string user;
  std::string domain;

  bool IsNull() const { return user.empty() && domain.empty(); }

  // "user@domain"; "@" for the null sender, as queue listings print it.
  std::string ToString() const { return absl::StrCat(user, "@", domain); }

  // "user@domain", or nothing for the null sender: what stands between < and >
  // in SMTP and in delivery log lines.
  std::string ForPath() const { return IsNull() ? "" : ToString(); }

  friend bool operator==(const MailAddress& a, const MailAddress& b) {
    return a.user == b.user && a.domain == b.domain;
  }

  template <class Archive>
  void Fields(Archive& a) {
    a(user, domain);
  }
};

// Splits at the last '@'; no syntax check.  Without '@' all of it is the user.
inline MailAddress SplitAddress(absl::string_view text) {
  const size_t at = text.rfind('@');
  if (at == absl::string_view::npos) return {std::string(text), ""};
  return {std::string(text.substr(0, at)), std::string(text.substr(at + 1))};
}

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_MAIL_ADDRESS_H_
