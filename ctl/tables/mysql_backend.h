// table-mysql: a MariaDB or MySQL server.
#ifndef HOLDFAST_CTL_TABLES_MYSQL_BACKEND_H_
#define HOLDFAST_CTL_TABLES_MYSQL_BACKEND_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "ctl/tables/table_backend.h"
#include "ctl/tables/table_settings.h"

namespace holdfast {

// Words: host, port, socket, username, password, database, ca_file (then TLS,
// verified), and those of SqlQueries; each `?` of a query is the key.
absl::StatusOr<std::unique_ptr<TableBackend>> MakeMysqlBackend(
    TableSettings* settings, const std::string& table, const TableClock& clock);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_MYSQL_BACKEND_H_
