// `show message` as its words want it: `--headers` ends before the first empty
// line, `--raw` has the line ends of the wire (CRLF) instead of LF.
#ifndef HOLDFAST_CTL_CONTROL_MESSAGE_OUTPUT_H_
#define HOLDFAST_CTL_CONTROL_MESSAGE_OUTPUT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace holdfast {

class MessageOutput {
 public:
  enum class Form { kWhole, kHeaders, kRaw };

  // Takes the word for it off a command's words.
  static Form TakeForm(std::vector<std::string>* words);

  explicit MessageOutput(Form form) : form_(form) {}

  // What of the next piece, cut anywhere, is to be printed.
  std::string Take(absl::string_view piece);

 private:
  const Form form_;
  bool line_begins_ = true;
  bool ended_ = false;  // the headers
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_CONTROL_MESSAGE_OUTPUT_H_
