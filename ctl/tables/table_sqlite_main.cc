// See docs/TABLES.md.
#include "ctl/tables/sqlite_backend.h"
#include "ctl/tables/table_program.h"

int main(int argc, char** argv) {
  const holdfast::TableProgram program = {
      "table-sqlite", holdfast::TableSettings::Faults::kWarnings,
      holdfast::MakeSqliteBackend};
  return holdfast::RunTableProgram(program, argc, argv);
}
