// The lines between smtpd and a filter process (smtpd-filters(7); reference
// part 2, section 7), as versions 0.5, 0.6 and 0.7 have them.  Pure.
//
// Lines end with LF, fields are separated by '|', nothing is escaped: only the
// last field may hold a '|'.
#ifndef HOLDFAST_PROTOCOL_FILTER_LINES_H_
#define HOLDFAST_PROTOCOL_FILTER_LINES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/filter_words.h"
#include "protocol/ids.h"

namespace holdfast {

// A line of a message that passes a filter has at most so many octets.
inline constexpr size_t kMaxFilterLine = 1 << 20;
// What stands before it in a line of the protocol, at most.
inline constexpr size_t kMaxFilterPrefix = 256;

enum class FilterProtocol : uint8_t { k05, k06, k07 };
// "0.5", "0.6", "0.7"
absl::string_view FilterProtocolName(FilterProtocol protocol);
std::optional<FilterProtocol> FilterProtocolNamed(absl::string_view name);

// ---- To the filter.  All append whole lines to `out`, but where said so.
// Octets of an argument that would end its line or its field become '?'.

struct FilterGreeting {
  FilterProtocol protocol = FilterProtocol::k07;
  std::string version;            // "7.8.0-portable"
  int64_t session_timeout = 300;  // seconds
  bool smtp_out = false;          // a relay action uses it
  std::string admd;
};
// config|..., up to config|ready.
void AppendFilterGreeting(const FilterGreeting& greeting, std::string* out);

// report|...; `fields` in the order of 0.7.
void AppendFilterReport(FilterProtocol protocol, absl::Time at, bool outgoing,
                        FilterEvent event, SessionId session,
                        const std::vector<std::string>& fields,
                        std::string* out);

// filter|... with one parameter, which may have a '|' (connect).
void AppendFilterRequest(FilterProtocol protocol, absl::Time at,
                         FilterPhase phase, SessionId session, uint64_t token,
                         absl::string_view parameter, std::string* out);
// The same without parameter and line end: what stands before each line of a
// message.
std::string FilterRequestPrefix(FilterProtocol protocol, absl::Time at,
                                FilterPhase phase, SessionId session,
                                uint64_t token);

// ---- From the filter.  Views are into the line.

struct FilterRegistersEvents {
  bool outgoing = false;
  uint32_t events = 0;  // one, or all
};
struct FilterRegistersPhase {
  FilterPhase phase{};
};
struct FilterRegistersReady {};

enum class FilterVerdict : uint8_t {
  kProceed,
  kJunk,
  kReject,      // text: the reply
  kDisconnect,  // text: the reply
  kRewrite,     // text: the new argument
  kReport,      // text: of the report
};
struct FilterResult {
  SessionId session{};
  uint64_t token = 0;
  FilterVerdict verdict{};
  absl::string_view text;
};
// One line of a message, dot-stuffed; "." is the end.
struct FilterDataline {
  SessionId session{};
  uint64_t token = 0;
  absl::string_view line;
};
// What it says of itself: report|SEC.USEC|smtp-in|SESSION|TEXT.
struct FilterSays {
  bool outgoing = false;
  SessionId session{};
  absl::string_view text;
};
using FilterLine = std::variant<FilterRegistersEvents, FilterRegistersPhase,
                                FilterRegistersReady, FilterResult,
                                FilterDataline, FilterSays>;

// `line` without its LF.  The error says what is wrong with it, without what
// it holds.
absl::StatusOr<FilterLine> ParseFilterLine(absl::string_view line);

// Lines out of bytes that are cut anywhere.
class FilterLineReader {
 public:
  // Calls `line` (without LF) for each line that is complete, until it returns
  // false: the rest of `bytes` is dropped then.  False also if a line is longer
  // than kMaxFilterLine + kMaxFilterPrefix; too_long() tells.
  bool Read(absl::string_view bytes,
            absl::FunctionRef<bool(absl::string_view)> line);
  bool too_long() const { return too_long_; }
  // Octets of a line that is not complete.
  size_t held() const { return held_.size(); }

 private:
  std::string held_;
  bool too_long_ = false;
};

// Whether a filter's text can be the reply to a command: "4yz ..." or "5yz
// ...".  (reference part 1, section 1.11)
bool IsFilterReply(absl::string_view text);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_FILTER_LINES_H_
