// The text of a message as filters get it and give it back: a line of the
// protocol for each line of it, dots stuffed (smtpd-filters(7), data-line).
// Pure.
#ifndef HOLDFAST_PROTOCOL_FILTER_TEXT_H_
#define HOLDFAST_PROTOCOL_FILTER_TEXT_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// Stored text (lines end with LF) into lines of the protocol, each behind
// `prefix` (FilterRequestPrefix()).  Only whole lines go out, since others
// write to the same filter: an incomplete one is held, up to kMaxFilterLine.
class FilterTextEncoder {
 public:
  // False: a line is longer than kMaxFilterLine; the message is lost.
  bool Append(absl::string_view text, absl::string_view prefix,
              std::string* out);
  // Completes a last line that has no LF, and writes the line that is the end.
  void Finish(absl::string_view prefix, std::string* out);
  // Octets of the line that is not complete.
  size_t held() const { return held_.size(); }

 private:
  std::string held_;
};

// The line "." of a filter: its text has ended.
inline bool IsFilterTextEnd(absl::string_view line) { return line == "."; }

// Any other line of a filter, as stored text: one dot at its beginning is not
// its own.  What no line can hold (CR, NUL) stays; it is looked for later.
void AppendFilterText(absl::string_view line, std::string* out);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_FILTER_TEXT_H_
