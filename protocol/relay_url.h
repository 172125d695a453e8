// Where a relay action's `host` sends mail: "[proto://[label@]]host[:port]"
// (smtpd.conf(5), `relay host`; reference part 2, section 3.2).
#ifndef HOLDFAST_PROTOCOL_RELAY_URL_H_
#define HOLDFAST_PROTOCOL_RELAY_URL_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

enum class RelayProtocol : uint8_t {
  kSmtp,       // "smtp": TLS when offered
  kSmtpTls,    // "smtp+tls": STARTTLS, verified
  kSmtpNotls,  // "smtp+notls": never TLS
  kSmtps,      // "smtps": TLS from the start
  kLmtp,       // "lmtp": never TLS
};

struct RelayUrl {
  RelayProtocol protocol = RelayProtocol::kSmtp;
  std::string label;  // key of the credentials; empty: none
  std::string host;   // a literal keeps its brackets
  uint16_t port = 25;
};

// kInvalidArgument says what is wrong.
absl::StatusOr<RelayUrl> ParseRelayUrl(absl::string_view text);

// An element of a `host` table: a relay URL, and how much of the mail it gets
// beside the others: "smtps://mx1.example.net weight=3".  Without a weight 1; 0
// is for when no other answers.  Ours: OpenSMTPD knows plain URLs only.
struct WeightedRelayUrl {
  // Not looked at: ParseRelayUrl().  With all that stands there, if it is not
  // about a weight.
  std::string url;
  uint32_t weight = 1;
};
inline constexpr uint32_t kMaxRelayWeight = 1000;

// kInvalidArgument: what stands behind the URL is no weight.
absl::StatusOr<WeightedRelayUrl> ParseWeightedRelayUrl(absl::string_view text);

// "smtp", "smtp+tls", ...
const char* RelayProtocolName(RelayProtocol protocol);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_RELAY_URL_H_
