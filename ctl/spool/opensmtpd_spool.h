// Envelopes as OpenSMTPD's queue has them in files: "field: value" lines
// (version 3).  Pure.
#ifndef HOLDFAST_CTL_SPOOL_OPENSMTPD_SPOOL_H_
#define HOLDFAST_CTL_SPOOL_OPENSMTPD_SPOOL_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/envelope.h"

namespace holdfast {

// Such a file is a few hundred octets; an error line has up to 2,048.
inline constexpr size_t kMaxOpensmtpdEnvelope = 64 << 10;

struct OpensmtpdEnvelope {
  // Without id, expires and routing_key, which the file does not tell.
  Envelope envelope;
  // Not mail, but a report that is to be made.
  bool is_report = false;
};

// kInvalidArgument, naming the field, where OpenSMTPD would not load it either.
absl::StatusOr<OpensmtpdEnvelope> ParseOpensmtpdEnvelope(
    absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_SPOOL_OPENSMTPD_SPOOL_H_
