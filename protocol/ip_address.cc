#include "protocol/ip_address.h"

#include <arpa/inet.h>

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace holdfast {
namespace {

constexpr char kMappedPrefix[] =
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff";
constexpr size_t kMappedPrefixBytes = 12;

}  // namespace

std::optional<IpAddress> IpAddress::FromBytes(absl::string_view b) {
  IpAddress address;
  if (b.size() == 16 &&
      std::memcmp(b.data(), kMappedPrefix, kMappedPrefixBytes) == 0)
    b.remove_prefix(kMappedPrefixBytes);
  if (b.size() != 4 && b.size() != 16) return std::nullopt;
  address.inet6 = b.size() == 16;
  std::memcpy(address.bytes.data(), b.data(), b.size());
  return address;
}

std::optional<IpAddress> IpAddress::Parse(absl::string_view text) {
  const std::string z(text);
  if (z.size() != std::strlen(z.c_str())) return std::nullopt;
  char bytes[16];
  if (inet_pton(AF_INET, z.c_str(), bytes) == 1)
    return FromBytes(absl::string_view(bytes, 4));
  if (inet_pton(AF_INET6, z.c_str(), bytes) == 1)
    return FromBytes(absl::string_view(bytes, 16));
  return std::nullopt;
}

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(inet6 ? AF_INET6 : AF_INET, bytes.data(), text, sizeof text);
  return text;
}

std::string IpAddress::ToBracketed() const {
  return inet6 ? absl::StrCat("[", ToString(), "]") : ToString();
}

bool IpAddress::IsLoopbackOrUnspecified() const {
  if (!inet6) return bytes[0] == 127 || bytes[0] == 0;
  for (int i = 0; i < 15; ++i)
    if (bytes[i] != 0) return false;
  return bytes[15] <= 1;
}

bool IpAddress::IsLinkLocal() const {
  if (inet6) return bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
  return bytes[0] == 169 && bytes[1] == 254;
}

std::optional<IpAddress> ParseAddressLiteral(absl::string_view text) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']')
    return std::nullopt;
  text = text.substr(1, text.size() - 2);
  const bool tagged = absl::StartsWithIgnoreCase(text, "IPv6:");
  if (tagged) text.remove_prefix(5);
  // "[IPv6:192.0.2.1]" is not an address, though the rest of it would be.
  if (tagged && !absl::StrContains(text, ':')) return std::nullopt;
  return IpAddress::Parse(text);
}

std::string ReverseDnsName(const IpAddress& a) {
  if (!a.inet6)
    return absl::StrFormat("%d.%d.%d.%d.in-addr.arpa", a.bytes[3], a.bytes[2],
                           a.bytes[1], a.bytes[0]);
  std::string name;
  for (int i = 15; i >= 0; --i)
    absl::StrAppendFormat(&name, "%x.%x.", a.bytes[i] & 15, a.bytes[i] >> 4);
  return name + "ip6.arpa";
}

}  // namespace holdfast
