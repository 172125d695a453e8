// Which batches may share a session to a next hop.
#ifndef HOLDFAST_CONFIG_RELAY_KEY_H_
#define HOLDFAST_CONFIG_RELAY_KEY_H_

#include <string>

#include "absl/strings/string_view.h"
#include "config/config.h"

namespace holdfast {

// Equal for two targets if and only if a session that was opened for one may
// be used for the other: the next hop (`domain` in lower case, or the relay
// URL with its label), the name among the MX of a backup, and all of the
// action that TLS, source address, greeting and credentials depend on.  What
// concerns single messages only (mail-from, srs, ttl, verp) is not in it.  The
// reference leaves out tls, ciphers and protocols, so that the first action's
// hold for all.
//
// Not for people: it holds NUL octets.  `action` null: it is gone.
std::string RelayKey(const Action* action, absl::string_view domain,
                     bool smarthost, absl::string_view backup_name);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_RELAY_KEY_H_
