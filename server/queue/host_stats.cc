#include "server/queue/host_stats.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "protocol/vis.h"

namespace holdfast {

void HostStats::Note(absl::string_view domain, absl::string_view status,
                     absl::Time now) {
  if (domain.empty()) return;
  const std::string key = absl::AsciiStrToLower(domain);
  Stat& stat = stats_[key];
  by_time_.erase({stat.when, key});
  stat.when = now;
  stat.status = std::string(status.substr(0, kMaxText));
  by_time_.emplace(now, key);
  Forget(now);
}

void HostStats::Forget(absl::Time now) {
  while (!by_time_.empty() && (stats_.size() > kMaxDomains ||
                               by_time_.begin()->first <= now - kLife)) {
    stats_.erase(by_time_.begin()->second);
    by_time_.erase(by_time_.begin());
  }
}

std::vector<std::string> HostStats::Lines(absl::Time now) {
  Forget(now);
  std::vector<std::string> lines;
  for (const auto& [domain, stat] : stats_) {
    lines.push_back(absl::StrCat(VisEncode(domain), "|",
                                 absl::ToUnixSeconds(stat.when), "|",
                                 VisEncode(stat.status), "\n"));
  }
  return lines;
}

}  // namespace holdfast
