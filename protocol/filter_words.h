// The phases and events of smtpd-filters(7), by their names there.
#ifndef HOLDFAST_PROTOCOL_FILTER_WORDS_H_
#define HOLDFAST_PROTOCOL_FILTER_WORDS_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"

namespace holdfast {

// What a filter may be asked about.  kHelp and kWiz can be registered and are
// never asked.
enum class FilterPhase : uint8_t {
  kConnect,
  kHelo,
  kEhlo,
  kStartTls,
  kAuth,
  kMailFrom,
  kRcptTo,
  kData,
  kDataLine,
  kCommit,
  kRset,
  kQuit,
  kNoop,
  kHelp,
  kWiz,
};
inline constexpr int kFilterPhases = 15;

// What a filter may hear of.
enum class FilterEvent : uint8_t {
  kLinkConnect,
  kLinkGreeting,
  kLinkIdentify,
  kLinkTls,
  kLinkAuth,
  kLinkDisconnect,
  kTxBegin,
  kTxMail,
  kTxEnvelope,
  kTxRcpt,
  kTxData,
  kTxCommit,
  kTxRollback,
  kTxReset,
  kProtocolClient,
  kProtocolServer,
  kFilterResponse,
  kFilterReport,
  kTimeout,
};
inline constexpr int kFilterEvents = 19;

// "mail-from", "data-line", ...
absl::string_view FilterPhaseName(FilterPhase phase);
std::optional<FilterPhase> FilterPhaseNamed(absl::string_view name);
// As filter-response names it: "connected" for connect, "tls" for starttls.
absl::string_view FilterPhaseInResponse(FilterPhase phase);
// "link-connect", "tx-begin", ...
absl::string_view FilterEventName(FilterEvent event);
std::optional<FilterEvent> FilterEventNamed(absl::string_view name);

// Sets of phases and of events: one bit each.
inline constexpr uint32_t MaskOf(FilterPhase phase) {
  return uint32_t{1} << static_cast<int>(phase);
}
inline constexpr uint32_t MaskOf(FilterEvent event) {
  return uint32_t{1} << static_cast<int>(event);
}
inline constexpr uint32_t kAllFilterEvents = (uint32_t{1} << kFilterEvents) - 1;

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_FILTER_WORDS_H_
