#include "ctl/tables/sql_queries.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "ctl/tables/table_answer.h"

namespace holdfast {
namespace {

constexpr int64_t kMost = std::numeric_limits<int32_t>::max();

}  // namespace

absl::StatusOr<SqlQueries> SqlQueries::Take(TableSettings* settings) {
  SqlQueries all;
  all.file_ = settings->file();
  for (const TableShape& shape : TableShapes()) {
    const std::string service = shape.service;
    if (auto word = settings->Take(absl::StrCat("query_", service)))
      all.queries_.push_back({*std::move(word), service, shape.columns});
  }
  for (const char* service : {"source", "relayhost"}) {
    const std::string name = absl::StrCat("fetch_", service);
    TableListLimits limits;
    const absl::StatusOr<int64_t> expire =
        settings->TakeNumber(absl::StrCat(name, "_expire"),
                             absl::ToInt64Seconds(limits.expire), 0, kMost);
    if (!expire.ok()) return expire.status();
    const absl::StatusOr<int64_t> calls = settings->TakeNumber(
        absl::StrCat(name, "_refresh"), limits.calls, 0, kMost);
    if (!calls.ok()) return calls.status();
    all.limits_[service] = {absl::Seconds(*expire), *calls};
    if (auto word = settings->Take(name))
      all.lists_.push_back({*std::move(word), service, 1});
  }
  return all;
}

std::vector<std::string> SqlQueries::Services() const {
  std::vector<std::string> services;
  for (const auto* list : {&queries_, &lists_}) {
    for (const SqlQuery& query : *list) {
      if (!absl::c_linear_search(services, query.service))
        services.push_back(query.service);
    }
  }
  return services;
}

TableListLimits SqlQueries::ListLimits(absl::string_view service) const {
  const auto found = limits_.find(std::string(service));
  return found == limits_.end() ? TableListLimits() : found->second;
}

absl::Status SqlQueries::Wrong(const SqlQuery& query,
                               absl::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(
      file_, ":", query.word.line, ": ", query.word.name, ": ", what));
}

absl::Status NoSuchQuery(absl::string_view word, absl::string_view service) {
  return absl::FailedPreconditionError(
      absl::StrCat(word, "_", service, " is not configured"));
}

}  // namespace holdfast
