#include "protocol/xtext.h"

#include <cstddef>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace holdfast {
namespace {

// -1: no hexadecimal digit in upper case.
int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsScalarValue(uint32_t c) {
  return c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
}

bool IsControl(uint32_t c) { return c < 0x20 || (c >= 0x7f && c < 0xa0); }

// Takes one character off the front.  nullopt: that is not UTF-8.
std::optional<uint32_t> TakeCharacter(absl::string_view* text) {
  const auto at = [text](size_t i) {
    return static_cast<unsigned char>((*text)[i]);
  };
  const unsigned char first = at(0);
  size_t length = 1;
  uint32_t c = first;
  uint32_t least = 0;  // shorter forms exist below this
  if (first >= 0xf0 && first < 0xf8) {
    length = 4, c = first & 0x07, least = 0x10000;
  } else if (first >= 0xe0 && first < 0xf0) {
    length = 3, c = first & 0x0f, least = 0x800;
  } else if (first >= 0xc0 && first < 0xe0) {
    length = 2, c = first & 0x1f, least = 0x80;
  } else if (first >= 0x80) {
    return std::nullopt;
  }
  if (text->size() < length) return std::nullopt;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return std::nullopt;
    c = c << 6 | (at(i) & 0x3f);
  }
  if (c < least || !IsScalarValue(c)) return std::nullopt;
  text->remove_prefix(length);
  return c;
}

// Takes "\x{HEX}" off the front; at most six digits.
bool TakeEmbedded(absl::string_view* text) {
  constexpr size_t kMaxDigits = 6;
  if (!absl::StartsWith(*text, "\\x{")) return false;
  text->remove_prefix(3);
  uint32_t c = 0;
  size_t digits = 0;
  while (digits < text->size() && digits < kMaxDigits &&
         HexDigit((*text)[digits]) >= 0)
    c = c << 4 | static_cast<uint32_t>(HexDigit((*text)[digits++]));
  text->remove_prefix(digits);
  if (digits == 0 || !absl::StartsWith(*text, "}")) return false;
  text->remove_prefix(1);
  return IsScalarValue(c) && !IsControl(c);
}

}  // namespace

std::optional<std::string> DecodeXtext(absl::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c < '!' || c > '~' || c == '=') return std::nullopt;
    if (c != '+') {
      decoded.push_back(c);
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = HexDigit(text[i + 1]);
    const int low = HexDigit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    const int octet = high << 4 | low;
    // A line end or a NUL would come out again where the value is shown.
    if (octet < ' ' || octet == 0x7f) return std::nullopt;
    decoded.push_back(static_cast<char>(octet));
    i += 2;
  }
  return decoded;
}

bool IsValidXtext(absl::string_view text) {
  return DecodeXtext(text).has_value();
}

bool IsValidUtf8Address(absl::string_view text, bool raw) {
  while (!text.empty()) {
    const char c = text.front();
    if (c == '\\') {
      if (!TakeEmbedded(&text)) return false;
      continue;
    }
    if (c >= '!' && c <= '~') {
      if (c == '+' || c == '=') return false;
      text.remove_prefix(1);
      continue;
    }
    if (!raw || static_cast<unsigned char>(c) < 0x80) return false;
    const std::optional<uint32_t> wide = TakeCharacter(&text);
    if (!wide || IsControl(*wide)) return false;
  }
  return true;
}

bool IsValidUtf8(absl::string_view text) {
  while (!text.empty()) {
    const std::optional<uint32_t> c = TakeCharacter(&text);
    if (!c || IsControl(*c)) return false;
  }
  return true;
}

}  // namespace holdfast
