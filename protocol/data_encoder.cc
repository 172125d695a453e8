#include "protocol/data_encoder.h"

#include <cstring>

namespace holdfast {

void DataEncoder::Append(absl::string_view text, std::string* out) {
  // Room for the CRs of lines of 40 bytes, so that it rarely grows again.
  out->reserve(out->size() + text.size() + text.size() / 40 + 16);
  while (!text.empty()) {
    if (pending_cr_) {
      pending_cr_ = false;
      if (text.front() != '\n') AppendLines(" ", out);
    }
    const void* cr = std::memchr(text.data(), '\r', text.size());
    if (cr == nullptr) return AppendLines(text, out);
    const size_t at =
        static_cast<size_t>(static_cast<const char*>(cr) - text.data());
    AppendLines(text.substr(0, at), out);
    text.remove_prefix(at + 1);
    pending_cr_ = true;
  }
}

void DataEncoder::AppendLines(absl::string_view text, std::string* out) {
  while (!text.empty()) {
    if (dots_ && line_start_ && text.front() == '.') out->push_back('.');
    const void* lf = std::memchr(text.data(), '\n', text.size());
    if (lf == nullptr) {
      out->append(text.data(), text.size());
      line_start_ = false;
      return;
    }
    const size_t n =
        static_cast<size_t>(static_cast<const char*>(lf) - text.data());
    out->append(text.data(), n);
    out->append("\r\n", 2);
    line_start_ = true;
    text.remove_prefix(n + 1);
  }
}

void DataEncoder::Finish(std::string* out) {
  if (pending_cr_) AppendLines(" ", out);
  pending_cr_ = false;
  if (!line_start_) out->append("\r\n", 2);
  if (dots_) out->append(".\r\n", 3);
  line_start_ = true;
}

void BinaryEncoder::Append(absl::string_view text, std::string* out) {
  size_t at = 0;
  for (; in_header_ && at < text.size(); ++at) {
    if (text[at] != '\n') {
      out->push_back(text[at]);
      line_empty_ = false;
      continue;
    }
    out->append("\r\n", 2);
    if (line_empty_) in_header_ = false;
    line_empty_ = true;
  }
  out->append(text.data() + at, text.size() - at);
}

void BinaryText::Append(absl::string_view text, std::string* out) {
  for (const char c : text) {
    if (pending_cr_ && c != '\n') out->push_back('\r');
    pending_cr_ = c == '\r';
    if (!pending_cr_) out->push_back(c);
    line_start_ = c == '\n';
  }
}

void BinaryText::Finish(std::string* out) {
  if (pending_cr_) out->push_back('\r');
  pending_cr_ = false;
  if (!line_start_) out->push_back('\n');
  line_start_ = true;
}

}  // namespace holdfast
