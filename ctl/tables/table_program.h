// What all programs of tables have in common: their command line, and the
// conversation with smtpd.
//
//   table-WORD FILE                     asks on standard input are answered
//                                       on standard output: how smtpd runs it
//   table-WORD FILE OP SERVICE [KEY]    one question: the value; status 0
//                                       found, 1 not found, 75 no answer
//   table-WORD -n FILE                  checks the configuration: status 0
//                                       good, 78 wrong, 75 the server is away
#ifndef HOLDFAST_CTL_TABLES_TABLE_PROGRAM_H_
#define HOLDFAST_CTL_TABLES_TABLE_PROGRAM_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "ctl/tables/table_backend.h"
#include "ctl/tables/table_settings.h"

namespace holdfast {

// Statuses of sysexits(3).
inline constexpr int kTableNotFound = 1;
inline constexpr int kTableUsage = 64;
inline constexpr int kTableTemporary = 75;
inline constexpr int kTableWrongSettings = 78;

struct TableProgram {
  std::string name;  // "table-sqlite"
  TableSettings::Faults faults = TableSettings::Faults::kErrors;
  // Takes its words out of the settings; does not connect.  `table` is its
  // name in smtpd.conf.
  std::function<absl::StatusOr<std::unique_ptr<TableBackend>>(
      TableSettings* settings, const std::string& table,
      const TableClock& clock)>
      make;
};

// main().  Returns the exit status.
int RunTableProgram(const TableProgram& program, int argc, char** argv);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_TABLE_PROGRAM_H_
