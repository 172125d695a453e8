#include "ctl/maps/map_source.h"

#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "config/expansion_items.h"
#include "config/table_line.h"
#include "protocol/vis.h"

namespace holdfast {
namespace {

using Entry = std::pair<std::string, std::string>;

// Whether something stands between any two commas, and at both ends.
bool HasNoEmptyItem(absl::string_view list) {
  bool quoted = false, something = false;
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i] == ',' && !quoted) {
      if (!something) return false;
      something = false;
      continue;
    }
    if (list[i] == '"') quoted = !quoted;
    if (list[i] == '\\' && quoted && i + 1 < list.size()) ++i;
    something |= list[i] != ' ' && list[i] != '\t';
  }
  return something;
}

std::optional<Entry> ParseEntry(absl::string_view line, MapType type) {
  if (line.find('\0') != absl::string_view::npos) return std::nullopt;
  if (type == MapType::kSet)
    return Entry(absl::AsciiStrToLower(line), kSetValue);
  const std::optional<TableLine> parts = SplitTableLine(line);
  if (!parts || parts->key.empty() || parts->value.empty()) return std::nullopt;
  if (type == MapType::kAliases &&
      !(HasNoEmptyItem(parts->value) && IsExpansion(parts->value)))
    return std::nullopt;
  return Entry(absl::AsciiStrToLower(parts->key), std::string(parts->value));
}

}  // namespace

absl::StatusOr<MapEntries> ParseMapSource(absl::string_view name,
                                          absl::string_view text,
                                          MapType type) {
  MapEntries entries;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    std::optional<Entry> entry = ParseEntry(line, type);
    if (!entry)
      return absl::InvalidArgumentError(
          absl::StrCat(name, ":", number, ": invalid entry"));
    const std::string key = entry->first;
    if (!entries.insert(*std::move(entry)).second)
      return absl::InvalidArgumentError(absl::StrCat(
          name, ":", number, ": duplicate entry for ", VisEncode(key)));
  }
  return entries;
}

}  // namespace holdfast
