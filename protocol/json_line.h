// JSON as smtpctl prints it: one object a line.
#ifndef HOLDFAST_PROTOCOL_JSON_LINE_H_
#define HOLDFAST_PROTOCOL_JSON_LINE_H_

#include <nlohmann/json.hpp>
#include <string>

#include "absl/time/time.h"

namespace holdfast {

// Names keep the order in which they were added.
using Json = nlohmann::ordered_json;

// ASCII; octets that are not UTF-8 become U+FFFD.  With the line's end.
inline std::string JsonLine(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/true,
                   Json::error_handler_t::replace) +
         "\n";
}

// "2026-01-31T12:00:00.000Z", in UTC; null for the epoch and infinite times,
// which stand for "none".
inline Json JsonTime(absl::Time time) {
  if (time == absl::UnixEpoch() || time == absl::InfiniteFuture() ||
      time == absl::InfinitePast())
    return nullptr;
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_JSON_LINE_H_
