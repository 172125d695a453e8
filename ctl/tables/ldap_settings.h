// The words of table-ldap's configuration.
#ifndef HOLDFAST_CTL_TABLES_LDAP_SETTINGS_H_
#define HOLDFAST_CTL_TABLES_LDAP_SETTINGS_H_

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ctl/tables/ldap_filter.h"
#include "ctl/tables/table_settings.h"

namespace holdfast {

struct LdapSearch {
  LdapFilter filter;
  size_t line = 0;  // of the filter
  // One for each column; empty: whether there is an entry is the answer.
  std::vector<std::string> attributes;
};

struct LdapSettings {
  std::string file;
  std::string url;  // for libldap
  bool starttls = false;
  std::string ca_file;
  std::string username;  // the DN to bind as; empty: nobody
  std::string password;
  std::string basedn;
  std::map<std::string, LdapSearch> searches;  // by service, "auth" too

  // Takes url, starttls, ca_file, username, password, basedn, and
  // SERVICE_filter and SERVICE_attributes of each service and of auth.
  static absl::StatusOr<LdapSettings> Take(TableSettings* settings);
};

// A password as smtpd wants it: without the "{CRYPT}" of RFC 2307.
std::string StripLdapScheme(const std::string& password);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_LDAP_SETTINGS_H_
