// From the rows that a database gave to the one value of smtpd-tables(7).
#ifndef HOLDFAST_CTL_TABLES_TABLE_ANSWER_H_
#define HOLDFAST_CTL_TABLES_TABLE_ANSWER_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "ctl/tables/table_backend.h"
#include "protocol/table_lines.h"

namespace holdfast {

struct TableAnswer {
  TableReply::Result result = TableReply::Result::kError;
  std::string text;  // the value, or why not
};
TableAnswer TableFound(std::string value);
TableAnswer TableNotFound();
TableAnswer TableError(absl::string_view why);

// A service that rows are asked for: all but auth.
struct TableShape {
  const char* service;
  size_t columns;
  // Each row is one item of a list; else the first whole row is the value.
  bool list;
};
absl::Span<const TableShape> TableShapes();
// nullptr: none of them.
const TableShape* FindTableShape(absl::string_view service);

// A list: "a, b"; others: the columns with colons between.  Rows lacking a
// column, or with an empty one, are passed over: an empty password would be
// one.  A row of a single column is a whole value.  Columns that are too many
// are left out.
TableAnswer ShapeTableRows(const TableShape& shape, const TableRows& rows);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_TABLE_ANSWER_H_
