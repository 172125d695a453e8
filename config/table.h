// Tables: named lists and maps (table(5); reference part 1, section 2).
#ifndef HOLDFAST_CONFIG_TABLE_H_
#define HOLDFAST_CONFIG_TABLE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace re2 {
class RE2;
}  // namespace re2

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
  // Regular expressions are also kept as they were written, since lower case
  // would change `\S`.
  void Add(absl::string_view key, absl::string_view value);

  // Entries in byte-wise order of their keys; list elements have no value.
  const std::map<std::string, std::string>& entries() const { return entries_; }

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
  using Entry = std::map<std::string, std::string>::value_type;

  // The first entry (in order of keys) that the comparison finds, or null.
  const Entry* Find(TableService service, const std::string& key,
                    char delimiter) const;
  const Entry* FindDomain(const std::string& key) const;
  const Entry* FindRegex(const std::string& key) const;
  bool PatternMatches(const std::string& pattern, const std::string& key) const;

  std::map<std::string, std::string> entries_;
  std::set<std::string> wildcards_;  // keys with a star
  // Keys that were not written in lower case: all their spellings.
  std::map<std::string, std::set<std::string>> spellings_;
  // Patterns already compiled, by their text.
  mutable std::map<std::string, std::shared_ptr<const re2::RE2>> compiled_;
  mutable std::string fetched_;  // key last given by Fetch()
};

using TableRef = std::shared_ptr<const Table>;

// Fills `table` from the text of a `file:` table.  The error is
// "PATH:LINE invalid map entry".  (reference part 1, section 2.2)
absl::StatusOr<std::shared_ptr<Table>> ParseTableFile(absl::string_view name,
                                                      absl::string_view path,
                                                      absl::string_view text);

// The comparisons, each on its own (reference part 1, section 2.4).
//
// A star in `pattern` skips to the first occurrence of the character behind it
// and does not come back; case does not matter.
bool DomainMatches(absl::string_view pattern, absl::string_view domain);
// `entry` is an address or a network: "192.0.2.1", "10/8", "192.168",
// "2001:db8::/32", "[2001:db8::/32]", with or without "IPv6:".
bool NetaddrMatches(absl::string_view entry, absl::string_view address);
// `entry` is "user", "@domain", "user@domain" or "@" (everything).
bool MailaddrMatches(absl::string_view entry, absl::string_view address,
                     char delimiter);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_TABLE_H_
