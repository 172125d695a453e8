// Dates and durations as mail headers, log lines and listings print them.
#ifndef HOLDFAST_PROTOCOL_MAIL_DATE_H_
#define HOLDFAST_PROTOCOL_MAIL_DATE_H_

#include <string>

#include "absl/time/time.h"

namespace holdfast {

// RFC 5322 section 3.3 with the zone's name behind it, as the reference has it
// everywhere: "Sun, 2 Nov 2026 05:07:29 +0000 (UTC)"; the day has no padding.
std::string FormatMailDate(absl::Time time, absl::TimeZone zone);

// "1d2h3m4s", zero units left out; "0s" for zero and below.
std::string FormatShortDuration(absl::Duration duration);

// The largest whole unit: "4 hours", "1 day", "0 seconds".
std::string FormatLongDuration(absl::Duration duration);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_MAIL_DATE_H_
