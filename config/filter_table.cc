#include "config/filter_table.h"

namespace holdfast {

std::vector<TableService> ServicesOf(const PhaseFilter& filter) {
  if (filter.criterion.table == nullptr) return {};
  if (filter.criterion.regex) return {TableService::kRegex};
  const std::string& condition = filter.condition;
  if (condition == "src") return {TableService::kNetaddr};
  if (condition == "rdns" || condition == "helo")
    return {TableService::kDomain};
  if (condition == "mail-from" || condition == "rcpt-to")
    return {TableService::kMailaddr};
  // A list of names, or one of names and passwords.
  if (condition == "auth")
    return {TableService::kString, TableService::kCredentials};
  return {};
}

bool IsHeldByFilters(const Table& table) {
  return table.is_static() && !table.is_file();
}

}  // namespace holdfast
