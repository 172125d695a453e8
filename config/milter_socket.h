// Where a milter listens, as Sendmail and its filters write it.
#ifndef HOLDFAST_CONFIG_MILTER_SOCKET_H_
#define HOLDFAST_CONFIG_MILTER_SOCKET_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

// What fits into sockaddr_un with its end.
inline constexpr size_t kMaxMilterPath = 107;

struct MilterSocket {
  std::string path;  // absolute; empty: Internet
  bool inet6 = false;
  std::string address;  // numeric
  uint16_t port = 0;

  // "unix:/path", "inet:PORT@ADDRESS", "inet6:PORT@ADDRESS".
  std::string Text() const;
};

// "unix:/path", "local:/path", "/path", "inet:PORT@HOST", "inet6:PORT@HOST";
// HOST is an address or "localhost".  The error says what is wrong with it.
absl::StatusOr<MilterSocket> ParseMilterSocket(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_MILTER_SOCKET_H_
