#include "ctl/submission/message_body.h"

#include <cstdint>

#include "absl/strings/str_format.h"

namespace holdfast {

void LineEnds::Write(absl::string_view bytes, std::string* out) {
  for (const char c : bytes) {
    if (cr_ && c != '\n') {
      needs_encoding_ = true;
      Put('\r', out);
    }
    cr_ = c == '\r';
    if (!cr_) Put(c, out);
  }
}

void LineEnds::Finish(std::string* out) {
  if (cr_) {
    needs_encoding_ = true;
    Put('\r', out);
  }
  cr_ = false;
  if (column_ > 0) Put('\n', out);
}

void LineEnds::Put(char c, std::string* out) {
  out->push_back(c);
  column_ = c == '\n' ? 0 : column_ + 1;
  if (column_ >= kLongLine) needs_encoding_ = true;
}

void QuotedPrintable::Write(absl::string_view bytes, std::string* out) {
  for (const char c : bytes) {
    if (blank_ != 0) {
      // A blank at the end of a line would be lost on the way.
      if (c == '\n') {
        Emit(blank_ == ' ' ? "=20" : "=09", out);
      } else {
        Emit(absl::string_view(&blank_, 1), out);
      }
      blank_ = 0;
    }
    if (c == '\n') {
      out->push_back('\n');
      column_ = 0;
    } else if (c == ' ' || c == '\t') {
      blank_ = c;
    } else if (c > ' ' && c <= '~' && c != '=') {
      Emit(absl::string_view(&c, 1), out);
    } else {
      Emit(absl::StrFormat("=%02X", static_cast<uint8_t>(c)), out);
    }
  }
}

void QuotedPrintable::Finish(std::string* out) {
  if (blank_ != 0) Emit(blank_ == ' ' ? "=20" : "=09", out);
  blank_ = 0;
  if (column_ > 0) out->push_back('\n');
  column_ = 0;
}

void QuotedPrintable::Emit(absl::string_view token, std::string* out) {
  constexpr size_t kMaxLine = 76;  // the soft break's '=' included
  if (column_ + token.size() > kMaxLine - 1) {
    out->append("=\n");
    column_ = 0;
  }
  out->append(token.data(), token.size());
  column_ += token.size();
}

void DotStuffing::Write(absl::string_view bytes, std::string* out) {
  for (const char c : bytes) {
    if (line_start_ && c == '.') out->push_back('.');
    line_start_ = c == '\n';
    if (line_start_) out->push_back('\r');
    out->push_back(c);
  }
}

}  // namespace holdfast
