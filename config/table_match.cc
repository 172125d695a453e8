// How an entry of a table compares with a key.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "config/table.h"
#include "protocol/mail_address.h"

namespace holdfast {
namespace {

bool SameLetter(char a, char b) {
  return absl::ascii_tolower(static_cast<unsigned char>(a)) ==
         absl::ascii_tolower(static_cast<unsigned char>(b));
}

// An address with the number of its bits that count.
struct Network {
  size_t bytes = 0;  // 4 or 16
  std::array<uint8_t, 16> address{};
  int bits = 0;
};

// "8"; digits only, at most `limit`; -1 if it is not.
int ParseBits(absl::string_view text, int limit) {
  if (text.empty() || text.size() > 3) return -1;
  int value = 0;
  for (const char c : text) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return -1;
    value = value * 10 + (c - '0');
  }
  return value <= limit ? value : -1;
}

// The mask of an abbreviated network number, by the classes of old.
int ClassfulBits(uint8_t first, int octets) {
  int bits = 8;
  if (first >= 240) {
    bits = 32;
  } else if (first >= 192 && first < 224) {
    bits = 24;
  } else if (first >= 128 && first < 192) {
    bits = 16;
  }
  return std::max(bits, octets * 8);
}

std::optional<Network> ParseIpv4(absl::string_view text) {
  Network network;
  network.bytes = 4;
  const size_t slash = text.find('/');
  absl::string_view number = text.substr(0, slash);
  int octets = 0;
  for (const absl::string_view part : absl::StrSplit(number, '.')) {
    const int octet = ParseBits(part, 255);
    if (octet < 0 || octets == 4) return std::nullopt;
    network.address[octets++] = static_cast<uint8_t>(octet);
  }
  if (slash == absl::string_view::npos) {
    network.bits = octets == 4 ? 32 : ClassfulBits(network.address[0], octets);
    return network;
  }
  network.bits = ParseBits(text.substr(slash + 1), 32);
  if (network.bits < 0) return std::nullopt;
  return network;
}

absl::string_view WithoutIpv6Prefix(absl::string_view text) {
  return absl::StartsWithIgnoreCase(text, "IPv6:") ? text.substr(5) : text;
}

std::optional<Network> ParseIpv6(absl::string_view text) {
  text = WithoutIpv6Prefix(text);
  if (!text.empty() && text.front() == '[') {
    if (text.back() != ']' || text.size() < 2) return std::nullopt;
    text = WithoutIpv6Prefix(text.substr(1, text.size() - 2));
  }
  Network network;
  network.bytes = 16;
  network.bits = 128;
  const size_t slash = text.find('/');
  if (slash != absl::string_view::npos) {
    network.bits = ParseBits(text.substr(slash + 1), 128);
    if (network.bits < 0) return std::nullopt;
    text = text.substr(0, slash);
  }
  if (inet_pton(AF_INET6, std::string(text).c_str(), network.address.data()) !=
          1 ||
      text.find('\0') != absl::string_view::npos) {
    return std::nullopt;
  }
  return network;
}

std::optional<Network> ParseNetwork(absl::string_view text) {
  if (text.empty()) return std::nullopt;
  std::optional<Network> network = ParseIpv4(text);
  return network ? network : ParseIpv6(text);
}

bool Contains(const Network& network, const Network& address) {
  if (network.bytes != address.bytes) return false;
  const int whole = network.bits / 8;
  if (std::memcmp(network.address.data(), address.address.data(), whole) != 0) {
    return false;
  }
  const int rest = network.bits % 8;
  if (rest == 0) return true;
  const uint8_t mask = static_cast<uint8_t>(0xff << (8 - rest));
  return (network.address[whole] & mask) == (address.address[whole] & mask);
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
  if (!host || host->bits != static_cast<int>(host->bytes * 8)) return false;
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
