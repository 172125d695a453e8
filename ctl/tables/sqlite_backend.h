// table-sqlite: a file of SQLite.
#ifndef HOLDFAST_CTL_TABLES_SQLITE_BACKEND_H_
#define HOLDFAST_CTL_TABLES_SQLITE_BACKEND_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "ctl/tables/table_backend.h"
#include "ctl/tables/table_settings.h"

namespace holdfast {

// Words: dbpath, and those of SqlQueries; each `?` of a query is the key.
// A file that another took the place of is opened anew.
absl::StatusOr<std::unique_ptr<TableBackend>> MakeSqliteBackend(
    TableSettings* settings, const std::string& table, const TableClock& clock);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_SQLITE_BACKEND_H_
