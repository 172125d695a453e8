// Watches a message go by and shows the lines of its header.
#ifndef HOLDFAST_PROTOCOL_HEADER_WATCH_H_
#define HOLDFAST_PROTOCOL_HEADER_WATCH_H_

#include <functional>
#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// Pure.  The text comes in pieces of any size, lines end with LF.  Memory:
// kMaxLineBytes; of a longer line only its beginning is shown.
class HeaderWatch {
 public:
  static constexpr size_t kMaxLineBytes = 2048;

  // `on_line` gets each line as it stands, without its LF; continuation lines
  // come as lines of their own, with their leading blank.
  explicit HeaderWatch(std::function<void(absl::string_view)> on_line)
      : on_line_(std::move(on_line)) {}

  // Returns whether the header goes on behind `text`.
  bool Feed(absl::string_view text);
  bool done() const { return done_; }

 private:
  std::function<void(absl::string_view)> on_line_;
  std::string line_;  // the present line so far, cut
  bool done_ = false;
};

// Whether this header line is `name` with exactly `value` (ignoring case):
// "name: value".
bool HeaderLineIs(absl::string_view line, absl::string_view name,
                  absl::string_view value);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_HEADER_WATCH_H_
