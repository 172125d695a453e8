// See docs/TABLES.md.
#include "ctl/tables/postgres_backend.h"
#include "ctl/tables/table_program.h"

int main(int argc, char** argv) {
  const holdfast::TableProgram program = {
      "table-postgres", holdfast::TableSettings::Faults::kErrors,
      holdfast::MakePostgresBackend};
  return holdfast::RunTableProgram(program, argc, argv);
}
