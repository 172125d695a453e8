// How mail of a local action gets to its user, and the command lines that the
// methods stand for (reference part 1, section 1.8).
#ifndef HOLDFAST_CONFIG_DELIVERY_WAY_H_
#define HOLDFAST_CONFIG_DELIVERY_WAY_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "config/config.h"

namespace holdfast {

// All of it is pure.

inline constexpr uint16_t kLmtpPort = 25;  // as mail.lmtp of the reference

// Where an LMTP server listens.
struct LmtpDestination {
  std::string path;  // a Unix socket; empty: `host` and `port`
  std::string host;  // name or address, without brackets
  uint16_t port = kLmtpPort;
};

// "/path", "host[:port]", "[2001:db8::1][:port]".  Nothing if it is none of
// these, or holds what a shell or a format specifier would change.
std::optional<LmtpDestination> ParseLmtpDestination(absl::string_view text);

enum class DeliveryWay : uint8_t {
  kNone,     // expand-only, forward-only, relay
  kMailbox,  // the agent writes it: maildir, mbox
  kLmtp,     // `relay` speaks to the server
  kCommand,  // the agent runs a command: mda, and what a wrapper wraps
};
// What happens to mail without a command of an alias or ~/.forward.  An `lmtp`
// whose destination only a shell can make out goes by the program mail.lmtp.
DeliveryWay WayOf(const Action& action);

// The command of a kCommand action other than `mda`: one of the programs in
// `helpers` (a folder) with its arguments, with format specifiers, for a
// shell.  Empty for others.
std::string HelperCommand(const Action& action, absl::string_view helpers);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_DELIVERY_WAY_H_
