// The words of a database's table that hold SQL: query_SERVICE with the key as
// its parameter, fetch_SERVICE without one.
#ifndef HOLDFAST_CTL_TABLES_SQL_QUERIES_H_
#define HOLDFAST_CTL_TABLES_SQL_QUERIES_H_

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ctl/tables/table_backend.h"
#include "ctl/tables/table_settings.h"

namespace holdfast {

struct SqlQuery {
  TableSettings::Word word;
  std::string service;
  size_t columns = 1;
};

// Keys and lists in the words of a database that has no SQL are the same.
class SqlQueries {
 public:
  // query_SERVICE of every service; fetch_source and fetch_relayhost, with
  // fetch_..._expire (seconds) and fetch_..._refresh (answers).
  static absl::StatusOr<SqlQueries> Take(TableSettings* settings);

  std::vector<std::string> Services() const;
  const std::vector<SqlQuery>& queries() const { return queries_; }
  const std::vector<SqlQuery>& lists() const { return lists_; }
  TableListLimits ListLimits(absl::string_view service) const;

  // kInvalidArgument: "FILE:LINE: query_alias: WHAT".
  absl::Status Wrong(const SqlQuery& query, absl::string_view what) const;

 private:
  std::vector<SqlQuery> queries_;
  std::vector<SqlQuery> lists_;
  std::map<std::string, TableListLimits> limits_;
  std::string file_;
};

// "no query is configured" of a service that has none of this kind.
absl::Status NoSuchQuery(absl::string_view word, absl::string_view service);

}  // namespace holdfast

#endif  // HOLDFAST_CTL_TABLES_SQL_QUERIES_H_
