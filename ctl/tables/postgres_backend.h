// table-postgres: a PostgreSQL server.
#ifndef HOLDFAST_CTL_TABLES_POSTGRES_BACKEND_H_
#define HOLDFAST_CTL_TABLES_POSTGRES_BACKEND_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "ctl/tables/table_backend.h"
#include "ctl/tables/table_settings.h"

namespace holdfast {

// Words: conninfo (libpq's: words or an address), and those of SqlQueries; $1
// of a query is the key.
absl::StatusOr<std::unique_ptr<TableBackend>> MakePostgresBackend(
    TableSettings* settings, const std::string& table, const TableClock& clock);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_POSTGRES_BACKEND_H_
