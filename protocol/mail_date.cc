#include "protocol/mail_date.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/civil_time.h"

namespace holdfast {

std::string FormatMailDate(absl::Time time, absl::TimeZone zone) {
  static constexpr const char* kDays[] = {"Mon", "Tue", "Wed", "Thu",
                                          "Fri", "Sat", "Sun"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr",
                                            "May", "Jun", "Jul", "Aug",
                                            "Sep", "Oct", "Nov", "Dec"};
  const absl::TimeZone::CivilInfo local = zone.At(time);
  const absl::CivilSecond& c = local.cs;
  const int minutes = std::abs(local.offset) / 60;
  return absl::StrFormat("%s, %d %s %d %02d:%02d:%02d %c%02d%02d (%s)",
                         kDays[static_cast<int>(absl::GetWeekday(c))], c.day(),
                         kMonths[c.month() - 1], c.year(), c.hour(), c.minute(),
                         c.second(), local.offset < 0 ? '-' : '+', minutes / 60,
                         minutes % 60, local.zone_abbr);
}

std::string FormatShortDuration(absl::Duration duration) {
  int64_t left = std::max<int64_t>(absl::ToInt64Seconds(duration), 0);
  std::string out;
  auto unit = [&](int64_t seconds, char letter) {
    if (left >= seconds)
      absl::StrAppend(&out, left / seconds, std::string(1, letter));
    left %= seconds;
  };
  unit(86400, 'd');
  unit(3600, 'h');
  unit(60, 'm');
  unit(1, 's');
  return out.empty() ? "0s" : out;
}

std::string FormatLongDuration(absl::Duration duration) {
  const int64_t seconds = std::max<int64_t>(absl::ToInt64Seconds(duration), 0);
  auto text = [](int64_t n, const char* unit) {
    return absl::StrCat(n, " ", unit, n == 1 ? "" : "s");
  };
  if (seconds >= 86400) return text(seconds / 86400, "day");
  if (seconds >= 3600) return text(seconds / 3600, "hour");
  if (seconds >= 60) return text(seconds / 60, "minute");
  return text(seconds, "second");
}

}  // namespace holdfast
