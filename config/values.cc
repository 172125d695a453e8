#include "config/values.h"

#include <limits>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace holdfast {
namespace {

// More digits behind the point say nothing, and would not fit.
constexpr size_t kMaxFractionDigits = 15;

bool AllDigits(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return false;
  }
  return !text.empty();
}

// The power of 1024 that `suffix` stands for; -1: none.
int PowerOf(char suffix) {
  const size_t at = absl::string_view("BKMGTPE").find(
      absl::ascii_toupper(static_cast<unsigned char>(suffix)));
  return at == absl::string_view::npos ? -1 : static_cast<int>(at);
}

}  // namespace

std::optional<absl::Duration> ParseDelay(absl::string_view text) {
  if (text.size() < 2) return std::nullopt;
  int64_t unit = 0;
  switch (text.back()) {
    case 's':
      unit = 1;
      break;
    case 'm':
      unit = 60;
      break;
    case 'h':
      unit = 3600;
      break;
    case 'd':
      unit = 86400;
      break;
    default:
      return std::nullopt;
  }
  text.remove_suffix(1);
  int64_t count = 0;
  constexpr int64_t kMaxSeconds = std::numeric_limits<int32_t>::max();
  if (!AllDigits(text) || !absl::SimpleAtoi(text, &count) || count <= 0 ||
      count > kMaxSeconds / unit) {
    return std::nullopt;
  }
  return absl::Seconds(count * unit);
}

std::optional<uint64_t> ParseSize(absl::string_view text) {
  int power = 0;
  if (!text.empty() &&
      absl::ascii_isalpha(static_cast<unsigned char>(text.back()))) {
    power = PowerOf(text.back());
    if (power < 0) return std::nullopt;
    text.remove_suffix(1);
  }
  const size_t point = text.find('.');
  const absl::string_view whole_text = text.substr(0, point);
  absl::string_view fraction_text;
  if (point != absl::string_view::npos) {
    fraction_text = text.substr(point + 1);
    if (!AllDigits(fraction_text)) return std::nullopt;
    fraction_text = fraction_text.substr(0, kMaxFractionDigits);
  }
  int64_t whole = 0;
  if (!AllDigits(whole_text) || !absl::SimpleAtoi(whole_text, &whole)) {
    return std::nullopt;
  }
  __int128 fraction = 0;
  __int128 divisor = 1;
  for (const char c : fraction_text) {
    fraction = fraction * 10 + (c - '0');
    divisor *= 10;
  }
  const __int128 unit = static_cast<__int128>(1) << (10 * power);
  const __int128 size = whole * unit + fraction * unit / divisor;
  if (size > std::numeric_limits<int64_t>::max()) return std::nullopt;
  return static_cast<uint64_t>(size);
}

std::optional<double> ParsePercent(absl::string_view text) {
  if (text.empty() || text.back() != '%') return std::nullopt;
  text.remove_suffix(1);
  for (const char c : text) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c)) && c != '.') {
      return std::nullopt;
    }
  }
  double percent = 0;
  if (!absl::SimpleAtod(text, &percent) || percent >= 100) return std::nullopt;
  return percent / 100;
}

std::optional<uint16_t> FindTcpService(absl::string_view services,
                                       absl::string_view name) {
  for (absl::string_view line : absl::StrSplit(services, '\n')) {
    line = line.substr(0, line.find('#'));
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (fields.size() < 2) continue;
    const size_t slash = fields[1].find('/');
    if (slash == absl::string_view::npos ||
        fields[1].substr(slash + 1) != "tcp") {
      continue;
    }
    uint32_t port = 0;
    if (!absl::SimpleAtoi(fields[1].substr(0, slash), &port) || port == 0 ||
        port > std::numeric_limits<uint16_t>::max()) {
      continue;
    }
    for (size_t i = 0; i < fields.size(); ++i) {
      if (i != 1 && fields[i] == name) return static_cast<uint16_t>(port);
    }
  }
  return std::nullopt;
}

bool IsHostname(absl::string_view text) {
  const auto letter = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c));
  };
  for (const absl::string_view label : absl::StrSplit(text, '.')) {
    if (label.empty()) continue;
    if (!letter(label.front()) || !letter(label.back())) return false;
    for (const char c : label) {
      if (!letter(c) && c != '-' && c != '_') return false;
    }
  }
  return true;
}

}  // namespace holdfast
