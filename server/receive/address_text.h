// A client's address as log lines have it: "192.0.2.1", "[2001:db8::1]",
// "local".
#ifndef HOLDFAST_SERVER_RECEIVE_ADDRESS_TEXT_H_
#define HOLDFAST_SERVER_RECEIVE_ADDRESS_TEXT_H_

#include <string>

#include "absl/strings/match.h"

namespace holdfast {

// As the DNS and tables are asked: "2001:db8::1".
inline std::string WithoutBrackets(const std::string& address) {
  if (!absl::StartsWith(address, "[")) return address;
  return address.substr(1, address.size() - 2);
}

// On this host.
inline bool IsLoopback(const std::string& address) {
  return absl::StartsWith(address, "127.") || address == "[::1]";
}

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_RECEIVE_ADDRESS_TEXT_H_
