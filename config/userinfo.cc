#include "config/userinfo.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"

namespace holdfast {
namespace {

// Digits alone; the highest number means "no user" to the system.
bool ParseId(absl::string_view text, uint32_t* id) {
  for (const char c : text) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return false;
  }
  return absl::SimpleAtoi(text, id) && *id != UINT32_MAX;
}

}  // namespace

std::optional<Userinfo> ParseUserinfo(absl::string_view value) {
  const size_t first = value.find(':');
  if (first == absl::string_view::npos) return std::nullopt;
  const size_t second = value.find(':', first + 1);
  if (second == absl::string_view::npos) return std::nullopt;
  Userinfo info;
  info.home = std::string(value.substr(second + 1));
  if (info.home.empty() || !ParseId(value.substr(0, first), &info.uid) ||
      !ParseId(value.substr(first + 1, second - first - 1), &info.gid)) {
    return std::nullopt;
  }
  return info;
}

}  // namespace holdfast
