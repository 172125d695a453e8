#include "protocol/relay_url.h"

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "protocol/ip_address.h"

namespace holdfast {
namespace {

constexpr size_t kMaxHostBytes = 255;

struct Scheme {
  const char* name;
  RelayProtocol protocol;
  uint16_t port;  // 0: must be given
  bool may_have_label;
};
constexpr Scheme kSchemes[] = {
    {"smtp", RelayProtocol::kSmtp, 25, false},
    {"smtp+tls", RelayProtocol::kSmtpTls, 25, true},
    {"smtp+notls", RelayProtocol::kSmtpNotls, 25, false},
    {"smtps", RelayProtocol::kSmtps, 465, true},
    {"lmtp", RelayProtocol::kLmtp, 0, false},
};

const Scheme* FindScheme(absl::string_view name) {
  for (const Scheme& s : kSchemes)
    if (absl::EqualsIgnoreCase(name, s.name)) return &s;
  return nullptr;
}

bool IsHostName(absl::string_view host) {
  if (host.empty() || host.size() > kMaxHostBytes) return false;
  if (host.front() == '.' || host.front() == '-') return false;
  for (size_t i = 0; i < host.size(); ++i) {
    const char c = host[i];
    if (!absl::ascii_isalnum(c) && c != '_' && c != '.' && c != '-')
      return false;
    if (c == '.' && i + 1 < host.size() && host[i + 1] == '.') return false;
  }
  return true;
}

// Takes the host off the front of `rest`; what is left begins with ':' or is
// empty.
absl::StatusOr<std::string> TakeHost(absl::string_view& rest) {
  const size_t end =
      absl::StartsWith(rest, "[") ? rest.find(']') : rest.find(':');
  absl::string_view host = rest.substr(0, end);
  if (absl::StartsWith(rest, "[")) {
    if (end == absl::string_view::npos)
      return absl::InvalidArgumentError("address literal without ']'");
    host = rest.substr(0, end + 1);
    if (!ParseAddressLiteral(host))
      return absl::InvalidArgumentError("invalid address literal");
  } else if (!IsHostName(host)) {
    return absl::InvalidArgumentError("invalid host name");
  }
  rest.remove_prefix(host.size());
  return std::string(host);
}

// 0: not a port.
uint16_t ParsePort(absl::string_view text) {
  uint32_t port = 0;
  if (text.size() > 5) return 0;
  for (const char c : text) {
    if (!absl::ascii_isdigit(c)) return 0;
    port = port * 10 + static_cast<uint32_t>(c - '0');
  }
  return port > UINT16_MAX ? 0 : static_cast<uint16_t>(port);
}

}  // namespace

absl::StatusOr<RelayUrl> ParseRelayUrl(absl::string_view text) {
  const Scheme* scheme = &kSchemes[0];
  RelayUrl url;
  const size_t slashes = text.find("://");
  if (slashes != absl::string_view::npos) {
    scheme = FindScheme(text.substr(0, slashes));
    if (scheme == nullptr)
      return absl::InvalidArgumentError("unknown protocol");
    text.remove_prefix(slashes + 3);
    const size_t at = text.find('@');
    if (at != absl::string_view::npos) {
      if (!scheme->may_have_label || at == 0)
        return absl::InvalidArgumentError("no label is possible here");
      url.label = std::string(text.substr(0, at));
      text.remove_prefix(at + 1);
    }
  }
  url.protocol = scheme->protocol;
  absl::StatusOr<std::string> host = TakeHost(text);
  if (!host.ok()) return host.status();
  url.host = *std::move(host);
  url.port = scheme->port;
  if (!text.empty()) {
    url.port = text.front() == ':' ? ParsePort(text.substr(1)) : 0;
    if (url.port == 0) return absl::InvalidArgumentError("invalid port");
  }
  if (url.port == 0) return absl::InvalidArgumentError("port is missing");
  return url;
}

absl::StatusOr<WeightedRelayUrl> ParseWeightedRelayUrl(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  const size_t blank = text.find_first_of(" \t");
  WeightedRelayUrl found;
  found.url = std::string(text);
  if (blank == absl::string_view::npos) return found;
  absl::string_view word =
      absl::StripLeadingAsciiWhitespace(text.substr(blank));
  if (!absl::StartsWith(word, "weight")) return found;
  found.url = std::string(text.substr(0, blank));
  if (!absl::ConsumePrefix(&word, "weight=") || word.empty() ||
      !absl::c_all_of(word, absl::ascii_isdigit) ||
      !absl::SimpleAtoi(word, &found.weight) ||
      found.weight > kMaxRelayWeight) {
    return absl::InvalidArgumentError(
        absl::StrCat("weight=N wanted, N from 0 to ", kMaxRelayWeight));
  }
  return found;
}

const char* RelayProtocolName(RelayProtocol protocol) {
  return kSchemes[static_cast<size_t>(protocol)].name;
}

}  // namespace holdfast
