// table-redis: a Redis server, and one that follows it.
#ifndef HOLDFAST_CTL_TABLES_REDIS_BACKEND_H_
#define HOLDFAST_CTL_TABLES_REDIS_BACKEND_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "ctl/tables/table_backend.h"
#include "ctl/tables/table_settings.h"

namespace holdfast {

// Words: master, master_port, slave, slave_port, database, username, password,
// and those of SqlQueries with commands for SQL; %s of a command is the key.
// Services without a command are asked "GET SERVICE:%s".
absl::StatusOr<std::unique_ptr<TableBackend>> MakeRedisBackend(
    TableSettings* settings, const std::string& table, const TableClock& clock);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_REDIS_BACKEND_H_
