#include "server/lookup/table_questions.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "config/filter_table.h"
#include "protocol/vis.h"
#include "server/log/log.h"

namespace holdfast {
namespace {

using Op = TableQuestion::Op;

bool OfFilters(const Config& config, const TableQuestion& question,
               const Table* table) {
  if (question.op != Op::kCheck || IsHeldByFilters(*table)) return false;
  return std::any_of(
      config.filters.begin(), config.filters.end(), [&](const auto& one) {
        const PhaseFilter& filter = one.second.phase;
        const std::vector<TableService> services = ServicesOf(filter);
        return filter.criterion.table.get() == table &&
               absl::c_linear_search(services, question.service);
      });
}

bool MayAsk(Room asker, const Action& action, const TableQuestion& question,
            const Table* table) {
  const auto is = [&](Op op, TableService service) {
    return question.op == op && question.service == service;
  };
  switch (asker) {
    case Room::kQueue:
      return (action.host.get() == table &&
              is(Op::kFetch, TableService::kRelayhost)) ||
             (action.domain.get() == table &&
              is(Op::kLookup, TableService::kRelayhost));
    case Room::kRelay:
      return (action.src.get() == table &&
              is(Op::kFetch, TableService::kSource)) ||
             (action.helo_src.get() == table &&
              is(Op::kLookup, TableService::kAddrname));
    case Room::kParent:
      return action.userbase.get() == table &&
             is(Op::kLookup, TableService::kUserinfo);
    default:
      return false;
  }
}

}  // namespace

bool MayAskTables(Room asker) {
  return asker == Room::kQueue || asker == Room::kRelay ||
         asker == Room::kFilters || asker == Room::kParent;
}

absl::StatusOr<TableQuery> QueryOf(Room asker, const Config& config,
                                   const TableQuestion& question) {
  const auto found = config.tables.find(question.table);
  if (found == config.tables.end())
    return absl::PermissionDeniedError("there is none");
  const Table* const table = found->second.get();
  const bool may =
      asker == Room::kFilters
          ? OfFilters(config, question, table)
          : table->is_process() &&
                std::any_of(config.actions.begin(), config.actions.end(),
                            [&](const auto& one) {
                              return MayAsk(asker, one.second, question, table);
                            });
  if (!may) return absl::PermissionDeniedError("not for this room");
  const TableOp op = question.op == Op::kCheck    ? TableOp::kCheck
                     : question.op == Op::kLookup ? TableOp::kLookup
                                                  : TableOp::kFetch;
  return MakeTableQuery(*table, op, question.service, question.key);
}

TableResult CheckHere(const Config& config, const TableQuery& query) {
  const absl::StatusOr<bool> found =
      config.tables.at(query.table)
          ->Check(query.service, query.key, config.sub_addr_delim);
  if (!found.ok()) return found.status();
  return *found ? std::optional<std::string>("") : std::nullopt;
}

TableAnswer AnswerTo(Room asker, const TableQuestion& question,
                     TableResult result) {
  TableAnswer answer;
  answer.question = question.question;
  if (result.ok()) {
    answer.result = result->has_value() ? TableAnswer::Result::kFound
                                        : TableAnswer::Result::kNotFound;
    answer.value = std::move(*result).value_or("");
  } else if (asker == Room::kFilters) {
    // A key that no table can hold is in none.
    if (absl::IsInvalidArgument(result.status()))
      answer.result = TableAnswer::Result::kNotFound;
    if (absl::IsUnimplemented(result.status()))
      answer.result = TableAnswer::Result::kNotOffered;
  }
  return answer;
}

void RefusalLog::Warn(absl::Duration now, Room asker,
                      const TableQuestion& question, const absl::Status& why) {
  if (now >= until_) {
    if (lines_ > kMaxRefusalLines)
      LogWarn("warn: lookup: %d more questions about tables were refused",
              lines_ - kMaxRefusalLines);
    lines_ = 0;
    until_ = now + absl::Minutes(1);
  }
  if (++lines_ > kMaxRefusalLines) return;
  LogWarn("warn: lookup: %s may not ask table \"%s\": %s", RoomName(asker),
          VisEncode(question.table), std::string(why.message()));
}

}  // namespace holdfast
