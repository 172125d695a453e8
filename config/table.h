// Tables: named lists and maps (table(5); reference part 1, section 2).
#ifndef HOLDFAST_CONFIG_TABLE_H_
#define HOLDFAST_CONFIG_TABLE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

// How a table compares (reference part 1, section 2.4).
enum class TableService : uint8_t {
  kNone = 0,
  kAlias,
  kDomain,
  kCredentials,
  kNetaddr,
  kUserinfo,
  kSource,
  kMailaddr,
  kMailaddrMap,
  kAddrname,
  kRelayhost,
  kString,
  kRegex,
};

// Immutable but for the position of Fetch().  A static table holds its entries
// (from the configuration or from a file's text); a dynamic one (`getpwnam`,
// later db and processes) is only named here and answered by `lookup`.
// Used on one thread.
class Table {
 public:
  enum class Kind : uint8_t { kList, kMap, kDynamic };

  Table(std::string name, Kind kind, std::string backend, std::string path)
      : name_(std::move(name)),
        kind_(kind),
        backend_(std::move(backend)),
        path_(std::move(path)) {}

  const std::string& name() const { return name_; }
  Kind kind() const { return kind_; }
  // "static" (inline or file), "getpwnam", "db", or a process's name.
  const std::string& backend() const { return backend_; }
  const std::string& path() const { return path_; }  // empty: inline
  bool is_static() const { return backend_ == "static"; }

  // Adds an entry; the key is lowercased; a later one replaces an earlier.
  void Add(absl::string_view key, absl::string_view value);

  // Entries in byte-wise order of their keys; list elements have no value.
  const std::map<std::string, std::string>& entries() const {
    return entries_;
  }

  // Static tables only.  Whether, and with which value, the service's
  // comparison finds `key` (lowercased first; at most 1023 bytes, longer:
  // kInvalidArgument).  `delimiter`: of sub-addresses, for mailaddr.
  absl::StatusOr<bool> Check(TableService service, absl::string_view key,
                             char delimiter = '+') const;
  absl::StatusOr<std::optional<std::string>> Lookup(TableService service,
                                                    absl::string_view key,
                                                    char delimiter = '+') const;
  // The next key, going round.  Empty table: nullopt.
  std::optional<std::string> Fetch() const;

 private:
  std::string name_;
  Kind kind_;
  std::string backend_;
  std::string path_;
  std::map<std::string, std::string> entries_;
  mutable std::string fetched_;  // key last given by Fetch()
};

using TableRef = std::shared_ptr<const Table>;

// Fills `table` from the text of a `file:` table.  The error is
// "PATH:LINE invalid map entry".  (reference part 1, section 2.2)
absl::StatusOr<std::shared_ptr<Table>> ParseTableFile(absl::string_view name,
                                                      absl::string_view path,
                                                      absl::string_view text);

// The comparisons, each on its own.
bool DomainMatches(absl::string_view pattern, absl::string_view domain);
bool NetaddrMatches(absl::string_view entry, absl::string_view address);
bool MailaddrMatches(absl::string_view entry, absl::string_view address,
                     char delimiter);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_TABLE_H_
