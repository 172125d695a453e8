#include "ctl/tables/ldap_settings.h"

#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "ctl/tables/table_answer.h"

namespace holdfast {
namespace {

constexpr char kCryptScheme[] = "{CRYPT}";
// OpenSMTPD's way to say: ldap with STARTTLS.
constexpr char kTlsUrl[] = "ldap+tls://";

struct LdapService {
  std::string name;
  size_t columns = 0;
  bool attributes_needed = false;
};

std::vector<LdapService> LdapServices() {
  // The distinguished name of the entry is enough.
  std::vector<LdapService> services = {{"auth", 0, false}};
  for (const TableShape& shape : TableShapes()) {
    const std::string name = shape.service;
    // Of these only the presence is ever asked.
    const bool present = name == "domain" || name == "mailaddr" ||
                         name == "netaddr" || name == "string" ||
                         name == "regex";
    services.push_back({name, shape.columns, !present});
  }
  return services;
}

absl::Status TakeSearch(TableSettings* settings, const LdapService& service,
                        LdapSettings* into) {
  const std::optional<TableSettings::Word> filter =
      settings->Take(absl::StrCat(service.name, "_filter"));
  const std::optional<TableSettings::Word> attributes =
      settings->Take(absl::StrCat(service.name, "_attributes"));
  if (!filter) {
    return attributes ? settings->Wrong(*attributes,
                                        absl::StrCat("is of no use without ",
                                                     service.name, "_filter"))
                      : absl::OkStatus();
  }
  absl::StatusOr<LdapFilter> parsed = LdapFilter::Parse(filter->value);
  if (!parsed.ok()) return settings->Wrong(*filter, parsed.status().message());
  LdapSearch search{*std::move(parsed), filter->line, {}};
  if (attributes) {
    for (const absl::string_view name :
         absl::StrSplit(attributes->value, ',')) {
      search.attributes.emplace_back(absl::StripAsciiWhitespace(name));
      if (search.attributes.back().empty())
        return settings->Wrong(*attributes, "has an empty name");
    }
    if (search.attributes.size() != service.columns)
      return settings->Wrong(
          *attributes, absl::StrCat("must be ", service.columns, " name(s)"));
  } else if (service.attributes_needed) {
    return settings->Wrong(
        *filter, absl::StrCat(service.name, "_attributes is missing"));
  }
  into->searches.emplace(service.name, std::move(search));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LdapSettings> LdapSettings::Take(TableSettings* settings) {
  LdapSettings ldap;
  ldap.file = settings->file();
  ldap.url = settings->TakeText("url", "");
  if (ldap.url.empty()) return settings->Lacks("url is missing");
  if (absl::StartsWith(ldap.url, kTlsUrl)) {
    ldap.starttls = true;
    ldap.url = absl::StrCat("ldap://", ldap.url.substr(sizeof(kTlsUrl) - 1));
  } else if (!absl::StrContains(ldap.url, "://")) {
    ldap.url = absl::StrCat("ldap://", ldap.url);
  }
  const absl::StatusOr<bool> starttls =
      settings->TakeSwitch("starttls", ldap.starttls);
  if (!starttls.ok()) return starttls.status();
  ldap.starttls = *starttls;
  ldap.ca_file = settings->TakeText("ca_file", "");
  ldap.username = settings->TakeText("username", "");
  ldap.password = settings->TakeText("password", "");
  ldap.basedn = settings->TakeText("basedn", "");
  if (ldap.basedn.empty()) return settings->Lacks("basedn is missing");
  for (const LdapService& service : LdapServices()) {
    const absl::Status taken = TakeSearch(settings, service, &ldap);
    if (!taken.ok()) return taken;
  }
  return ldap;
}

std::string StripLdapScheme(const std::string& password) {
  if (!absl::StartsWithIgnoreCase(password, kCryptScheme)) return password;
  return password.substr(sizeof(kCryptScheme) - 1);
}

}  // namespace holdfast
