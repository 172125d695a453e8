#include "ctl/control/message_output.h"

#include "absl/strings/str_replace.h"

namespace holdfast {

MessageOutput::Form MessageOutput::TakeForm(std::vector<std::string>* words) {
  Form form = Form::kWhole;
  if (words->size() != 4 || (*words)[0] != "show" || (*words)[1] != "message")
    return form;
  if (words->back() == "--headers") form = Form::kHeaders;
  if (words->back() == "--raw") form = Form::kRaw;
  if (form != Form::kWhole) words->pop_back();
  return form;
}

std::string MessageOutput::Take(absl::string_view piece) {
  if (form_ == Form::kWhole) return std::string(piece);
  if (form_ == Form::kRaw) return absl::StrReplaceAll(piece, {{"\n", "\r\n"}});
  size_t length = 0;
  while (length < piece.size() && !ended_) {
    const bool newline = piece[length] == '\n';
    ended_ = newline && line_begins_;
    line_begins_ = newline;
    if (!ended_) ++length;
  }
  return std::string(piece.substr(0, length));
}

}  // namespace holdfast
