// What smtpctl prints of the queue's contents, in one place for the daemon and
// for the tools that read the store while it is down.  Each function gives
// whole lines.
#ifndef HOLDFAST_PROTOCOL_QUEUE_LISTING_H_
#define HOLDFAST_PROTOCOL_QUEUE_LISTING_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/envelope.h"
#include "protocol/ids.h"

namespace holdfast {

struct ListingState {
  enum class State : uint8_t {
    kPending,
    kInFlight,
    kOffline
  } state = State::kPending;
  // kPending: when it is due; kInFlight: since when it is.
  absl::Time when = absl::UnixEpoch();
  // Why its whole destination waits; shown instead of the envelope's own error.
  std::string destination_error;
};

// `show queue`: 14 columns (reference part 2, section 5.3).
std::string QueueListingLine(const Envelope& envelope,
                             const ListingState& state, absl::Time now);

// `show doubt`: evpid|time|kind|sender|dest
std::string DoubtLine(EnvelopeId id, absl::Time when, DeliveryKind kind,
                      absl::string_view sender, absl::string_view dest);

// "mta" or "mda".
absl::string_view KindWord(DeliveryKind kind);

// Exactly 16 (8) hex digits, not all zero.
std::optional<EnvelopeId> ParseEnvelopeId(absl::string_view text);
std::optional<MessageId> ParseMessageId(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_QUEUE_LISTING_H_
