#include "config/table_answers.h"

#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "protocol/secret.h"

namespace holdfast {
namespace {

// In the order of TableService.
constexpr absl::string_view kNames[] = {
    "",          "alias",  "domain",   "credentials", "netaddr",
    "userinfo",  "source", "mailaddr", "mailaddrmap", "addrname",
    "relayhost", "string", "regex",    "auth",
};

}  // namespace

absl::string_view TableServiceName(TableService service) {
  const auto at = static_cast<size_t>(service);
  return at < std::size(kNames) ? kNames[at] : kNames[0];
}

std::optional<TableService> TableServiceNamed(absl::string_view name) {
  for (size_t i = 1; i < std::size(kNames); ++i)
    if (name == kNames[i]) return static_cast<TableService>(i);
  return std::nullopt;
}

absl::StatusOr<TableQuery> MakeTableQuery(const Table& table, TableOp op,
                                          TableService service,
                                          absl::string_view key) {
  if (key.size() > kMaxTableKey)
    return absl::InvalidArgumentError("lookup key too long");
  TableQuery query;
  query.table = table.name();
  query.op = op;
  query.service = service;
  query.key = service == TableService::kAuth ? std::string(key)
                                             : absl::AsciiStrToLower(key);
  return query;
}

TableResult TableAnswers::Ask(const Table& table, TableOp op,
                              TableService service, absl::string_view key) {
  absl::StatusOr<TableQuery> query = MakeTableQuery(table, op, service, key);
  if (!query.ok()) return query.status();
  const auto known =
      known_.find({query->table, query->op, query->service, query->key});
  if (known != known_.end()) return known->second;
  if (!missing_) missing_ = *std::move(query);
  return absl::UnavailableError("has not answered yet");
}

absl::StatusOr<bool> TableAnswers::Check(const Table& table,
                                         TableService service,
                                         absl::string_view key,
                                         char delimiter) {
  if (!table.is_process()) return table.Check(service, key, delimiter);
  const TableResult found = Ask(table, TableOp::kCheck, service, key);
  if (!found.ok()) {
    return absl::Status(found.status().code(),
                        absl::StrCat("table \"", table.name(), "\": ",
                                     std::string(found.status().message())));
  }
  return found->has_value();
}

absl::StatusOr<std::optional<std::string>> TableAnswers::Lookup(
    const Table& table, TableService service, absl::string_view key,
    char delimiter) {
  if (!table.is_process()) return table.Lookup(service, key, delimiter);
  return Ask(table, TableOp::kLookup, service, key);
}

void TableAnswers::Give(TableResult result) {
  TableQuery query = *std::exchange(missing_, std::nullopt);
  known_.insert_or_assign(
      {std::move(query.table), query.op, query.service, std::move(query.key)},
      std::move(result));
}

void TableAnswers::Clear() {
  for (auto& [key, result] : known_)
    if (result.ok() && result->has_value()) Wipe(&**result);
  known_.clear();
  missing_.reset();
}

}  // namespace holdfast
