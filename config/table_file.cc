// The text of `file:` tables (table(5); reference part 1, section 2.2).
#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "config/expansion_items.h"
#include "config/table.h"
#include "config/table_line.h"

namespace holdfast {
namespace {

void SkipBlanks(absl::string_view* text) {
  while (!text->empty() && (text->front() == ' ' || text->front() == '\t')) {
    text->remove_prefix(1);
  }
}

bool SaysList(absl::string_view comment) {
  comment.remove_prefix(1);
  return absl::StripAsciiWhitespace(comment) == "@list";
}

}  // namespace

std::optional<TableLine> SplitTableLine(absl::string_view text) {
  size_t end;
  if (text.front() == '[') {
    end = text.find(']');
    if (end == absl::string_view::npos) return std::nullopt;
    ++end;
  } else {
    end = text.find_first_of(" \t:");
  }
  TableLine line;
  line.key = text.substr(0, end);
  if (end == absl::string_view::npos || end >= text.size()) return line;
  line.separated = true;
  line.value = text.substr(end + 1);
  SkipBlanks(&line.value);
  // "key : value" means what it says; the reference takes the colon for part
  // of the value.
  if (line.value.size() > 1 && line.value[0] == ':' &&
      absl::ascii_isblank(static_cast<unsigned char>(line.value[1]))) {
    line.value.remove_prefix(1);
    SkipBlanks(&line.value);
  }
  return line;
}

absl::StatusOr<std::shared_ptr<const TableContents>> ParseTableText(
    absl::string_view path, absl::string_view text) {
  enum class Kind { kUnknown, kList, kMap } kind = Kind::kUnknown;
  if (text.size() > kMaxTableFileBytes) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s: File too large", path));
  }
  TableContents::Builder builder(TableContents::Kind::kMap);
  builder.Reserve(text.size());
  int number = 0;
  for (absl::string_view raw : absl::StrSplit(text, '\n')) {
    ++number;
    raw = absl::StripAsciiWhitespace(raw);
    if (raw.empty()) continue;
    if (raw.front() == '#') {
      if (kind == Kind::kUnknown && SaysList(raw)) kind = Kind::kList;
      continue;
    }
    std::optional<TableLine> line;
    if (kind != Kind::kList) {
      line = SplitTableLine(raw);
      if (line && kind == Kind::kUnknown) {
        kind = line->separated ? Kind::kMap : Kind::kList;
      }
    }
    bool good = true;
    if (kind == Kind::kList) {
      good = builder.Add(raw, "");
    } else {
      good =
          line && !line->value.empty() && builder.Add(line->key, line->value);
    }
    if (good && kind == Kind::kMap && !IsExpansion(line->value)) {
      builder.NoteBadAlias(line->key, number);
    }
    if (!good) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s:%d invalid map entry", path, number));
    }
  }
  if (kind == Kind::kList) builder.SetKind(TableContents::Kind::kList);
  return builder.Finish();
}

}  // namespace holdfast
