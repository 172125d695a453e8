// The log lines about envelopes (reference part 2, sections 8.1 and 8.2).
// Third-party tools parse them: byte for byte, but for what stands in them from
// outside, which is vis-encoded.  Pure.
#ifndef HOLDFAST_SERVER_QUEUE_DELIVERY_LOG_H_
#define HOLDFAST_SERVER_QUEUE_DELIVERY_LOG_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/envelope.h"
#include "protocol/ids.h"

namespace holdfast {

// "1d2h3m4s", zero units left out; "0s".
std::string FormatDelay(absl::Duration delay);

// "<sid> mta delivery evpid=..." or "<sid> mda delivery evpid=...", by the
// envelope's kind.  `source` and `relay` are the relay's; `result` is "Ok",
// "TempFail" or "PermFail".
struct DeliveryLine {
  SessionId session{};
  absl::string_view source;  // empty: "-"
  absl::string_view relay;   // empty: the envelope's domain
  absl::string_view result;
  absl::string_view stat;
};
std::string DeliveryLogLine(const Envelope& envelope, const DeliveryLine& line,
                            absl::Time now);

// "relay: Remove for <evpid>: ..."; `verb` is "Remove" or "Expire".
std::string EndingLogLine(const Envelope& envelope, absl::string_view verb,
                          absl::string_view stat, absl::Time now);

}  // namespace holdfast

#endif  // HOLDFAST_SERVER_QUEUE_DELIVERY_LOG_H_
