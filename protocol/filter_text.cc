#include "protocol/filter_text.h"

#include "absl/strings/match.h"
#include "protocol/filter_lines.h"

namespace holdfast {
namespace {

void AppendLine(absl::string_view line, absl::string_view prefix,
                std::string* out) {
  out->append(prefix.data(), prefix.size());
  if (absl::StartsWith(line, ".")) out->push_back('.');
  out->append(line.data(), line.size());
  out->push_back('\n');
}

}  // namespace

bool FilterTextEncoder::Append(absl::string_view text, absl::string_view prefix,
                               std::string* out) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const absl::string_view part = text.substr(0, end);
    if (held_.size() + part.size() > kMaxFilterLine) return false;
    if (end == absl::string_view::npos) {
      held_.append(part.data(), part.size());
      return true;
    }
    text.remove_prefix(end + 1);
    if (held_.empty()) {
      AppendLine(part, prefix, out);
      continue;
    }
    held_.append(part.data(), part.size());
    AppendLine(held_, prefix, out);
    // A long line must not keep its memory for the rest of the message.
    std::string().swap(held_);
  }
  return true;
}

void FilterTextEncoder::Finish(absl::string_view prefix, std::string* out) {
  if (!held_.empty()) AppendLine(held_, prefix, out);
  std::string().swap(held_);
  out->append(prefix.data(), prefix.size());
  out->append(".\n");
}

void AppendFilterText(absl::string_view line, std::string* out) {
  if (absl::StartsWith(line, ".")) line.remove_prefix(1);
  out->append(line.data(), line.size());
  out->push_back('\n');
}

}  // namespace holdfast
