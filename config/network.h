// Addresses and networks as netaddr tables write them (reference part 1,
// section 2.4).
#ifndef HOLDFAST_CONFIG_NETWORK_H_
#define HOLDFAST_CONFIG_NETWORK_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"

namespace holdfast {

// An address with the number of its bits that count.
struct Network {
  size_t bytes = 0;  // 4 or 16
  std::array<uint8_t, 16> address{};
  int bits = 0;

  bool IsHost() const { return bits == static_cast<int>(bytes * 8); }
};

// "192.0.2.1", "10/8", "192.168", "2001:db8::/32", "[2001:db8::/32]", with or
// without "IPv6:"; nothing if it is neither.
std::optional<Network> ParseNetwork(absl::string_view text);

// The first `bits` bits of `address`, the others 0.
std::array<uint8_t, 16> FirstBits(const std::array<uint8_t, 16>& address,
                                  int bits);

bool Contains(const Network& network, const Network& address);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_NETWORK_H_
