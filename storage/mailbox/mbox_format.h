// A message as it stands in an mbox file.
#ifndef HOLDFAST_STORAGE_MAILBOX_MBOX_FORMAT_H_
#define HOLDFAST_STORAGE_MAILBOX_MBOX_FORMAT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace holdfast {

// Pure.  "From SENDER CTIME", the text with a '>' before each "From " that
// begins a line, and an empty line at the end.
class MboxEncoder {
 public:
  // Which lines: those that follow an empty line or begin the text, or all.
  enum class Quote { kAfterEmpty, kEveryLine };

  // `ctime`: "Sun Nov 22 15:06:56 2026".
  MboxEncoder(absl::string_view sender, absl::string_view ctime,
              Quote quote = Quote::kAfterEmpty);

  // Appends to `*out` what `text`, the next piece, becomes.
  void Write(absl::string_view text, std::string* out);
  // Appends the end.
  void Finish(std::string* out);

 private:
  enum class Line { kStart, kStartAfterEmpty, kInside };
  // How a line begins that follows one with text.
  Line AfterText() const;
  void WriteHeld(std::string* out);

  const Quote quote_;
  std::string head_;  // the From line, until it was written
  Line line_ = Line::kStartAfterEmpty;
  std::string held_;  // a beginning of "From ", not yet decided
};

}  // namespace holdfast

#endif  // HOLDFAST_STORAGE_MAILBOX_MBOX_FORMAT_H_
