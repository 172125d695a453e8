#include "ctl/tables/table_answer.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace holdfast {
namespace {

constexpr TableShape kShapes[] = {
    {"alias", 1, true},        {"domain", 1, false},
    {"credentials", 2, false}, {"netaddr", 1, false},
    {"userinfo", 3, false},    {"source", 1, false},
    {"mailaddr", 1, false},    {"mailaddrmap", 1, true},
    {"addrname", 1, false},    {"relayhost", 1, false},
    {"string", 1, false},      {"regex", 1, false},
};

// Empty: the row lacks a column.
std::string WholeValue(const TableRow& row, size_t columns) {
  if (row.size() == 1) columns = 1;
  if (row.size() < columns) return "";
  std::string value;
  for (size_t i = 0; i < columns; ++i) {
    if (!row[i] || row[i]->empty()) return "";
    absl::StrAppend(&value, i == 0 ? "" : ":", *row[i]);
  }
  return value;
}

}  // namespace

TableAnswer TableFound(std::string value) {
  return {TableReply::Result::kFound, std::move(value)};
}

TableAnswer TableNotFound() { return {TableReply::Result::kNotFound, ""}; }

TableAnswer TableError(absl::string_view why) {
  return {TableReply::Result::kError, std::string(why)};
}

absl::Span<const TableShape> TableShapes() { return kShapes; }

const TableShape* FindTableShape(absl::string_view service) {
  for (const TableShape& shape : kShapes) {
    if (service == shape.service) return &shape;
  }
  return nullptr;
}

TableAnswer ShapeTableRows(const TableShape& shape, const TableRows& rows) {
  std::string value;
  for (const TableRow& row : rows) {
    const std::string item = WholeValue(row, shape.columns);
    if (item.empty()) continue;
    if (!shape.list) return TableFound(item);
    absl::StrAppend(&value, value.empty() ? "" : ", ", item);
  }
  return value.empty() ? TableNotFound() : TableFound(std::move(value));
}

}  // namespace holdfast
