// What a relay is called in log lines and in `smtpctl show relays` (reference
// part 2, section 5.4).
#ifndef HOLDFAST_CONFIG_RELAY_TEXT_H_
#define HOLDFAST_CONFIG_RELAY_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "config/config.h"

namespace holdfast {

// The domain of an MX relay; of a relay URL its host; of "lmtp:/PATH" the path.
// What limits (`mta limit for domain`) and `pause mta ... for` are about.
std::string RelayDomain(absl::string_view domain, bool smarthost);

// "[relay:mx.example.net,port=465,smtps,auth=secrets:me,mx]".  The arguments
// are those of RelayKey() (relay_key.h); `action` null: it is gone.  Not
// escaped.
std::string RelayText(const Action* action, absl::string_view domain,
                      bool smarthost, absl::string_view backup_name);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_RELAY_TEXT_H_
