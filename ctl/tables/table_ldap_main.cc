// See docs/TABLES.md.
#include "ctl/tables/ldap_backend.h"
#include "ctl/tables/table_program.h"

int main(int argc, char** argv) {
  const holdfast::TableProgram program = {
      "table-ldap", holdfast::TableSettings::Faults::kWarnings,
      holdfast::MakeLdapBackend};
  return holdfast::RunTableProgram(program, argc, argv);
}
