#include "ctl/top/top_keys.h"

#include <optional>

namespace holdfast {
namespace {

using Kind = TopKey::Kind;

// Of "ESC [ ... x" and "ESC O x", without the ESC (ECMA-48, xterm).
std::optional<Kind> KindOf(absl::string_view sequence) {
  switch (sequence.back()) {
    case 'A':
      return Kind::kUp;
    case 'B':
      return Kind::kDown;
    case 'C':
      return Kind::kRight;
    case 'D':
      return Kind::kLeft;
    case 'H':
      return Kind::kHome;
    case 'F':
      return Kind::kEnd;
    case '~':
      if (sequence == "[5~") return Kind::kPageUp;
      if (sequence == "[6~") return Kind::kPageDown;
      if (sequence == "[1~" || sequence == "[7~") return Kind::kHome;
      if (sequence == "[4~" || sequence == "[8~") return Kind::kEnd;
      break;
  }
  return std::nullopt;
}

// Its last octet, which none of its parameters can be.
bool Ends(absl::string_view sequence) {
  if (sequence.size() == 1) return sequence != "[" && sequence != "O";
  return sequence.back() >= 0x40 && sequence.back() <= 0x7e;
}

}  // namespace

std::vector<TopKey> TopKeyReader::Take(absl::string_view bytes) {
  std::vector<TopKey> keys;
  for (const char c : bytes) {
    if (c == '\x1b') {
      sequence_ = c;
    } else if (sequence_.empty()) {
      keys.push_back({Kind::kCharacter, c});
    } else {
      sequence_ += c;
      const absl::string_view rest = absl::string_view(sequence_).substr(1);
      if (!Ends(rest) && sequence_.size() < kMaxSequence) continue;
      const std::optional<Kind> kind =
          rest.size() > 1 ? KindOf(rest) : std::nullopt;
      if (kind) keys.push_back({*kind, 0});
      sequence_.clear();
    }
  }
  return keys;
}

}  // namespace holdfast
