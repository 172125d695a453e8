// table-ldap: a directory.
#ifndef HOLDFAST_CTL_TABLES_LDAP_BACKEND_H_
#define HOLDFAST_CTL_TABLES_LDAP_BACKEND_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "ctl/tables/table_backend.h"
#include "ctl/tables/table_settings.h"

namespace holdfast {

// Words: those of LdapSettings.  A password is checked by binding with it as
// the entry that auth_filter finds, on a connection of its own.
absl::StatusOr<std::unique_ptr<TableBackend>> MakeLdapBackend(
    TableSettings* settings, const std::string& table, const TableClock& clock);

// Whether a password is right, by the result code of a bind with it (RFC 4511,
// appendix A); nullopt: the directory cannot say now.
std::optional<bool> LdapPasswordAnswer(int result);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_LDAP_BACKEND_H_
