// The configuration file of a table's program, as the programs of OpenSMTPD
// have it (table-sqlite(5) and its siblings):
//
//   # a comment
//   dbpath /etc/mail/smtp.sqlite
//   query_alias SELECT destination FROM virtuals WHERE email=?;
//
// A line is a word, blanks or a colon, and its value up to the line's end.
// Values may be secrets: no message shows one.
#ifndef HOLDFAST_CTL_TABLES_TABLE_SETTINGS_H_
#define HOLDFAST_CTL_TABLES_TABLE_SETTINGS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace holdfast {

// Octets of a configuration file.
inline constexpr size_t kMaxTableSettings = 1 << 20;

class TableSettings {
 public:
  struct Word {
    std::string name;
    std::string value;  // never empty
    size_t line = 0;
  };
  // A word that comes twice, or without a value.
  enum class Faults : uint8_t {
    kErrors,    // as of PostgreSQL, MySQL and Redis
    kWarnings,  // as of SQLite and LDAP: passed over; the first counts
  };

  // Pure.  `file` is its name for messages.
  static absl::StatusOr<TableSettings> Parse(absl::string_view file,
                                             absl::string_view text,
                                             Faults faults);
  // Also warns of a file with a password that everybody may read.
  static absl::StatusOr<TableSettings> Read(const std::string& path,
                                            Faults faults);

  // Takes the word out; what is left in the end is unknown.
  std::optional<Word> Take(absl::string_view name);
  // Its value, or `otherwise`.
  std::string TakeText(absl::string_view name, absl::string_view otherwise);
  // A whole number of [least, most].
  absl::StatusOr<int64_t> TakeNumber(absl::string_view name, int64_t otherwise,
                                     int64_t least, int64_t most);
  // "yes" or "no".
  absl::StatusOr<bool> TakeSwitch(absl::string_view name, bool otherwise);

  // kInvalidArgument: "FILE:LINE: NAME: WHAT".
  absl::Status Wrong(const Word& word, absl::string_view what) const;
  // kInvalidArgument: "FILE: WHAT".
  absl::Status Lacks(absl::string_view what) const;

  // Lines for the log: of passed over faults, and of words nobody took.
  std::vector<std::string> Warnings() const;
  const std::string& file() const { return file_; }

 private:
  absl::Status Fault(Faults faults, size_t line, absl::string_view name,
                     absl::string_view what);

  std::string file_;
  std::vector<Word> words_;
  std::vector<std::string> warnings_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_TABLE_SETTINGS_H_
