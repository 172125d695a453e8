// A line of a table's file: key and value (table(5)).  Pure.
#ifndef HOLDFAST_CONFIG_TABLE_LINE_H_
#define HOLDFAST_CONFIG_TABLE_LINE_H_

#include <optional>

#include "absl/strings/string_view.h"

namespace holdfast {

// Taken apart; pieces of the text.
struct TableLine {
  absl::string_view key;
  bool separated = false;  // something that separates stood behind the key
  absl::string_view value;
};

// Of a line without blanks at its ends, not empty and no comment.  Nothing if
// the bracket that it begins with is never closed.
std::optional<TableLine> SplitTableLine(absl::string_view line);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_TABLE_LINE_H_
