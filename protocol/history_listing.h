// What `smtpctl history` prints: how an envelope went, attempt by attempt; the
// same from the daemon and from the tools that read the store while it is down.
#ifndef HOLDFAST_PROTOCOL_HISTORY_LISTING_H_
#define HOLDFAST_PROTOCOL_HISTORY_LISTING_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/envelope.h"

namespace holdfast {

// Why the whole destination of a queued envelope waits: no host answered, which
// is no attempt of any one envelope.
struct DestinationFailure {
  std::string error;  // empty: it does not wait
  uint32_t failures = 0;
  absl::Time since, until;
};

struct HistoryListing {
  const Envelope* envelope = nullptr;  // with its attempts
  // "queued", "inflight", "held", or how it ended: "delivered", "reported",
  // "removed", "discarded", "silent".
  absl::string_view state;
  absl::Time ended = absl::UnixEpoch();  // the epoch: it has not
  uint64_t serial = 0;                   // of the row of history, if it has
  DestinationFailure destination;
};

// For people: a line about the envelope, an indented one for each attempt, in
// columns, and one about its destination if that waits.  Texts from outside are
// vis-encoded.
std::string HistoryText(const HistoryListing& listing);

// For programs: one line, a JSON object, in ASCII; octets that are not UTF-8
// become U+FFFD.  docs/OPERATING.md says which names it has.
std::string HistoryJson(const HistoryListing& listing);

// The words of the command: history [--json] EVPID|MSGID [--json].
struct HistoryRequest {
  EnvelopeId first{}, last{};  // the same, or all of a message
  bool json = false;
};
std::optional<HistoryRequest> ParseHistoryRequest(
    const std::vector<std::string>& words);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_HISTORY_LISTING_H_
