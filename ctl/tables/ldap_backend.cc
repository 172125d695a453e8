#include "ctl/tables/ldap_backend.h"

#include <ldap.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "ctl/tables/ldap_settings.h"

namespace holdfast {
namespace {

// A key that stands in a filter to see whether the filter is one.
constexpr char kProbe[] = "probe";

struct CloseConnection {
  void operator()(LDAP* ldap) const {
    ldap_unbind_ext_s(ldap, nullptr, nullptr);
  }
};
using Connection = std::unique_ptr<LDAP, CloseConnection>;

struct FreeMessage {
  void operator()(LDAPMessage* message) const { ldap_msgfree(message); }
};
using Message = std::unique_ptr<LDAPMessage, FreeMessage>;

absl::Status Failure(absl::string_view what, int result) {
  const std::string text = absl::StrCat(what, ": ", ldap_err2string(result));
  switch (result) {
    case LDAP_SERVER_DOWN:
    case LDAP_CONNECT_ERROR:
    case LDAP_UNAVAILABLE:
      return absl::UnavailableError(text);
    case LDAP_TIMEOUT:
    case LDAP_TIMELIMIT_EXCEEDED:
      return absl::DeadlineExceededError(text);
    default:
      return absl::InternalError(text);
  }
}

void SetTimes(LDAP* ldap, const TableDeadline& deadline) {
  const timeval left = deadline.Timeval();
  ldap_set_option(ldap, LDAP_OPT_NETWORK_TIMEOUT, &left);
  ldap_set_option(ldap, LDAP_OPT_TIMEOUT, &left);
}

// The first value of each attribute, or if there is one attribute only, a row
// for each of its values.
void AppendRows(LDAP* ldap, LDAPMessage* entry,
                const std::vector<std::string>& attributes, TableRows* rows) {
  TableRow row;
  for (const std::string& attribute : attributes) {
    berval** values = ldap_get_values_len(ldap, entry, attribute.c_str());
    const int count = values == nullptr ? 0 : ldap_count_values_len(values);
    for (int i = 0; attributes.size() == 1 && i + 1 < count; ++i)
      rows->push_back({std::string(values[i]->bv_val, values[i]->bv_len)});
    if (count == 0) {
      row.push_back(std::nullopt);
    } else {
      const berval* value = values[attributes.size() == 1 ? count - 1 : 0];
      row.push_back(std::string(value->bv_val, value->bv_len));
    }
    ldap_value_free_len(values);
  }
  rows->push_back(std::move(row));
}

class LdapBackend : public TableBackend {
 public:
  LdapBackend(LdapSettings settings, std::string table)
      : settings_(std::move(settings)), table_(std::move(table)) {}

  std::vector<std::string> Services() const override {
    std::vector<std::string> names;
    for (const auto& [name, search] : settings_.searches) names.push_back(name);
    return names;
  }
  absl::Status Connect(const TableDeadline& deadline) override;
  void Disconnect() override { connection_.reset(); }
  absl::StatusOr<TableRows> Ask(absl::string_view service,
                                absl::string_view key,
                                const TableDeadline& deadline) override;
  absl::StatusOr<TableRows> List(absl::string_view service,
                                 const TableDeadline&) override {
    return absl::UnimplementedError(
        absl::StrCat("a directory has no list of ", service));
  }
  TableListLimits ListLimits(absl::string_view) const override { return {}; }
  absl::StatusOr<bool> Authenticate(absl::string_view user,
                                    absl::string_view password,
                                    const TableDeadline& deadline) override;

 private:
  // A connection on which nobody is anybody yet.
  absl::StatusOr<Connection> Open(const TableDeadline& deadline) const;
  static int Bind(LDAP* ldap, const std::string& name,
                  absl::string_view password, const TableDeadline& deadline);
  absl::StatusOr<Message> Search(const LdapSearch& search,
                                 absl::string_view key, int scope,
                                 const TableDeadline& deadline);

  const LdapSettings settings_;
  const std::string table_;
  Connection connection_;
};

absl::StatusOr<Connection> LdapBackend::Open(
    const TableDeadline& deadline) const {
  LDAP* made = nullptr;
  int result = ldap_initialize(&made, settings_.url.c_str());
  if (result != LDAP_SUCCESS)
    return absl::InvalidArgumentError(
        absl::StrCat(settings_.file, ": url: ", ldap_err2string(result)));
  Connection connection(made);
  const int version = LDAP_VERSION3;
  ldap_set_option(made, LDAP_OPT_PROTOCOL_VERSION, &version);
  // Others than the configured one are not asked.
  ldap_set_option(made, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
  ldap_set_option(made, LDAP_OPT_RESTART, LDAP_OPT_ON);
  SetTimes(made, deadline);
  if (!settings_.ca_file.empty() &&
      ldap_set_option(made, LDAP_OPT_X_TLS_CACERTFILE,
                      settings_.ca_file.c_str()) != LDAP_OPT_SUCCESS)
    return absl::InvalidArgumentError(
        absl::StrCat(settings_.file, ": ca_file cannot be used"));
  const int demand = LDAP_OPT_X_TLS_DEMAND;
  const int client = 0;
  ldap_set_option(made, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand);
  ldap_set_option(made, LDAP_OPT_X_TLS_NEWCTX, &client);
  if (settings_.starttls) {
    result = ldap_start_tls_s(made, nullptr, nullptr);
    if (result != LDAP_SUCCESS) return Failure("STARTTLS", result);
  }
  return connection;
}

int LdapBackend::Bind(LDAP* ldap, const std::string& name,
                      absl::string_view password,
                      const TableDeadline& deadline) {
  // Some has gone since the connection was made.
  SetTimes(ldap, deadline);
  std::string copy(password);
  berval credentials;
  credentials.bv_val = copy.data();
  credentials.bv_len = copy.size();
  const int result = ldap_sasl_bind_s(ldap, name.c_str(), LDAP_SASL_SIMPLE,
                                      &credentials, nullptr, nullptr, nullptr);
  explicit_bzero(copy.data(), copy.size());
  return result;
}

absl::Status LdapBackend::Connect(const TableDeadline& deadline) {
  Disconnect();
  absl::StatusOr<Connection> opened = Open(deadline);
  if (!opened.ok()) return opened.status();
  const int result =
      Bind(opened->get(), settings_.username, settings_.password, deadline);
  if (result != LDAP_SUCCESS)
    return Failure(
        absl::StrCat(settings_.url, ": bind as \"", settings_.username, "\""),
        result);
  connection_ = *std::move(opened);
  for (const auto& [service, search] : settings_.searches) {
    const absl::StatusOr<Message> probe =
        Search(search, kProbe, LDAP_SCOPE_BASE, deadline);
    if (absl::IsInvalidArgument(probe.status())) return probe.status();
  }
  return absl::OkStatus();
}

absl::StatusOr<Message> LdapBackend::Search(const LdapSearch& search,
                                            absl::string_view key, int scope,
                                            const TableDeadline& deadline) {
  std::vector<std::string> names = search.attributes;
  if (names.empty()) names.push_back(LDAP_NO_ATTRS);
  std::vector<char*> pointers;
  for (std::string& name : names) pointers.push_back(name.data());
  pointers.push_back(nullptr);
  SetTimes(connection_.get(), deadline);
  timeval left = deadline.Timeval();
  LDAPMessage* answer = nullptr;
  const int result = ldap_search_ext_s(
      connection_.get(), settings_.basedn.c_str(), scope,
      search.filter.With(key, table_).c_str(), pointers.data(),
      /*attrsonly=*/0, nullptr, nullptr, &left, static_cast<int>(kMaxTableRows),
      &answer);
  Message message(answer);
  if (result == LDAP_FILTER_ERROR)
    return absl::InvalidArgumentError(absl::StrCat(
        settings_.file, ":", search.line, ": is no filter of RFC 4515"));
  // Also if the base is not there: that is not the same as no entry.
  if (result != LDAP_SUCCESS)
    return Failure(absl::StrCat("search below \"", settings_.basedn, "\""),
                   result);
  return message;
}

absl::StatusOr<TableRows> LdapBackend::Ask(absl::string_view service,
                                           absl::string_view key,
                                           const TableDeadline& deadline) {
  const LdapSearch& search = settings_.searches.at(std::string(service));
  const absl::StatusOr<Message> answer =
      Search(search, key, LDAP_SCOPE_SUBTREE, deadline);
  if (!answer.ok()) return answer.status();
  TableRows rows;
  LDAP* ldap = connection_.get();
  for (LDAPMessage* entry = ldap_first_entry(ldap, answer->get());
       entry != nullptr; entry = ldap_next_entry(ldap, entry)) {
    if (search.attributes.empty())
      rows.push_back({std::string(key)});
    else
      AppendRows(ldap, entry, search.attributes, &rows);
  }
  if (service == "credentials") {
    for (TableRow& row : rows) {
      if (row.size() > 1 && row[1]) row[1] = StripLdapScheme(*row[1]);
    }
  }
  return rows;
}

absl::StatusOr<bool> LdapBackend::Authenticate(absl::string_view user,
                                               absl::string_view password,
                                               const TableDeadline& deadline) {
  const absl::StatusOr<Message> answer =
      Search(settings_.searches.at("auth"), user, LDAP_SCOPE_SUBTREE, deadline);
  if (!answer.ok()) return answer.status();
  LDAP* ldap = connection_.get();
  const int count = ldap_count_entries(ldap, answer->get());
  if (count == 0) return false;
  if (count != 1)
    return absl::FailedPreconditionError(
        "auth_filter finds several entries for a user");
  char* name = ldap_get_dn(ldap, ldap_first_entry(ldap, answer->get()));
  if (name == nullptr) return absl::InternalError("an entry without a name");
  const std::string entry(name);
  ldap_memfree(name);
  const absl::StatusOr<Connection> own = Open(deadline);
  if (!own.ok()) return own.status();
  const int result = Bind(own->get(), entry, password, deadline);
  const std::optional<bool> right = LdapPasswordAnswer(result);
  if (!right) return Failure("bind as a user", result);
  return *right && !entry.empty();
}

}  // namespace

std::optional<bool> LdapPasswordAnswer(int result) {
  switch (result) {
    case LDAP_SUCCESS:
      return true;
    case LDAP_INVALID_CREDENTIALS:
    case LDAP_INAPPROPRIATE_AUTH:
    case LDAP_NO_SUCH_OBJECT:
    // An account that is locked, or whose password was tried too often.
    case LDAP_CONSTRAINT_VIOLATION:
    case LDAP_UNWILLING_TO_PERFORM:
      return false;
    default:
      return std::nullopt;
  }
}

absl::StatusOr<std::unique_ptr<TableBackend>> MakeLdapBackend(
    TableSettings* settings, const std::string& table, const TableClock&) {
  absl::StatusOr<LdapSettings> ldap = LdapSettings::Take(settings);
  if (!ldap.ok()) return ldap.status();
  return std::make_unique<LdapBackend>(*std::move(ldap), table);
}

}  // namespace holdfast
