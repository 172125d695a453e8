#include "config/relay_text.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "protocol/relay_url.h"

namespace holdfast {
namespace {

void AddName(absl::string_view key, absl::string_view name, std::string* text) {
  if (!name.empty()) absl::StrAppend(text, ",", key, "=", name);
}

void AddTable(absl::string_view key, const TableRef& table, std::string* text) {
  if (table != nullptr) AddName(key, table->name(), text);
}

// "lmtp:/PATH": the socket of an `lmtp` action.
bool IsSocket(absl::string_view domain) {
  return absl::StartsWith(domain, "lmtp:/") &&
         !absl::StartsWith(domain, "lmtp://");
}

// What the action's `tls` makes of a URL that leaves it open.
absl::string_view Protocol(const Action* action, RelayProtocol said) {
  const bool open = said == RelayProtocol::kSmtp;
  const bool wanted =
      action != nullptr && action->tls != Action::Tls::kOpportunistic;
  return RelayProtocolName(open && wanted ? RelayProtocol::kSmtpTls : said);
}

}  // namespace

std::string RelayDomain(absl::string_view domain, bool smarthost) {
  if (IsSocket(domain)) {
    return std::string(absl::StripPrefix(domain, "lmtp:"));
  }
  if (!smarthost && !absl::StartsWith(domain, "lmtp://")) {
    return std::string(domain);
  }
  const absl::StatusOr<RelayUrl> url = ParseRelayUrl(domain);
  return url.ok() ? url->host : std::string(domain);
}

std::string RelayText(const Action* action, absl::string_view domain,
                      bool smarthost, absl::string_view backup_name) {
  std::string text = absl::StrCat("[relay:", RelayDomain(domain, smarthost));
  const bool is_host = smarthost || absl::StartsWith(domain, "lmtp:");
  const absl::StatusOr<RelayUrl> url = ParseRelayUrl(domain);
  RelayProtocol protocol = RelayProtocol::kSmtp;
  if (IsSocket(domain)) {
    protocol = RelayProtocol::kLmtp;
  } else if (is_host && url.ok()) {
    protocol = url->protocol;
    absl::StrAppend(&text, ",port=", url->port);
  }
  absl::StrAppend(&text, ",", Protocol(action, protocol));
  if (is_host && url.ok() && !url->label.empty() && action != nullptr &&
      action->auth != nullptr) {
    absl::StrAppend(&text, ",auth=", action->auth->name(), ":", url->label);
  }
  if (action != nullptr) AddName("pki_name", action->pki, &text);
  if (is_host) text += ",mx";
  AddName("backup", backup_name, &text);
  if (action != nullptr) {
    AddTable("sourcetable", action->src, &text);
    AddTable("helotable", action->helo_src, &text);
    AddName("heloname", action->helo, &text);
  }
  return text + "]";
}

}  // namespace holdfast
