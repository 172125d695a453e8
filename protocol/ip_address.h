// An IPv4 or IPv6 address as a value.  Text forms; no sockets.
#ifndef HOLDFAST_PROTOCOL_IP_ADDRESS_H_
#define HOLDFAST_PROTOCOL_IP_ADDRESS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

struct IpAddress {
  bool inet6 = false;
  std::array<uint8_t, 16> bytes{};  // network order; IPv4: the first four

  // "192.0.2.1" or "2001:db8::1", without brackets or scope.  An IPv4-mapped
  // IPv6 address becomes the IPv4 one, so that no address has two values.
  static std::optional<IpAddress> Parse(absl::string_view text);
  // `network_order`: 4 or 16 bytes.
  static std::optional<IpAddress> FromBytes(absl::string_view network_order);

  std::string ToString() const;
  // As log lines have it: "192.0.2.1", "[2001:db8::1]".
  std::string ToBracketed() const;

  // 127/8, ::1, 0.0.0.0/8, ::.
  bool IsLoopbackOrUnspecified() const;
  // fe80::/10, 169.254/16.
  bool IsLinkLocal() const;

  friend bool operator==(const IpAddress&, const IpAddress&) = default;
  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

// A domain literal (RFC 5321 section 4.1.3): "[192.0.2.1]",
// "[IPv6:2001:db8::1]", and, as the reference takes it, "[2001:db8::1]".
std::optional<IpAddress> ParseAddressLiteral(absl::string_view text);

// The name that a PTR record of the address has: "1.2.0.192.in-addr.arpa",
// "….ip6.arpa" (RFC 1035 section 3.5, RFC 3596 section 2.5).
std::string ReverseDnsName(const IpAddress& address);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_IP_ADDRESS_H_
