#include "config/network.h"

#include <arpa/inet.h>

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

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

}  // namespace

std::optional<Network> ParseNetwork(absl::string_view text) {
  if (text.empty()) return std::nullopt;
  std::optional<Network> network = ParseIpv4(text);
  return network ? network : ParseIpv6(text);
}

std::array<uint8_t, 16> FirstBits(const std::array<uint8_t, 16>& address,
                                  int bits) {
  std::array<uint8_t, 16> first{};
  std::copy_n(address.begin(), bits / 8, first.begin());
  if (bits % 8 != 0) {
    const auto mask = static_cast<uint8_t>(0xff << (8 - bits % 8));
    first[bits / 8] = address[bits / 8] & mask;
  }
  return first;
}

bool Contains(const Network& network, const Network& address) {
  return network.bytes == address.bytes &&
         FirstBits(network.address, network.bits) ==
             FirstBits(address.address, network.bits);
}

}  // namespace holdfast
