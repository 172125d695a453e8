// A blocking connection to an LMTP server.
#ifndef HOLDFAST_CTL_DELIVERY_LMTP_CONNECTION_H_
#define HOLDFAST_CTL_DELIVERY_LMTP_CONNECTION_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/owned_fd.h"

namespace holdfast {

// Of every step of the conversation.
inline constexpr absl::Duration kLmtpTimeout = absl::Seconds(300);

// `to`: "/path", "host[:port]", "[2001:db8::1][:port]"; a port is a number, 25
// if there is none.  kUnavailable, with words for people.  Blocks: looks the
// host up and tries its addresses in turn.
absl::StatusOr<OwnedFd> ConnectToLmtp(const std::string& to);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_DELIVERY_LMTP_CONNECTION_H_
