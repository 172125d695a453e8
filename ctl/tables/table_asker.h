// Asks a backend, and keeps its connection: a server that is away costs
// errors, never a wrong answer.
#ifndef HOLDFAST_CTL_TABLES_TABLE_ASKER_H_
#define HOLDFAST_CTL_TABLES_TABLE_ASKER_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "ctl/tables/table_answer.h"
#include "ctl/tables/table_backend.h"
#include "ctl/tables/table_deadline.h"
#include "protocol/table_lines.h"

namespace holdfast {

// An answer takes at most this, unless the configuration says otherwise
// (`timeout`); less than what smtpd waits.
inline constexpr int64_t kTableTimeout = 4;
inline constexpr int64_t kMaxTableTimeout = 300;

class TableAsker {
 public:
  // `log` gets lines of what changes: lost, back again.
  TableAsker(std::unique_ptr<TableBackend> backend, absl::Duration limit,
             TableClock clock, std::function<void(const std::string&)> log);
  ~TableAsker();
  TableAsker(const TableAsker&) = delete;
  TableAsker& operator=(const TableAsker&) = delete;

  std::vector<std::string> Services() const { return backend_->Services(); }
  // Of an answer.
  absl::Duration Limit() const { return limit_; }
  // Connects now, so that what is wrong is known early.  Need not be called.
  absl::Status Connect();
  // Not for kUpdate.  A question that finds no connection makes a new one, if
  // the last attempt is not too recent; one whose connection ends under it is
  // asked once more.
  TableAnswer Ask(TableOp op, absl::string_view service, absl::string_view key);

 private:
  struct List {
    std::vector<std::string> values;  // ascending, each once
    std::string last;                 // what was given last
    int64_t calls = 0;
    absl::Duration loaded;
  };
  using Question =
      std::function<absl::StatusOr<TableRows>(const TableDeadline&)>;

  absl::Status EnsureConnected(const TableDeadline& deadline);
  void Disconnected(const absl::Status& why);
  absl::StatusOr<TableRows> WithConnection(const Question& question);
  TableAnswer AskRows(TableOp op, const TableShape& shape,
                      absl::string_view key);
  TableAnswer Authenticate(absl::string_view key);
  TableAnswer Fetch(absl::string_view service);
  absl::Status Load(absl::string_view service, List* list);

  const std::unique_ptr<TableBackend> backend_;
  const absl::Duration limit_;
  const TableClock clock_;
  const std::function<void(const std::string&)> log_;
  bool connected_ = false;
  // Attempts that failed, one after the other; when the next may be, and what
  // the last one said.
  size_t failures_ = 0;
  absl::Duration next_attempt_;
  absl::Status last_failure_;
  std::map<std::string, List> lists_;  // by service
};

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_TABLE_ASKER_H_
