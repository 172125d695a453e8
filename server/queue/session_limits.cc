#include "server/queue/session_limits.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "protocol/relay_url.h"

namespace holdfast {
namespace {

// To one relay with one source.
size_t MaxSessions(const Config& config, absl::string_view name) {
  const MtaLimits& limits = config.LimitsFor(name);
  return std::min({limits.max_conn_per_relay, limits.max_conn_per_domain,
                   limits.max_conn_per_connector});
}

// 0: nobody can send there.
size_t MaxSessionsToUrl(const Config& config, absl::string_view element) {
  const absl::StatusOr<WeightedRelayUrl> weighted =
      ParseWeightedRelayUrl(element);
  if (!weighted.ok()) return 0;
  const absl::StatusOr<RelayUrl> url = ParseRelayUrl(weighted->url);
  return url.ok() ? MaxSessions(config, url->host) : 0;
}

}  // namespace

size_t MaxSessionsTo(const Config& config, const Action& action,
                     const std::string& recipient_domain) {
  size_t sessions = 0;
  if (absl::StrContains(recipient_domain, "://")) {
    // An operator has named the next hop.
    sessions = MaxSessionsToUrl(config, recipient_domain);
  } else if (action.host != nullptr && !action.host->is_process()) {
    size_t counted = 0;
    for (const auto& [element, none] : action.host->entries()) {
      if (++counted > kMaxCountedHosts) break;
      sessions += MaxSessionsToUrl(config, element);
    }
  } else if (action.domain != nullptr && action.domain->is_static()) {
    const auto url =
        action.domain->Lookup(TableService::kDomain, recipient_domain);
    if (url.ok() && url->has_value()) {
      sessions = MaxSessionsToUrl(config, **url);
    }
  } else {
    // Also where a program will say it: to whom is not known before.
    sessions = MaxSessions(config, recipient_domain);
  }
  return std::max<size_t>(1, sessions);
}

}  // namespace holdfast
