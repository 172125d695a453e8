#include "config/table_match.h"

#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "config/network.h"
#include "protocol/mail_address.h"

namespace holdfast {
namespace {

bool SameLetter(char a, char b) {
  return absl::ascii_tolower(static_cast<unsigned char>(a)) ==
         absl::ascii_tolower(static_cast<unsigned char>(b));
}

}  // namespace

bool DomainMatches(absl::string_view pattern, absl::string_view domain) {
  size_t p = 0;
  size_t d = 0;
  while (p < pattern.size() && d < domain.size()) {
    if (pattern[p] == '*') {
      while (p < pattern.size() && pattern[p] == '*') ++p;
      if (p == pattern.size()) return true;
      while (d < domain.size() && !SameLetter(domain[d], pattern[p])) ++d;
      continue;
    }
    if (!SameLetter(pattern[p++], domain[d++])) return false;
  }
  return p == pattern.size() && d == domain.size();
}

bool NetaddrMatches(absl::string_view entry, absl::string_view address) {
  if (absl::EqualsIgnoreCase(entry, address)) return true;
  const std::optional<Network> host = ParseNetwork(address);
  if (!host || !host->IsHost()) return false;
  const std::optional<Network> network = ParseNetwork(entry);
  return network && Contains(*network, *host);
}

bool MailaddrMatches(absl::string_view entry, absl::string_view address,
                     char delimiter) {
  if (entry.empty()) return false;
  const MailAddress wanted = SplitAddress(entry);
  const MailAddress given = SplitAddress(address);
  if (!wanted.domain.empty() && !DomainMatches(wanted.domain, given.domain)) {
    return false;
  }
  if (wanted.user.empty()) return true;
  absl::string_view user = given.user;
  if (wanted.user.find(delimiter) == std::string::npos) {
    user = user.substr(0, user.find(delimiter));
  }
  return absl::EqualsIgnoreCase(wanted.user, user);
}

}  // namespace holdfast
