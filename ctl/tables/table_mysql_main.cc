// See docs/TABLES.md.
#include "ctl/tables/mysql_backend.h"
#include "ctl/tables/table_program.h"

int main(int argc, char** argv) {
  const holdfast::TableProgram program = {
      "table-mysql", holdfast::TableSettings::Faults::kErrors,
      holdfast::MakeMysqlBackend};
  return holdfast::RunTableProgram(program, argc, argv);
}
