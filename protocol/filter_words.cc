#include "protocol/filter_words.h"

#include <algorithm>
#include <iterator>

namespace holdfast {
namespace {

constexpr absl::string_view kPhaseNames[] = {
    "connect",   "helo",    "ehlo", "starttls",  "auth",
    "mail-from", "rcpt-to", "data", "data-line", "commit",
    "rset",      "quit",    "noop", "help",      "wiz"};
static_assert(std::size(kPhaseNames) == kFilterPhases);

constexpr absl::string_view kEventNames[] = {
    "link-connect",    "link-greeting",   "link-identify",   "link-tls",
    "link-auth",       "link-disconnect", "tx-begin",        "tx-mail",
    "tx-envelope",     "tx-rcpt",         "tx-data",         "tx-commit",
    "tx-rollback",     "tx-reset",        "protocol-client", "protocol-server",
    "filter-response", "filter-report",   "timeout"};
static_assert(std::size(kEventNames) == kFilterEvents);

template <class Word, size_t n>
std::optional<Word> Named(const absl::string_view (&names)[n],
                          absl::string_view name) {
  const auto found = std::find(std::begin(names), std::end(names), name);
  if (found == std::end(names)) return std::nullopt;
  return static_cast<Word>(found - std::begin(names));
}

}  // namespace

absl::string_view FilterPhaseName(FilterPhase phase) {
  return kPhaseNames[static_cast<int>(phase)];
}

std::optional<FilterPhase> FilterPhaseNamed(absl::string_view name) {
  return Named<FilterPhase>(kPhaseNames, name);
}

absl::string_view FilterPhaseInResponse(FilterPhase phase) {
  switch (phase) {
    case FilterPhase::kConnect:
      return "connected";
    case FilterPhase::kStartTls:
      return "tls";
    default:
      return FilterPhaseName(phase);
  }
}

absl::string_view FilterEventName(FilterEvent event) {
  return kEventNames[static_cast<int>(event)];
}

std::optional<FilterEvent> FilterEventNamed(absl::string_view name) {
  return Named<FilterEvent>(kEventNames, name);
}

}  // namespace holdfast
