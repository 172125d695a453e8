// What stands behind a table's program: a database, a directory.
#ifndef HOLDFAST_CTL_TABLES_TABLE_BACKEND_H_
#define HOLDFAST_CTL_TABLES_TABLE_BACKEND_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "ctl/tables/table_deadline.h"

namespace holdfast {

// One row of an answer; nullopt is NULL: the entry does not have it.
using TableRow = std::vector<std::optional<std::string>>;
using TableRows = std::vector<TableRow>;

// Rows of one answer; more are an error.
inline constexpr size_t kMaxTableRows = 10000;

// How long a list for `fetch` is good.
struct TableListLimits {
  absl::Duration expire = absl::Seconds(60);
  int64_t calls = 1000;
};

// Used on one thread.  All block, no longer than their deadline.  Of every
// error:
//   kUnavailable        the connection is lost; asking again after a new
//                       Connect() may help at once
//   kDeadlineExceeded   the deadline is over, the connection is of no more use
//   others              it answered with an error; the connection is good
// Messages are for the log: of one line, and without secrets.
class TableBackend {
 public:
  virtual ~TableBackend() = default;

  // Services of smtpd-tables(7) that the configuration has answers for.
  virtual std::vector<std::string> Services() const = 0;
  // kInvalidArgument: what the configuration says cannot be asked there, with
  // its file and line.
  virtual absl::Status Connect(const TableDeadline& deadline) = 0;
  // Also without a connection.
  virtual void Disconnect() = 0;
  // No row: there is no such key.  Between Connect() and Disconnect().
  virtual absl::StatusOr<TableRows> Ask(absl::string_view service,
                                        absl::string_view key,
                                        const TableDeadline& deadline) = 0;
  // Everything of a service, the values in the first column.
  virtual absl::StatusOr<TableRows> List(absl::string_view service,
                                         const TableDeadline& deadline) = 0;
  virtual TableListLimits ListLimits(absl::string_view service) const = 0;
  // Whether the password is right.  Called only if Services() has "auth".
  virtual absl::StatusOr<bool> Authenticate(absl::string_view user,
                                            absl::string_view password,
                                            const TableDeadline& deadline) = 0;
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_TABLE_BACKEND_H_
