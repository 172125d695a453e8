// How an entry of a table compares with a key, each on its own (reference part
// 1, section 2.4).  Case does not matter.
#ifndef HOLDFAST_CONFIG_TABLE_MATCH_H_
#define HOLDFAST_CONFIG_TABLE_MATCH_H_

#include "absl/strings/string_view.h"

namespace holdfast {

// A star in `pattern` skips to the first occurrence of the character behind it
// and does not come back.
bool DomainMatches(absl::string_view pattern, absl::string_view domain);
// `entry` is an address or a network: "192.0.2.1", "10/8", "192.168",
// "2001:db8::/32", "[2001:db8::/32]", with or without "IPv6:".
bool NetaddrMatches(absl::string_view entry, absl::string_view address);
// `entry` is "user", "@domain", "user@domain" or "@" (everything).
bool MailaddrMatches(absl::string_view entry, absl::string_view address,
                     char delimiter);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_TABLE_MATCH_H_
