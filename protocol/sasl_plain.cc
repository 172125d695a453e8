#include "protocol/sasl_plain.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace holdfast {

std::optional<PlainCredentials> ParseSaslPlain(absl::string_view message) {
  if (message.size() > kMaxSaslResponse) return std::nullopt;
  const size_t first = message.find('\0');
  if (first == absl::string_view::npos) return std::nullopt;
  const absl::string_view rest = message.substr(first + 1);
  const size_t second = rest.find('\0');
  if (second == absl::string_view::npos) return std::nullopt;
  const absl::string_view user = rest.substr(0, second);
  const absl::string_view password = rest.substr(second + 1);
  if (user.empty() || user.size() > kMaxSaslUser || password.empty() ||
      password.find('\0') != absl::string_view::npos ||
      rest.find_first_of("\r\n") != absl::string_view::npos) {
    return std::nullopt;
  }
  PlainCredentials credentials;
  credentials.user = std::string(user);
  credentials.password = Secret(password);
  return credentials;
}

bool IsMechanismName(absl::string_view text) {
  constexpr size_t kMostLetters = 20;
  if (absl::EqualsIgnoreCase(text, "PLAIN") ||
      absl::EqualsIgnoreCase(text, "LOGIN"))
    return true;
  return !text.empty() && text.size() <= kMostLetters &&
         std::all_of(text.begin(), text.end(), [](char c) {
           const auto u = static_cast<unsigned char>(c);
           return absl::ascii_isupper(u) || absl::ascii_isdigit(u) ||
                  c == '-' || c == '_';
         });
}

}  // namespace holdfast
