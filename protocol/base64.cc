#include "protocol/base64.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/strip.h"

namespace holdfast {

std::optional<std::string> DecodeBase64(absl::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  absl::string_view digits = text;
  if (absl::ConsumeSuffix(&digits, "=")) absl::ConsumeSuffix(&digits, "=");
  for (const char c : digits) {
    const bool digit = absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                       c == '+' || c == '/';
    if (!digit) return std::nullopt;
  }
  std::string decoded;
  if (!absl::Base64Unescape(text, &decoded)) return std::nullopt;
  // Bits behind the last octet.
  if (absl::Base64Escape(decoded) != std::string(text)) return std::nullopt;
  return decoded;
}

}  // namespace holdfast
