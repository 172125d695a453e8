#include "server/relay/route_policy.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "config/relay_key.h"
#include "config/relay_text.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

constexpr absl::string_view kLmtp = "lmtp:";

RouteRefusal Refuse(const char* text, std::string log) {
  return {text, std::move(log)};
}

// A relay URL, or where an `lmtp` action delivers to.
bool IsUrl(const RelayTarget& target) {
  return target.smarthost || absl::StartsWith(target.domain, kLmtp);
}

// "/path" of "lmtp:/path"; empty: it is none.
absl::string_view UnixPath(const RelayTarget& target) {
  const absl::string_view url = target.domain;
  if (!absl::StartsWith(url, absl::StrCat(kLmtp, "/")) ||
      absl::StartsWith(url, absl::StrCat(kLmtp, "//")))
    return {};
  return url.substr(kLmtp.size());
}

bool HasTls(RelayProtocol protocol) {
  return protocol == RelayProtocol::kSmtpTls ||
         protocol == RelayProtocol::kSmtps;
}

}  // namespace

std::variant<RoutePolicy, RouteRefusal> MakeRoutePolicy(
    const RelayTarget& target, const Action* action) {
  static const Action kPlain;
  const Action& options = action == nullptr ? kPlain : *action;
  RoutePolicy policy;
  if (const absl::string_view path = UnixPath(target); !path.empty()) {
    policy.protocol = RelayProtocol::kLmtp;
    policy.unix_path = std::string(path);
    return policy;
  }
  if (IsUrl(target)) {
    const absl::StatusOr<RelayUrl> url = ParseRelayUrl(target.domain);
    if (!url.ok())
      return Refuse("Cannot parse smarthost",
                    absl::StrCat("warn: Failed to parse smarthost ",
                                 VisEncode(target.domain)));
    policy.protocol = url->protocol;
    policy.host = url->host;
    policy.port = url->port;
    policy.label = url->label;
    if (!url->label.empty() && options.auth == nullptr)
      return Refuse("No auth table for relaying",
                    absl::StrCat("warn: No auth table on action \"",
                                 VisEncode(target.action), "\" for relay ",
                                 VisEncode(target.domain)));
  }
  const bool required = options.tls != Action::Tls::kOpportunistic;
  if (required && (policy.protocol == RelayProtocol::kSmtpNotls ||
                   (policy.protocol == RelayProtocol::kLmtp &&
                    options.method == ActionMethod::kRelay)))
    return Refuse("TLS required for relaying",
                  absl::StrCat("warn: TLS required for action \"",
                               VisEncode(target.action), "\""));
  if (required && policy.protocol == RelayProtocol::kSmtp)
    policy.protocol = RelayProtocol::kSmtpTls;
  policy.verify =
      HasTls(policy.protocol) && options.tls != Action::Tls::kNoVerify;
  return policy;
}

std::string TargetDomain(const RelayTarget& target) {
  return RelayDomain(target.domain, target.smarthost);
}

std::string TargetText(const RelayTarget& target, const Action* action) {
  return RelayText(action, target.domain, target.smarthost, target.backup_name);
}

std::string TargetKey(const RelayTarget& target, const Action* action) {
  return RelayKey(action, target.domain, IsUrl(target), target.backup_name);
}

}  // namespace holdfast
