// The lines that a mail server and the program of a table say to each other on
// the program's standard input and output: protocol 0.1 of smtpd-tables(7).
// Both sides, pure.
//
//   server   config|smtpd-version|7.8.0-portable
//   server   config|protocol|0.1
//   server   config|tablename|users
//   server   config|ready
//   program  register|alias
//   program  register|ready
//   server   table|0.1|1795324664.107565|users|lookup|alias|1aa3d5ac|joe
//   program  lookup-result|1aa3d5ac|found|joe@example.org
//
// Lines end with LF; none here holds its end.  '|' stands unescaped in the last
// field only.  A key or an answer may be a secret: who holds one wipes it.
#ifndef HOLDFAST_PROTOCOL_TABLE_LINES_H_
#define HOLDFAST_PROTOCOL_TABLE_LINES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace holdfast {

inline constexpr char kTableProtocol[] = "0.1";
// Octets of a line without its end, either way.
inline constexpr size_t kMaxTableLine = 64 << 10;
// Octets of an identifier: lowercase hexadecimal digits.
inline constexpr size_t kTableIdSize = 8;

enum class TableOp : uint8_t { kUpdate, kCheck, kLookup, kFetch };
// "update", "check", "lookup", "fetch".
absl::string_view TableOpName(TableOp op);

// "alias", "domain", ... "auth": what a program may register.
bool IsTableServiceName(absl::string_view name);

struct TableRequest {
  std::string table;
  TableOp op = TableOp::kCheck;
  std::string service;  // not of kUpdate
  std::string id;
  std::string key;  // of kCheck and kLookup
};

struct TableReply {
  enum class Result : uint8_t {
    kFound,  // update: done
    kNotFound,
    kError,
  };
  TableOp op = TableOp::kCheck;
  std::string id;
  Result result = Result::kError;
  // kLookup, kFetch: the value that was found.  kError: why; may be empty.
  std::string text;
};

// ---- the server's side

// All lines that come first, each with its end.  kInvalidArgument: `table`
// cannot stand in a line.
absl::StatusOr<std::string> TableGreeting(absl::string_view server_version,
                                          absl::string_view table);
// The line with its end.  kInvalidArgument: the key holds CR, LF or NUL, or the
// line is too long; the message does not show the key.
absl::StatusOr<std::string> TableRequestLine(const TableRequest& request,
                                             absl::Time now);
// "register|...": the service, or "ready".
absl::StatusOr<std::string> ParseTableRegistration(absl::string_view line);
// Error messages show nothing of the answer.
absl::StatusOr<TableReply> ParseTableReply(absl::string_view line);

// ---- the program's side

// "config|NAME|VALUE" or "config|ready" (then without a value); nothing: the
// line is none of these.
std::optional<std::pair<std::string, std::string>> ParseTableConfig(
    absl::string_view line);
// "register|..." for each service and "register|ready", each with its end.
std::string TableRegistrations(const std::vector<std::string>& services);
absl::StatusOr<TableRequest> ParseTableRequest(absl::string_view line);
// The line with its end.  What a line cannot carry becomes an error that says
// so: an empty value, one with CR, LF or NUL, one that is too long.  In a
// message of an error such octets become spaces.
std::string TableReplyLine(const TableReply& reply);

}  // namespace holdfast

#endif  // HOLDFAST_PROTOCOL_TABLE_LINES_H_
