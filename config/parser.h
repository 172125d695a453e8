// smtpd.conf(5) as text to a Config.
#ifndef HOLDFAST_CONFIG_PARSER_H_
#define HOLDFAST_CONFIG_PARSER_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/config.h"

namespace holdfast {

struct ParseOptions {
  std::string path;  // of the file; as it stands in messages
  std::string server_name;
  std::vector<std::string> local_addresses;  // of this machine's interfaces:
                                             // "192.0.2.1", "2001:db8::1"
  std::vector<std::string> definitions;      // of -D: "name=value"
  // Whether there is a program `table-WORD` that can be run.  Null: there is
  // one for every word; for those who read what parent has checked.
  std::function<bool(absl::string_view word)> has_table_program;
};

// Gives a file's contents; the error text is the system's ("No such file or
// directory").  The parser opens nothing itself.
using FileReader =
    std::function<absl::StatusOr<std::string>(const std::string& path)>;

// Gives the contents of a table that is in a file (Table::is_file()); null:
// they are not for this process to see, and the table has none here.  An error
// is a whole line for stderr.
using TableSource =
    std::function<absl::StatusOr<std::shared_ptr<const TableContents>>(
        const Table& table)>;

struct ParseResult {
  // Null if there are errors.
  std::shared_ptr<const Config> config;
  // Complete lines for stderr, without the newline, in order: errors
  // ("FILE:LINE: MESSAGE", or unpositioned ones as the reference has them),
  // each with what helps below it, indented; and the reference's warnings.
  std::vector<std::string> messages;
  // What `smtpd -n` adds to a configuration that is right: complete lines.
  std::vector<std::string> warnings;
};

// Without `tables`, the tables' files are read with `read`, too.
ParseResult ParseConfig(const ParseOptions& options, const FileReader& read,
                        const TableSource& tables = nullptr);

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_PARSER_H_
