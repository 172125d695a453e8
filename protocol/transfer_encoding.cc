#include "protocol/transfer_encoding.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

// That many octets make a whole line of base64.
constexpr size_t kOctetsOfLine = kMaxEncodedLine / 4 * 3;

}  // namespace

std::string QuotedOctet(char c) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  const auto octet = static_cast<unsigned char>(c);
  return {'=', kDigits[octet >> 4], kDigits[octet & 15]};
}

void QuotedPrintableEncoder::Put(absl::string_view token, std::string* out) {
  // The last column is for the "=" of a soft line break.
  if (column_ + token.size() >= kMaxEncodedLine) {
    out->append("=\n");
    column_ = 0;
  }
  out->append(token.data(), token.size());
  column_ += token.size();
}

void QuotedPrintableEncoder::PutHeld(bool at_end, std::string* out) {
  const char held = std::exchange(held_, '\0');
  if (held == '\0') return;
  if (held == '\r' || at_end)
    Put(QuotedOctet(held), out);
  else
    Put(absl::string_view(&held, 1), out);
}

void QuotedPrintableEncoder::Text(absl::string_view text, std::string* out) {
  for (const char& c : text) {
    PutHeld(false, out);
    if (c == ' ' || c == '\t' || c == '\r')
      held_ = c;
    else if (c > ' ' && c <= '~' && c != '=')
      Put(absl::string_view(&c, 1), out);
    else
      Put(QuotedOctet(c), out);
  }
}

void QuotedPrintableEncoder::Break(std::string* out) {
  if (held_ == '\r') held_ = '\0';
  PutHeld(true, out);
  out->push_back('\n');
  column_ = 0;
}

void QuotedPrintableEncoder::Finish(bool, std::string* out) {
  PutHeld(true, out);
}

void Base64Encoder::Put(absl::string_view octets, std::string* out) {
  while (!octets.empty()) {
    const size_t n = std::min(octets.size(), kOctetsOfLine - group_.size());
    absl::StrAppend(&group_, octets.substr(0, n));
    octets.remove_prefix(n);
    if (group_.size() < kOctetsOfLine) return;
    absl::StrAppend(out, absl::Base64Escape(group_), "\n");
    group_.clear();
  }
}

void Base64Encoder::PutHeld(std::string* out) {
  if (std::exchange(held_break_, false)) Put("\r\n", out);
  if (std::exchange(held_cr_, false)) Put("\r", out);
}

void Base64Encoder::Text(absl::string_view text, std::string* out) {
  if (text.empty()) return;
  PutHeld(out);
  held_cr_ = text.back() == '\r';
  if (held_cr_) text.remove_suffix(1);
  Put(text, out);
}

void Base64Encoder::Break(std::string* out) {
  held_cr_ = false;
  PutHeld(out);
  held_break_ = true;
}

void Base64Encoder::Finish(bool last_break, std::string* out) {
  if (!last_break) held_break_ = false;
  PutHeld(out);
  if (group_.empty()) return;
  absl::StrAppend(out, absl::Base64Escape(group_), "\n");
  group_.clear();
}

}  // namespace holdfast
