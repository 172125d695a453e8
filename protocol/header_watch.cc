#include "protocol/header_watch.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace holdfast {

bool HeaderWatch::Feed(absl::string_view text) {
  while (!done_ && !text.empty()) {
    const size_t end = text.find('\n');
    const absl::string_view piece = text.substr(0, end);
    const size_t room = kMaxLineBytes - line_.size();
    line_.append(piece.data(), std::min(piece.size(), room));
    if (end == absl::string_view::npos) break;
    text.remove_prefix(end + 1);
    if (line_.empty()) {
      done_ = true;
    } else {
      on_line_(line_);
      line_.clear();
    }
  }
  return !done_;
}

bool HeaderLineIs(absl::string_view line, absl::string_view name,
                  absl::string_view value) {
  if (!absl::StartsWithIgnoreCase(line, name)) return false;
  line.remove_prefix(name.size());
  if (!absl::ConsumePrefix(&line, ":")) return false;
  return absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(line), value);
}

}  // namespace holdfast
