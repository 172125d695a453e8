#include "protocol/vis.h"

#include <cstdint>

namespace holdfast {
namespace {

bool IsGraphic(uint8_t c) { return c > ' ' && c < 0x7f; }

// The letter behind the backslash for what has a C escape, or 0.
char CStyleLetter(uint8_t c) {
  switch (c) {
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    case '\a':
      return 'a';
    case '\b':
      return 'b';
    case '\v':
      return 'v';
    case '\f':
      return 'f';
    default:
      return 0;
  }
}

void AppendEncoded(uint8_t c, bool octal_follows, std::string* out) {
  out->push_back('\\');
  if (c == ' ') return out->push_back('s');
  if (const char letter = CStyleLetter(c)) return out->push_back(letter);
  if (c == 0) return void(out->append(octal_follows ? "000" : "0"));
  if (c == 0xa0) return void(out->append("240"));
  if (c & 0x80) out->push_back('M');
  const uint8_t low = c & 0x7f;
  if (low == 0x7f) return void(out->append("^?"));
  if (low < ' ') {
    out->push_back('^');
    out->push_back(static_cast<char>(low + '@'));
  } else {
    out->push_back('-');
    out->push_back(static_cast<char>(low));
  }
}

}  // namespace

std::string VisEncode(absl::string_view text, VisSpace space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const uint8_t c = static_cast<uint8_t>(text[i]);
    if (c == '\\') {
      out.append("\\\\");
    } else if (IsGraphic(c) || (c == ' ' && space == VisSpace::kKeep)) {
      out.push_back(static_cast<char>(c));
    } else {
      const bool octal_follows =
          i + 1 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '7';
      AppendEncoded(c, octal_follows, &out);
    }
  }
  return out;
}

}  // namespace holdfast
