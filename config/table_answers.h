// Asking tables of all kinds without waiting: what a program must answer first
// is noted as a question, and who asked is run again once the answer is there.
//
//   TableAnswers answers;
//   while (true) {
//     ... = FirstMatch(config, subject, nullptr, &answers);
//     if (!answers.missing()) break;  // that was it
//     ... get the answer to *answers.missing() ...
//     answers.Give(answer);
//   }
#ifndef HOLDFAST_CONFIG_TABLE_ANSWERS_H_
#define HOLDFAST_CONFIG_TABLE_ANSWERS_H_

#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/table.h"
#include "protocol/table_lines.h"

namespace holdfast {

// As smtpd-tables(7) calls it: "alias"; empty: kNone.
absl::string_view TableServiceName(TableService service);
std::optional<TableService> TableServiceNamed(absl::string_view name);

// A question for the program of a table.
struct TableQuery {
  std::string table;
  TableOp op = TableOp::kCheck;
  TableService service = TableService::kNone;
  std::string key;  // in lower case, but for kAuth; not for kFetch
};
// The value that was found, of a check an empty one; nullopt: it was not found.
using TableResult = absl::StatusOr<std::optional<std::string>>;

// What to ask the program of `table`.  kInvalidArgument: the key is too long;
// what can't stand in a line is found out by who sends it.
absl::StatusOr<TableQuery> MakeTableQuery(const Table& table, TableOp op,
                                          TableService service,
                                          absl::string_view key);

// What the programs of tables have said to one asker.  Wiped in the end, for
// answers may be secrets.
class TableAnswers {
 public:
  TableAnswers() = default;
  TableAnswers(const TableAnswers&) = delete;
  TableAnswers& operator=(const TableAnswers&) = delete;
  ~TableAnswers() { Clear(); }

  // As those of Table.  Without an answer: kUnavailable, and missing() is set.
  absl::StatusOr<bool> Check(const Table& table, TableService service,
                             absl::string_view key, char delimiter = '+');
  absl::StatusOr<std::optional<std::string>> Lookup(const Table& table,
                                                    TableService service,
                                                    absl::string_view key,
                                                    char delimiter = '+');

  // The first question without an answer since then.
  const std::optional<TableQuery>& missing() const { return missing_; }
  // Of missing(), which must be set.
  void Give(TableResult result);
  // Forgets everything.
  void Clear();

 private:
  using Key = std::tuple<std::string, TableOp, TableService, std::string>;

  TableResult Ask(const Table& table, TableOp op, TableService service,
                  absl::string_view key);

  std::map<Key, TableResult> known_;
  std::optional<TableQuery> missing_;
};

}  // namespace holdfast

#endif  // HOLDFAST_CONFIG_TABLE_ANSWERS_H_
