#include "protocol/envelope_filter_values.h"

#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "protocol/near_miss.h"
#include "protocol/queue_listing.h"

namespace holdfast {
namespace {

struct Unit {
  char letter;
  int64_t worth;
};
constexpr Unit kTimes[] = {
    {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400}};
constexpr Unit kSizes[] = {{'b', 1},
                           {'k', 1ll << 10},
                           {'m', 1ll << 20},
                           {'g', 1ll << 30},
                           {'t', 1ll << 40}};

// Above any sum of units that is worth asking for, and far from overflow.
constexpr int64_t kMost = 1ll << 50;

// "90", "-5", "2h", "1d12h" (each unit once more is no harm).
template <size_t N>
std::optional<int64_t> ParseUnits(absl::string_view text,
                                  const Unit (&units)[N]) {
  const bool negative = absl::ConsumePrefix(&text, "-");
  if (text.empty()) return std::nullopt;
  int64_t sum = 0;
  while (!text.empty()) {
    size_t digits = 0;
    while (digits < text.size() && absl::ascii_isdigit(text[digits])) ++digits;
    int64_t n = 0;
    if (!absl::SimpleAtoi(text.substr(0, digits), &n)) return std::nullopt;
    text.remove_prefix(digits);
    int64_t worth = 1;
    if (!text.empty()) {
      worth = 0;
      for (const Unit& unit : units)
        if (absl::ascii_tolower(text[0]) == unit.letter) worth = unit.worth;
      if (worth == 0) return std::nullopt;
      text.remove_prefix(1);
    }
    if (n > kMost / worth || sum > kMost - n * worth) return std::nullopt;
    sum += n * worth;
  }
  return negative ? -sum : sum;
}

absl::Status Expected(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("expected ", what));
}

absl::StatusOr<FilterValue> Number(std::optional<int64_t> number,
                                   absl::string_view expected) {
  if (!number) return Expected(expected);
  FilterValue value;
  value.number = *number;
  return value;
}

std::optional<int64_t> WholeNumber(absl::string_view text) {
  int64_t n = 0;
  if (!absl::SimpleAtoi(text, &n) || n > kMost || n < -kMost)
    return std::nullopt;
  return n;
}

int64_t Turned(uint64_t id) {
  return static_cast<int64_t>(id ^ (uint64_t{1} << 63));
}

absl::StatusOr<FilterValue> ParseId(EnvelopeField field,
                                    absl::string_view text) {
  FilterValue value;
  if (field == EnvelopeField::kId) {
    const auto id = ParseEnvelopeId(text);
    if (id) {
      value.number = Turned(static_cast<uint64_t>(*id));
      return value;
    }
    return Expected(ParseMessageId(text)
                        ? "an envelope id of 16 hex digits (a message id is "
                          "asked for with 'message')"
                        : "an envelope id of 16 hex digits");
  }
  const auto id = ParseMessageId(text);
  if (!id) return Expected("a message id of 8 hex digits");
  value.number = Turned(static_cast<uint64_t>(*id));
  return value;
}

absl::StatusOr<FilterValue> ParseStatus(absl::string_view text) {
  FilterValue value;
  const std::vector<std::string> parts = absl::StrSplit(text, '.');
  const int64_t worth[] = {1000000, 1000, 1};
  bool good = !parts.empty() && parts.size() <= 3;
  for (size_t i = 0; good && i < parts.size(); ++i) {
    int64_t n = 0;
    good = absl::SimpleAtoi(parts[i], &n) && n >= 0 && n <= 999 &&
           (i > 0 || (n >= 2 && n <= 5 && n != 3)) && parts[i][0] != '+';
    value.number += n * worth[i];
  }
  if (!good)
    return Expected(
        "a status code: 2, 4 or 5, or more of it, as 4.4 or 4.4.1 (what a host "
        "answered is in 'error')");
  value.depth = static_cast<StatusDepth>(parts.size());
  return value;
}

absl::StatusOr<FilterValue> ParseWord(EnvelopeField field,
                                      absl::string_view text) {
  const std::vector<std::string> words = WordsOf(field);
  FilterValue value;
  value.text = absl::AsciiStrToLower(text);
  for (const std::string& word : words)
    if (word == value.text) return value;
  const std::string near = NearMiss(value.text, words);
  return Expected(absl::StrCat(
      "one of ", absl::StrJoin(words, ", "),
      near.empty() ? "" : absl::StrCat(" (did you mean '", near, "'?)")));
}

}  // namespace

absl::StatusOr<FilterValue> ParseFilterValue(const EnvelopeFieldInfo& field,
                                             absl::string_view text) {
  switch (field.type) {
    case FieldType::kId:
      return ParseId(field.field, text);
    case FieldType::kWord:
    case FieldType::kWords:
      return ParseWord(field.field, text);
    case FieldType::kNumber:
      return Number(WholeNumber(text), "a number");
    case FieldType::kBytes:
      return Number(ParseUnits(text, kSizes),
                    "a size: a number with K, M or G behind it, or alone");
    case FieldType::kDuration:
      return Number(ParseUnits(text, kTimes),
                    "a time: numbers with s, m, h, d or w behind each");
    case FieldType::kStatus:
      return ParseStatus(text);
    case FieldType::kText:
      break;
  }
  FilterValue value;
  value.text = absl::AsciiStrToLower(text);
  // As SMTP writes a path.
  if (value.text.size() >= 2 && value.text.front() == '<' &&
      value.text.back() == '>')
    value.text = value.text.substr(1, value.text.size() - 2);
  return value;
}

}  // namespace holdfast
