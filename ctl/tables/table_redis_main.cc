// See docs/TABLES.md.
#include "ctl/tables/redis_backend.h"
#include "ctl/tables/table_program.h"

int main(int argc, char** argv) {
  const holdfast::TableProgram program = {
      "table-redis", holdfast::TableSettings::Faults::kErrors,
      holdfast::MakeRedisBackend};
  return holdfast::RunTableProgram(program, argc, argv);
}
