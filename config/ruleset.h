// Which rule decides about an envelope (smtpd.conf(5), `match`; reference part
// 1, section 1.10).
#ifndef HOLDFAST_CONFIG_RULESET_H_
#define HOLDFAST_CONFIG_RULESET_H_

#include <string>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "protocol/mail_address.h"

namespace holdfast {

// What the criteria look at.
struct MailSubject {
  std::string tag;
  std::string sockaddr;  // "local", "192.0.2.1", "[2001:db8::1]"
  std::string rdns;      // "<unknown>" if there is none
  std::string helo;
  bool authenticated = false;  // true for the local socket
  std::string username;        // may be empty although authenticated
  bool tls = false;
  MailAddress sender;
  MailAddress dest;
  bool internal = false;  // a product of expansion: "from" is local
  char sub_addr_delim = '+';
};

// The first rule whose criteria all say yes; null if there is none.  An error
// of a table ends the search (a later rule must not win because a table could
// not be read).  Dynamic tables are kUnavailable here.
absl::StatusOr<const Rule*> FirstMatch(const Config& config,
                                       const MailSubject& subject);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_RULESET_H_
